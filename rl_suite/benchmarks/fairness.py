"""Whether the published TAML makes a learner fairer: accuracy and its spread over tasks."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.experiment import build_session
from rl_suite.meta_learning.metrics import TaskScores, compare
from rl_suite.meta_learning.session import measure
from rl_suite.progress import ProgressBar
from rl_suite.seeding import seed_everything

SUMMARY = "MAML with entropy reduction or inequality minimisation against plain MAML: accuracy and its spread"

PLAIN = "MAML"
VARIANTS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    "with Theil's index of the initial losses": ("meta_learning.gradient.inequality=1.0",),
    "with entropy reduction": ("meta_learning.gradient.entropy=0.1",),
}
SEEDS, STEPS, EPISODES = 3, 1000, 600
NETWORK = ("network=dense", "width=128", "test_steps=3")


def run(options: Options) -> BenchmarkResult:
    """Train every variant with every seed, and compare them on the same held-out episodes."""
    seeds, steps, episodes = (1, 2, 4) if options.quick else (SEEDS, STEPS, EPISODES)
    trials = []
    with ProgressBar("learners", seeds * len(VARIANTS)) as progress:
        for seed in range(options.seed, options.seed + seeds):
            for name, words in VARIANTS.items():
                trials.append(train(name, words, seed, steps, episodes))
                progress.update(len(trials))
    notes = (
        f"5-way 1-shot, {episodes} episodes of unseen classes, {seeds} seeds, {steps} outer steps of 4 tasks,",
        "3 inner steps, second order, two dense layers of 128 units on the pixels",
        "difference: of the mean accuracy, in points, paired over episodes; its 95 % interval is among the trials",
    )
    shown = [{key: value for key, value in trial.items() if key != "values"} for trial in trials]
    return BenchmarkResult(tuple(rows_of(trials)), notes, (*shown, *comparisons(trials)))


def train(name: str, words: Sequence[str], seed: int, steps: int, episodes: int) -> dict[str, Any]:
    """One learner, and its accuracy on every held-out episode."""
    settings = [f"meta_learning.gradient.{word}" for word in NETWORK]
    loop = f"meta_learning.loop.steps={steps}"
    config = load_experiment(DEFAULT_CONFIG, ["experiment=omniglot_maml", f"seed={seed}", loop, *settings, *words])
    assert isinstance(config, MetaLearningConfig)
    seed_everything(seed)
    session: Any = build_session(config)
    began = time.process_time()
    for step in range(steps):
        session.step(step)
    spent = time.process_time() - began
    scores = measure(session.learner.outputs, session.problem, session.problem.test, episodes)
    return {
        "variant": name,
        "seed": seed,
        "cpu_seconds": spent,
        "accuracy": scores.interval.estimate,
        "variance": scores.deviation**2,
        "worst_decile": scores.worst_decile,
        "values": scores.values,
    }


def rows_of(trials: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Means over seeds of each variant beside those of plain MAML."""

    def mean(name: str, key: str) -> float:
        return float(np.mean([trial[key] for trial in trials if trial["variant"] == name]))

    rows = []
    for name in VARIANTS:
        if name != PLAIN:
            for key, scale, unit in (("accuracy", 1e2, "%"), ("variance", 1e4, "%^2"), ("worst_decile", 1e2, "%")):
                figures = scale * mean(name, key), scale * mean(PLAIN, key)
                rows.append(Row(f"{key.replace('_', ' ')}, {name}", *figures, unit, PLAIN, key != "variance"))
    return rows


def comparisons(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Paired differences from plain MAML, per seed: of accuracy, and of its squared distance from the mean."""
    found = []
    by_place = {(trial["variant"], trial["seed"]): trial["values"] for trial in trials}
    for (name, seed), values in by_place.items():
        if name == PLAIN:
            continue
        plain = by_place[PLAIN, seed]
        accuracy = compare(TaskScores.of(values), TaskScores.of(plain))
        spread = compare(_squares(values), _squares(plain))
        found.append(
            {
                "variant": name,
                "seed": seed,
                "accuracy_difference": accuracy.difference._asdict(),
                "variance_difference": spread.difference._asdict(),
                "p_accuracy": accuracy.p_value,
                "p_variance": spread.p_value,
            }
        )
    return found


def _squares(values: NDArray[np.float64]) -> TaskScores:
    return TaskScores.of(np.square(values - values.mean()), higher_is_better=False)
