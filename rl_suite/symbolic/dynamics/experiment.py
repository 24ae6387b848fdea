"""``python train.py experiment=symbolic_search data=trajectory.csv time=t target=x,y``: laws of motion of a table."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from envs.symbolic.tokens import Library
from rl_suite.checkpoint import write_atomically
from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.experiments import EvaluationRequest
from rl_suite.run import Run
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.dynamics.figures import system_figure
from rl_suite.symbolic.dynamics.identify import StateLaw
from rl_suite.symbolic.dynamics.system import Followed, System, as_plain, discover, sentences
from rl_suite.symbolic.dynamics.weak import Trajectory
from rl_suite.symbolic.laws.constants import Constant
from rl_suite.symbolic.laws.records import finished_record, read_finished
from rl_suite.symbolic.output.figures import as_png
from rl_suite.symbolic.table import EXAMPLES, MAX_ROWS, formula_names, read_columns

# Settings that say something of the law of one column, and nothing of laws of motion.
FOREIGN = (
    "columns",
    "units",
    "free_constants",
    "nature",
    "known",
    "skeleton",
    "sample_weight",
    "y_error",
    "constraints",
)


@dataclass(frozen=True)
class SystemReport:
    """A system with the trajectories that it is measured on."""

    system: System
    trajectories: tuple[Trajectory, ...]
    followed: tuple[Followed, ...]
    time: str

    def tables(self) -> list[Table]:
        """The equations with what they leave."""
        table = Table(title=f"d/d{self.time} of ...", title_justify="left")
        for heading in ("state", "law", "chi square per row", "followed with an error of"):
            table.add_column(heading, overflow="fold")
        for i, state in enumerate(self.system.states):
            errors = ", ".join(f"{own.error[i]:.2g}" for own in self.followed)
            table.add_row(state.state, state.chosen.text, f"{state.misfit:.2f}", errors)
        return [table]

    def lines(self) -> list[str]:
        """The equations, their LaTeX, and how sure they are."""
        laws = [f"law:    d{s.state}/d{self.time} = {s.chosen.text}" for s in self.system.states]
        latex = [rf"LaTeX:  \frac{{d {s.state}}}{{d {self.time}}} = {s.chosen.latex}" for s in self.system.states]
        return [*laws, *latex, *(f"        {line}" for line in sentences(self.system, self.followed))]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "target": ", ".join(self.system.names),
            "time": self.time,
            "equations": [
                {
                    "target": f"d{state.state}/d{self.time}",
                    "law": finished_record(state.chosen),
                    "front": [finished_record(f) for f in state.front],
                    "misfit": state.misfit,
                    "reaches_noise": state.reaches_noise,
                    "constants": [asdict(c) for c in state.constants],
                }
                for state in self.system.states
            ],
            "noise": as_plain(self.system.noise),
            "followed": [
                {"error": as_plain(own.error), "until": own.until, "length": own.length} for own in self.followed
            ],
            "certainty": sentences(self.system, self.followed),
        }

    def save(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), indent=1) + "\n").encode())


def train(config: SymbolicConfig, run: Run, options: Options) -> None:
    """Find the laws, integrate them beside the data, and report."""
    names, trajectories = trajectories_of(config)
    saved = run.checkpoints.read_latest()
    if saved is None:
        try:
            system = discover(trajectories, names, config.ode.degree, config.ode.budget, options, config.seed)
        except ValueError as error:
            raise UserError(str(error)) from None
    else:
        system = read_system(saved.content, names)
    run.go_on_from(saved)
    if saved is None:
        run.save(1, system_record(system))
    report = _report(config, system, trajectories)
    report.save(run.path / "laws.json")
    for number, (own, followed) in enumerate(zip(report.trajectories, report.followed, strict=True), start=1):
        name = f"trajectory_{number}.png" if len(trajectories) > 1 else "trajectory.png"
        write_atomically(run.path / name, as_png(system_figure(own, system, followed)))
    for table in report.tables():
        show(table)
    for line in report.lines():
        show(line)
    run.finish("complete")


def evaluate(config: SymbolicConfig, request: EvaluationRequest) -> SystemReport:
    """Integrate the laws of a run from the first state of the trajectories that the configuration names."""
    if request.run is None:
        raise UserError("name the run folder: python evaluate.py runs/.../0 data=other.csv")
    saved = request.run.checkpoints.read_latest()
    if saved is None:
        raise UserError(f"{request.run.path}: no law was found yet; train first")
    names, trajectories = trajectories_of(config)
    return _report(config, read_system(saved.content, names), trajectories)


def _report(config: SymbolicConfig, system: System, trajectories: list[Trajectory]) -> SystemReport:
    followed = tuple(system.follow(own) for own in trajectories)
    return SystemReport(system, tuple(trajectories), followed, str(config.time))


def trajectories_of(config: SymbolicConfig) -> tuple[tuple[str, ...], list[Trajectory]]:
    """Names of the states in formulas, and the trajectory of each file.

    Raises:
        UserError: settings that laws of motion do not read, a column that is missing, times that do not increase.
    """
    given = [name for name in FOREIGN if getattr(config, name)]
    if given or config.loss != "squared" or config.model_selection != "bits":
        wrong = given[0] if given else "loss" if config.loss != "squared" else "model_selection"
        raise UserError(f"{wrong} says nothing of laws of motion: leave it out where time={config.time} is given")
    if config.data is None or config.target is None:
        shipped = ", ".join(sorted(p.name for p in EXAMPLES.glob("*.csv")))
        raise UserError(f"time={config.time}: name the trajectory and its states, data=FILE.csv target=x,y ({shipped})")
    states = [name.strip() for name in config.target.split(",")]
    if config.time in states or len(set(states)) < len(states):
        raise UserError(f"target={config.target}: name each state once, and not the time")
    trajectories = []
    for path in config.data:
        columns = read_columns(path, [str(config.time), *states])
        step = -(-len(columns[0]) // MAX_ROWS)
        if step > 1:
            show(f"{path.name}: {len(columns[0])} rows: every {step}th of them is used")
        try:
            trajectories.append(Trajectory(columns[0][::step], np.column_stack(columns[1:])[::step]))
        except ValueError as error:
            raise UserError(f"{path.name}: {error}") from None
    return tuple(formula_names(states)), trajectories


def system_record(system: System) -> dict[str, Any]:
    """A system as plain values, for a checkpoint."""
    states = [
        {
            "state": s.state, "law": finished_record(s.chosen), "front": [finished_record(f) for f in s.front],
            "constants": [asdict(c) for c in s.constants], "misfit": s.misfit, "rows": s.rows, "by_search": s.by_search,
        }
        for s in system.states
    ]  # fmt: skip
    return {"states": states, "noise": system.noise.tolist()}


def read_system(record: Mapping[str, Any], names: tuple[str, ...]) -> System:
    """The system of :func:`system_record`; a ``UserError`` if it is of other states."""
    try:
        library = Library("full", names, constant=True)
        if [part["state"] for part in record["states"]] != list(names):
            raise ValueError(f"it is a system of {', '.join(str(part['state']) for part in record['states'])}")
        states = tuple(
            StateLaw(
                part["state"],
                read_finished(part["law"], library),
                tuple(read_finished(f, library) for f in part["front"]),
                tuple(Constant(**c) for c in part["constants"]),
                float(part["misfit"]),
                int(part["rows"]),
                bool(part["by_search"]),
            )
            for part in record["states"]
        )
        return System(states, np.array(record["noise"], dtype=np.float64))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise UserError(f"the checkpoint does not fit this table: {str(error)[:200]}") from None
