"""Whether the published TAML makes a learner fairer: accuracy and its spread over tasks."""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.experiment import build_session
from rl_suite.meta_learning.metrics import TaskScores, compare
from rl_suite.meta_learning.session import measure
from rl_suite.progress import ProgressBar
from rl_suite.seeding import seed_everything

SUMMARY = "both methods called TAML against plain MAML: accuracy and its spread over tasks"

PLAIN, THEIL, ENTROPY = "MAML", "with Theil's index of the initial losses", "with entropy reduction"
MODULATED = "the documents' TAML"
VARIANTS: dict[str, tuple[str, ...]] = {
    PLAIN: (),
    THEIL: ("meta_learning.gradient.inequality=1.0",),
    ENTROPY: ("meta_learning.gradient.entropy=0.1",),
}
SEEDS, STEPS, EPISODES = 3, 1000, 600
NETWORK = ("network=dense", "width=128", "test_steps=3", "shared_head=false")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks fairness", description=__doc__)
    help_text = "folders of finished runs of omniglot_maml and omniglot_taml, to be compared instead of small networks"
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help=help_text)
    return parser.parse_args(list(arguments))


def stored_as(options: Options) -> str:
    """Small networks and finished runs are stored beside each other."""
    return "fairness_runs" if parse(options.extra).runs else "fairness"


def run(options: Options) -> BenchmarkResult:
    """Compare finished runs; or train every variant with every seed, and compare them on the same episodes."""
    folders = parse(options.extra).runs
    if folders:
        trials = [read_trial(path) for path in folders]
        notes: tuple[str, ...] = (
            "finished runs, trained on whatever machine; the peer is the mean of those of plain MAML",
        )
        return result_of(trials, notes)
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
    )
    return result_of(trials, notes)


def result_of(trials: Sequence[Mapping[str, Any]], notes: tuple[str, ...]) -> BenchmarkResult:
    """Rows of means, and every trial with its paired comparison."""
    paired = "differences from plain MAML, paired over episodes, are among the trials with their 95 % intervals"
    shown = [{key: value for key, value in trial.items() if key != "values"} for trial in trials]
    return BenchmarkResult(tuple(rows_of(trials)), (*notes, paired), (*shown, *comparisons(trials)))


def read_trial(path: Path) -> dict[str, Any]:
    """Accuracy on every held-out episode of a finished run, out of its ``evaluation.json``.

    Raises:
        UserError: no such file, or one that holds something else.
    """
    file = path / "evaluation.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        settings, adapted = content["settings"], next(iter(content["results"].values()))
        scores = TaskScores.of(adapted["values"])
        name = MODULATED if settings["learner"] == "taml" else _variant(settings)
        spent, seed = float(settings["training_cpu_seconds"]), int(path.name)
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError, StopIteration):
        raise UserError(f"{file}: not the evaluation of a finished run of omniglot_maml or omniglot_taml") from None
    return _trial(name, seed, spent, scores)


def _variant(settings: Mapping[str, Any]) -> str:
    names = [name for name, key in ((THEIL, "inequality"), (ENTROPY, "entropy")) if settings[key] > 0]
    return " ".join(names) or PLAIN


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
    return _trial(name, seed, spent, measure(session.learner.outputs, session.problem, session.problem.test, episodes))


def _trial(name: str, seed: int, spent: float, scores: TaskScores) -> dict[str, Any]:
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

    if not any(trial["variant"] == PLAIN for trial in trials):
        raise UserError("there is no run of plain MAML to compare with")

    def mean(name: str, key: str) -> float:
        return float(np.mean([trial[key] for trial in trials if trial["variant"] == name]))

    rows = []
    for name in dict.fromkeys(trial["variant"] for trial in trials):
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
        if name == PLAIN or (PLAIN, seed) not in by_place:
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
