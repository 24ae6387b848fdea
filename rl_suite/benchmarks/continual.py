"""What is left of earlier tasks, beside training with nothing against forgetting; the promises stand at the end.

The digits and the rooms are those of the experiments ``continual_digits`` and ``continual_rooms``, all strategies.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.evaluation.statistics import Interval
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.continual.lessons.report import PERCENT, Result
from rl_suite.meta_learning.experiment import build_session
from rl_suite.progress import ProgressBar

SUMMARY = "continual learning: accuracy left after the last task, against fine-tuning; digits and rooms"
EXPERIMENTS = {"continual_digits": "digits", "continual_rooms": "rooms"}
CHANCE_OF_CLASS_INCREMENTAL = 100 / 5  # what is left if of five tasks only the last one is known

Measured = Mapping[str, Mapping[str, Result]]  # sequence -> strategy -> result


def run(options: Options) -> BenchmarkResult:
    """Teach everything and compare."""
    found: dict[str, Measured] = {name: teach(name, options) for name in EXPERIMENTS}
    rows = [row for name, measured in found.items() for row in against_naive(EXPERIMENTS[name], measured)]
    if not options.quick:
        rows += promises(found["continual_digits"])
    notes = (
        "ACC: mean over tasks after the last one; BWT: what later tasks have done to earlier ones; percent",
        "rooms: share of the optimal return of a PPO policy that learns three rooms one after the other",
        "MNIST: not measured; the same code reads it where it is on disk (meta_learning.continual.data=mnist)",
    )
    trials = [trial for name, measured in found.items() for trial in tell(EXPERIMENTS[name], measured)]
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def teach(experiment: str, options: Options) -> Measured:
    """Every strategy on every sequence of one experiment."""
    words = [f"experiment={experiment}{',smoke' if options.quick else ''}", f"seed={options.seed}"]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, MetaLearningConfig)
    session: Any = build_session(config)
    with ProgressBar(experiment, session.total_steps) as progress:
        for step in range(session.total_steps):
            session.step(step)
            progress.update(step + 1)
    results: Measured = session.lessons.results()
    return results


def against_naive(name: str, measured: Measured) -> Iterator[Row]:
    """ACC of every strategy beside that of fine-tuning."""
    for sequence, strategies in measured.items():
        naive = mean_of(strategies["naive"], "average_accuracy")
        for strategy, result in strategies.items():
            if strategy != "naive":
                ours = mean_of(result, "average_accuracy")
                yield Row(f"{name}, {sequence}: {strategy}", ours, naive, "ACC %", "naive")


def promises(digits: Measured) -> Iterator[Row]:
    """What must be reached on the digits."""
    least = partial(Row, unit="%", peer_name="promised", target=1.0)
    replay = mean_of(digits["split_class"]["replay"], "average_accuracy")
    yield least("digits, replay class-incremental ACC", replay, 88.0)
    yield least("digits, LwF task-incremental ACC", mean_of(digits["split_task"]["lwf"], "average_accuracy"), 99.0)
    lost = -mean_of(digits["permuted"]["ewc"], "backward_transfer")
    yield least("digits, EWC permuted, -BWT", max(lost, 0.0), 15.0, higher_is_better=False)
    alone = mean_of(digits["split_class"]["ewc"], "average_accuracy")
    yield Row("digits, EWC alone class-incremental", alone, CHANCE_OF_CLASS_INCREMENTAL, "ACC %", "last task only")
    for sequence, strategies in digits.items():
        joint = mean_of(strategies["joint"], "average_accuracy")
        best = max(mean_of(result, "average_accuracy") for name, result in strategies.items() if name != "joint")
        yield Row(f"digits, {sequence}: joint", joint, best, "ACC %", "best other")


def tell(name: str, measured: Measured) -> Iterator[Mapping[str, object]]:
    """Every measure with its interval over the seeds."""
    for sequence, strategies in measured.items():
        for strategy, result in strategies.items():
            trial: dict[str, object] = {"data": name, "sequence": sequence, "strategy": strategy}
            for measure, interval in result.measures(forward=True).items():
                trial[measure], trial[f"{measure}_low"], trial[f"{measure}_high"] = in_percent(interval)
            yield {**trial, "seeds": len(result.matrices)}


def mean_of(result: Result, measure: str) -> float:
    """A measure in percent, mean over the seeds."""
    return in_percent(result.measures(forward=True)[measure])[0]


def in_percent(interval: Interval) -> tuple[float, float, float]:
    """Estimate and ends, two decimals."""
    low, centre, high = (round(PERCENT * part, 2) for part in (interval.low, interval.estimate, interval.high))
    return centre, low, high
