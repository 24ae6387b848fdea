"""Is it durotaxis? Any agent on the field it knows and on control fields, with the same seeds.

A colony that reaches a goal has not shown that it feels the ground: it may have walked straight ahead. Hence
every measure is reported beside, and minus, the same measure on a flat field where equal seeds give the
same first nodes and the same (virtual) direction. Fields that are reversed, turned by a quarter or have
their optimum inside must make no difference to an agent that follows gradients.

Movement is measured in assays: every episode lasts equally long. The task ends an episode after many steps away
from the goal, hence just after a run of steps down, and indices of blind walkers would lie below 0 for that
reason alone. Success comes from episodes of the task.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from agents.protocol import Agent
from envs.durotaxis.measured import load_measured
from envs.durotaxis.options import Options
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import SUCCESS, EvaluationSpec
from rl_suite.evaluation.rollouts import OnEpisode, play
from rl_suite.evaluation.statistics import Interval, mean, paired_bootstrap, stratified_bootstrap

WORLD = "rl_suite/Durotaxis-v0"
GRADIENT, FLAT, REVERSED, ROTATED, OPTIMUM = FIELDS = ("gradient", "flat", "reversed", "rotated", "optimum")
MEASURES = {  # key in the last info -> heading
    "durotactic_index": "durotactic index",
    "forward_migration_index": "forward migration index",
    "velocity_up_um_h": "velocity, um/h",
    SUCCESS: "success",
}


PRINTED = tuple(measure for measure in MEASURES if measure != "forward_migration_index")  # what 80 columns hold
ASSAY = tuple(measure for measure in MEASURES if measure != SUCCESS)


def control_options(env_options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of the durotaxis world on each of ``FIELDS``, at full difficulty (without curriculum).

    ``gradient`` is the field of ``env_options`` itself. The others keep everything but the field or its direction.
    """
    own = {name: value for name, value in env_options.items() if name != "curriculum"}
    options = Options.of(own)
    if options.substrate == "flat":
        raise UserError("controls compare a gradient with flat ground: choose another substrate than flat")
    angle = options.angle or (90.0 if options.substrate == "rotated" else 0.0)
    elsewhere = {name: value for name, value in own.items() if name != "image"}
    if options.direction == "measured":
        field = load_measured(options)
        elsewhere["direction"] = float(np.degrees(np.arctan2(field.up_y, field.up_x)))
    return {
        GRADIENT: own,
        FLAT: {**elsewhere, "substrate": "flat"},
        REVERSED: {**own, "angle": angle + 180.0},
        ROTATED: {**own, "angle": angle + 90.0},
        OPTIMUM: {**elsewhere, "substrate": "optimum"},
    }


@dataclass(frozen=True)
class ControlRow:
    """One measure on one field."""

    field: str
    measure: str
    value: Interval
    minus_flat: Interval
    """Difference to the flat control, episode by episode."""


@dataclass(frozen=True)
class ControlReport:
    """What one agent did on every field; ``values[field][measure]`` has one number per episode, matched by seed."""

    agent: str
    values: Mapping[str, Mapping[str, NDArray[np.float64]]]
    chance_level: float
    resamples: int
    confidence: float
    seed: int

    def interval(self, field: str, measure: str) -> Interval:
        """Mean of a measure on a field."""
        return stratified_bootstrap(self.values[field][measure], mean, **self._bootstrap())

    def difference(self, field: str, other: str, measure: str) -> Interval:
        """Mean of a measure on a field minus the mean on another."""
        return paired_bootstrap(self.values[field][measure], self.values[other][measure], mean, **self._bootstrap())

    def rows(self) -> list[ControlRow]:
        """Every measure on every field, field after field."""
        return [
            ControlRow(field, measure, self.interval(field, measure), self.difference(field, FLAT, measure))
            for field in self.values
            for measure in MEASURES
        ]

    def flags(self) -> list[str]:
        """What speaks against durotaxis, in sentences; empty for an agent that follows any gradient."""
        found, percent = [], f"{self.confidence:.0%} interval"
        flat = self.interval(FLAT, SUCCESS)
        if flat.low > self.chance_level:
            found.append(
                f"wins on flat ground: {flat.estimate:.1%} of episodes ({percent} from {flat.low:.1%}), "
                f"where a blind walk wins {self.chance_level:.1%}"
            )
        gain = self.difference(GRADIENT, FLAT, "durotactic_index")
        if gain.low <= 0:
            found.append(
                f"no durotaxis shown: the index gains {gain.estimate:+.3f} over flat ground, {percent} {_ends(gain)}"
            )
        elif (more := self.difference(GRADIENT, FLAT, SUCCESS)).low <= 0:
            found.append(
                f"goal not reached in the time: the index gains {gain.estimate:+.3f} over flat ground, but success "
                f"does not ({more.estimate:+.1%}, {percent} {_ends(more)})"
            )
        for field in (REVERSED, ROTATED):
            change = self.difference(field, GRADIENT, SUCCESS)
            if change.high < 0:
                found.append(f"prefers a direction: success falls by {-change.estimate:.1%} on the {field} field")
        return found

    def table(self) -> Table:
        """One row per field, within 80 columns: each measure with its interval, its excess over flat ground below."""
        title = f"{self.agent}: durotaxis and its controls"
        caption = (
            f"mean [{self.confidence:.0%}], below it the excess over matched flat ground; {self._episodes()} episodes "
            "each; movement in assays of fixed time, success in the task; the forward migration index is in the report"
        )
        table = Table(title=title, title_justify="left", caption=caption, caption_justify="left", box=None)
        table.add_column("field")
        for measure in PRINTED:
            table.add_column(MEASURES[measure], justify="right", no_wrap=True)
        cells: dict[str, list[Text]] = {}
        for row in (row for row in self.rows() if row.measure in PRINTED):
            text = Text(_brackets(row.value))
            if row.field != FLAT:
                text.append(f"\n{_brackets(row.minus_flat, sign=True)}", style="italic dim")
            cells.setdefault(row.field, []).append(text)
        for field, texts in cells.items():
            table.add_row(field if field == FLAT else f"{field}\n - flat", *texts)
        return table

    def tables(self) -> list[Table | str]:
        """The table, and what speaks against durotaxis."""
        return [self.table(), *(f"  ! {flag}" for flag in self.flags())]

    def as_json(self) -> dict[str, Any]:
        """Plain values: flags, intervals, and every episode."""
        return {
            "agent": self.agent,
            "chance_level": self.chance_level,
            "confidence": self.confidence,
            "flags": self.flags(),
            "rows": [
                {
                    "field": row.field,
                    "measure": row.measure,
                    "value": row.value._asdict(),
                    "minus_flat": row.minus_flat._asdict(),
                }
                for row in self.rows()
            ],
            "episodes": {
                field: {measure: values.tolist() for measure, values in measures.items()}
                for field, measures in self.values.items()
            },
        }

    def _bootstrap(self) -> dict[str, Any]:
        return {"resamples": self.resamples, "confidence": self.confidence, "seed": self.seed}

    def _episodes(self) -> int:
        return len(self.values[FLAT][SUCCESS])


def evaluate_controls(
    agent: Agent, spec: EvaluationSpec, name: str = "agent", on_episode: OnEpisode | None = None
) -> ControlReport:
    """Play the episodes of ``spec`` on every control field, in assays and, where the options say so, in the task.

    With ``mode="assay"`` in ``env_options`` nothing can succeed, and success is 0.

    Args:
        agent: anything with ``predict``.
        spec: of a durotaxis world; ``env_options`` describe the field of interest.
        name: of the agent in the report.
        on_episode: called with the number of finished episodes, over all fields.

    Raises:
        UserError: another world, a flat field, or fewer than two episodes.
    """
    if spec.env_id.rpartition(":")[2] != WORLD:
        raise UserError(f"controls are for {WORLD}, not {spec.env_id}")
    if spec.n_tasks * spec.episodes_per_task < 2:
        raise UserError("controls need at least two episodes: raise n_tasks or episodes_per_task")
    fields = control_options(spec.env_options)
    values: dict[str, dict[str, NDArray[np.float64]]] = {}
    for field, options in fields.items():
        assay = replace(spec, env_options={**options, "mode": "assay"}, max_episode_steps=None)
        moved = _last_infos(agent, assay, None)
        done = len(values) * spec.n_tasks * spec.episodes_per_task
        tell = None if on_episode is None else lambda count, done=done: on_episode(done + count)
        ended = _last_infos(agent, replace(spec, env_options=options), tell)
        values[field] = {**{measure: moved[measure] for measure in ASSAY}, SUCCESS: ended[SUCCESS]}
    chance = Options.of(fields[GRADIENT]).chance_level
    return ControlReport(name, values, chance, spec.resamples, spec.confidence, spec.seed)


def _last_infos(agent: Agent, spec: EvaluationSpec, on_episode: OnEpisode | None) -> dict[str, NDArray[np.float64]]:
    with closing(spec.make()) as env:
        return play(agent, env, spec.plan(env)[1], spec.deterministic, on_episode).last_infos


def _brackets(interval: Interval, sign: bool = False) -> str:
    """Three digits above 100, two decimals below 10: what the interval's own width bears out."""
    digits = 2 if max(map(abs, interval)) < 10 else 1 if max(map(abs, interval)) < 100 else 0
    estimate, low, high = (f"{round(value, digits) + 0.0:.{digits}f}" for value in interval)
    plus = "+" if sign and not estimate.startswith("-") else ""
    return f"{plus}{estimate} [{low}, {high}]"


def _ends(interval: Interval) -> str:
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]"
