"""``python train.py experiment=symbolic_search data=FILE.csv target=COLUMN``."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from envs.symbolic.tokens import OPERATIONS
from rl_suite.checkpoint import Saved
from rl_suite.cli import show
from rl_suite.errors import NothingFoundError, UserError
from rl_suite.experiments import EvaluationRequest
from rl_suite.loading import require_known
from rl_suite.progress import ProgressBar
from rl_suite.rehearsal import rehearsed
from rl_suite.run import Run
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.dynamics import experiment as dynamics
from rl_suite.symbolic.dynamics.experiment import SystemReport
from rl_suite.symbolic.findings import read_findings
from rl_suite.symbolic.forms.custom import read_functions
from rl_suite.symbolic.groups import explore_all, groups_of, join
from rl_suite.symbolic.hole import Hole
from rl_suite.symbolic.laws.constraints import read_constraints
from rl_suite.symbolic.nature import read_nature
from rl_suite.symbolic.output.choice import SELECTIONS
from rl_suite.symbolic.pictures import save_pictures
from rl_suite.symbolic.report import Report
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.sizes import shrink
from rl_suite.symbolic.table import Table, read_tables
from rl_suite.symbolic.weighing import LOSSES, Weighing

EXAMPLE, EXAMPLE_TARGET = Path("planets.csv"), "period"
SHOWN_LAW = 60  # characters of the best law beside the progress bar


def options_of(config: SymbolicConfig) -> Options:
    """The search's options out of the configuration."""
    section = config.search
    for name in section.functions if isinstance(section.functions, tuple) else ():
        if isinstance(name, str):
            require_known(name, OPERATIONS, "function")
    try:
        functions, custom = read_functions(section.functions, Options.functions)
    except ValueError as error:
        raise UserError(f"search.{error}") from None
    return Options(
        functions=functions,
        custom=custom,
        literals=section.literals,
        max_length=section.max_length,
        population=section.population,
        search_points=section.search_points,
        polynomials=section.polynomials,
        inner_constants=section.inner_constants,
        policy=section.policy,
        stop_at_noise=section.stop_at_noise,
        prior=section.prior,
        proposals=section.proposals,
        known=config.known,
        loss=config.loss,
    )


def table_of(config: SymbolicConfig) -> Table:
    """The data that the configuration names."""
    files = config.data
    if files is not None and config.target is None:
        raise UserError(f"{files[0]}: which column is to be explained? target=COLUMN")
    target = config.target or EXAMPLE_TARGET
    if config.free_constants and not config.units:
        raise UserError("free_constants=true: says something of units only; give units=... too")
    require_known(config.loss, LOSSES, "loss")
    require_known(config.model_selection, SELECTIONS, "model_selection")
    weighing = Weighing(config.sample_weight, config.y_error, config.loss)
    try:
        nature = read_nature(config.nature)
    except ValueError as error:
        raise UserError(str(error)) from None
    given = config.columns, config.units, config.seed, config.free_constants, weighing, nature
    return read_tables(files or (EXAMPLE,), target, *given)


def build_search(config: SymbolicConfig, data: Data, renamed: Mapping[str, str] | None = None) -> Search:
    """A search that has not begun; what it refuses becomes a ``UserError``. ``renamed``: name in formulas -> column."""
    named = {(renamed or {}).get(name, name): name for name in data.variables}
    try:
        options = replace(options_of(config), constraints=read_constraints(config.constraints, named))
        return Search(data, options, config.seed, config.search.budget)
    except ValueError as error:
        raise UserError(str(error)) from None


def hole_of(config: SymbolicConfig, data: Data) -> Hole | None:
    """The hole of the skeleton, if there is one."""
    if config.skeleton is None:
        return None
    try:
        return Hole.of(config.skeleton, data)
    except ValueError as error:
        raise UserError(str(error)) from None


@rehearsed(shrink)
def train(config: SymbolicConfig, run: Run) -> None:
    """Search until the law is exact, only noise is left, or the budget is spent; then report."""
    if config.time is not None:
        dynamics.train(config, run, options_of(config))
        return
    table = table_of(config)
    for message in table.messages:
        show(message)
    hole = hole_of(config, table.data)
    search = build_search(config, table.data if hole is None else hole.data, table.renamed)
    ended = _search(config, search, run) if config.search.groups == 1 else _search_in_groups(config, search, run)
    if not ended:
        run.finish("stopped")
        return
    report = report_of(search) if hole is None else report_of(search).inside(hole)
    report = report.choosing(config.model_selection)
    report.save(run.path / "laws.json")
    save_pictures(report, table.data.variables, run.path)
    show(report.table())
    for line in report.lines():
        show(line)
    run.finish("complete")


def _search(config: SymbolicConfig, search: Search, run: Run) -> bool:
    """One group of islands, to its end; False if a signal stopped it."""
    found = run.checkpoints.read_latest()
    if found is not None:
        resume(search, found)
    run.go_on_from(found)
    return _go_on(config, search, run)


def _go_on(config: SymbolicConfig, search: Search, run: Run) -> bool:
    saved = logged = search.evaluations
    deadline = math.inf if config.search.time_limit is None else time.monotonic() + config.search.time_limit
    with ProgressBar("evaluations", config.search.budget) as progress:
        while not search.done:
            search.step()
            if not search.done and time.monotonic() > deadline:
                search.reason = "time"
            best = search.archive.best
            if best is not None:
                error = math.sqrt(best.nmse)
                spent = min(search.evaluations, config.search.budget)
                progress.update(spent, error=error, law=search.text()[:SHOWN_LAW])
            if best is not None and search.evaluations > logged:
                logged = search.evaluations
                run.log(search.evaluations, {"eval/nrmse": error, "eval/bits": best.bits})
            if search.done or run.stop_requested or search.evaluations - saved >= config.search.checkpoint_every:
                saved = search.evaluations
                run.save(search.evaluations, search.state())
            if run.stop_requested and not search.done:
                return False
    return True


def _search_in_groups(config: SymbolicConfig, search: Search, run: Run) -> bool:
    """Groups of islands on the executor, whose laws ``search`` has in the end; False if a signal stopped it."""
    groups = groups_of(config, search.given, search.options)
    saved, states = run.checkpoints.read_latest(), {}
    run.go_on_from(saved)
    if saved is not None and "groups" not in saved.content:  # they are joined; what the budget has grown by, is one's
        resume(search, saved)
        return _go_on(config, search, run)
    if saved is not None:
        for number, state in saved.content["groups"].items():
            resume(search, saved._replace(content=state))  # what does not fit is refused here
            states[int(number)] = state
    if not explore_all(config, groups, states, run):
        return False
    join(search, states)
    run.save(search.evaluations, search.state())
    return True


def resume(search: Search, saved: Saved) -> None:
    """Put a checkpoint into a search; one of other data or options is refused."""
    try:
        search.restore(saved.content)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise UserError(f"{saved.path}: does not fit this table and search: {str(error)[:200]}") from None


def report_of(search: Search) -> Report:
    """What a search has found so far.

    Raises:
        UserError: nothing that is finite on all rows.
    """
    if search.archive.best is None:
        raise NothingFoundError(
            "no law is finite on all rows; raise search.budget or check the data for extreme values"
        )
    return Report.of(search.findings(), search.given, search.reason, search.evaluations)


def evaluate(config: SymbolicConfig, request: EvaluationRequest) -> Report | SystemReport:
    """Measure the laws of a run on the table of the configuration (``data=other.csv``: on other rows)."""
    if config.time is not None:
        return dynamics.evaluate(config, request)
    if request.run is None:
        raise UserError("name the run folder of the search: python evaluate.py runs/symbolic_search/0 data=other.csv")
    saved = request.run.checkpoints.read_latest()
    if saved is None:
        raise UserError(f"{request.run.path}: no law was found yet; train first")
    table = table_of(config)
    content, data = saved.content, table.data
    if content.get("found") is None:
        raise UserError(f"{request.run.path}: no law was found")
    try:
        found = read_findings(content["found"], data)
    except KeyError as error:
        raise UserError(f"{request.run.path}: its laws need other columns than this table has: {error}") from None
    if len(found.chosen.laws) != len(data.set_names):
        raise UserError(
            f"{request.run.path}: its law was measured on {len(found.chosen.laws)} datasets,"
            f" and data=... names {len(data.set_names)}; name one file for each, in the same order"
        )
    report = Report.of(found, data, content["reason"], content["evaluations"])
    hole = hole_of(config, data)
    whole = report.measured_on(report.polisher) if hole is None else report.inside(hole)
    return whole.choosing(config.model_selection)
