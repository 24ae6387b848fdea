"""A sweep: many runs on one executor, with one display of progress and one report at the end.

All state is in the run folders. So the same call again does only what is unfinished or has failed, and any number of
calls, on any machines that share the folders, can work on one sweep.
"""

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rl_suite.checkpoint import write_atomically
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.progress import ProgressBar
from rl_suite.report.compare import Group, comparison_page, group
from rl_suite.run import Run
from rl_suite.sweeps.contract import Outcome
from rl_suite.sweeps.executor import make_executor
from rl_suite.sweeps.job import OUTPUT, is_left, train
from rl_suite.sweeps.plan import Plan, make_plan

MOST_KEPT = 1000  # failed runs that are remembered
MOST_SHOWN = 20  # of them on the page
LONGEST_NAME = 120  # characters of the report's
ELSEWHERE = "it ended, but its folder is not here: runs_dir must lie where all machines can reach it"


@dataclass
class SweepResult:
    """What came of a sweep."""

    total: int
    complete: int = 0
    """Runs that are whole now, however many calls it took."""
    failures: list[tuple[Path, str]] = field(default_factory=list)
    """Folder and error of the runs that failed, the first of them if they are very many."""
    failed: int = 0
    stopped: bool = False
    """Whether a signal ended it early."""
    report: Path | None = None
    groups: Sequence[Group] = ()
    """Per experiment: every seed's number, with IQM, mean and their intervals."""


def sweep(
    experiments: Sequence[str],
    seeds: Sequence[int],
    *,
    words: Sequence[str] = (),
    config: Path = DEFAULT_CONFIG,
    executor: str = "serial",
    workers: int | None = None,
) -> SweepResult:
    """Train and evaluate every experiment with every seed; does only what earlier calls have not finished.

    Args:
        experiments: names of blocks; modifiers among them, such as ``smoke``, apply to all others.
        seeds: of training.
        words: further settings, such as ``"ppo.gamma=0.9"``.
        config: the configuration file.
        executor: ``serial``, ``processes`` or ``ray``.
        workers: jobs at the same time; as many as there are cores by default.

    Raises:
        UserError: a configuration is wrong, or the executor cannot be had. Failing runs are no error; see the result.
    """
    return run_plan(make_plan(experiments, seeds, words, config, executor, workers))


def run_plan(plan: Plan) -> SweepResult:
    """Run what is left of a sweep, then write its report."""
    result = SweepResult(len(plan))
    threads = max(config.torch_threads for config in plan.experiments)
    gpus = 1.0 if any(config.device == "cuda" for config in plan.experiments) else 0.0
    executor = make_executor(plan.executor, plan.workers, threads, gpus)
    left = [index for index, config in enumerate(plan) if is_left(config)]
    result.complete = len(plan) - len(left)
    try:
        with _terminated_like_ctrl_c(), ProgressBar("runs", len(plan)) as bar:
            bar.update(result.complete)
            with closing(executor.run(train, _chosen(plan, left))) as outcomes:
                for config, outcome in _named(plan, left, outcomes):
                    _count(result, config, outcome)
                    bar.update(result.complete, failed=result.failed)
    except KeyboardInterrupt:
        result.stopped = True
    _write_report(plan, result)
    return result


def _chosen(plan: Plan, indices: Sequence[int]) -> Iterator[ExperimentConfig]:
    """Configurations by their place in the plan, with a folder that means the same on every machine."""
    for index in indices:
        config = plan[index]
        yield config.model_copy(update={"runs_dir": config.runs_dir.absolute()})


def _named(
    plan: Plan, indices: Sequence[int], outcomes: Generator[Outcome[None], None, None]
) -> Iterator[tuple[ExperimentConfig, Outcome[None]]]:
    for outcome in outcomes:
        yield plan[indices[outcome.index]], outcome


def _count(result: SweepResult, config: ExperimentConfig, outcome: Outcome[None]) -> None:
    error = outcome.error
    if error is None and is_left(config):
        error = ELSEWHERE
    if error is None:
        result.complete += 1
        return
    result.failed += 1
    folder = Run.place(config)
    if len(result.failures) < MOST_KEPT:
        more = f" ({folder / OUTPUT} says more)" if outcome.trace else ""
        result.failures.append((folder, f"{error}{more}"))


def _write_report(plan: Plan, result: SweepResult) -> None:
    """Compare all runs that are whole; a sweep without any has no report."""
    runs = [Run(Run.place(config)) for config in plan if not is_left(config)]
    if not runs:
        return
    result.groups = group(runs)
    names = "+".join(Run.place(config).parent.name for config in plan.experiments)
    result.report = plan.experiments[0].runs_dir / f"{names[:LONGEST_NAME]}.html"
    missing = [f"Only {len(runs)} of {len(plan)} runs are whole."] if len(runs) < len(plan) else []
    failed = [f"{folder} failed: {error}" for folder, error in result.failures[:MOST_SHOWN]]
    write_atomically(result.report, comparison_page(result.groups, [*missing, *failed]))


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which batch systems send, ends a sweep as Ctrl-C does."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
