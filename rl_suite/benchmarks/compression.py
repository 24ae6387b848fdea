"""Does a compressed history still learn in context? Return kept against fraction of the context kept."""

import math
from collections.abc import Sequence
from pathlib import Path

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG, show
from rl_suite.distillation.compression.pictures import draw_compression
from rl_suite.distillation.compression.trials import Outcome, measure, play_whole
from rl_suite.distillation.config import DistillationConfig
from rl_suite.distillation.experiment import load_agent, train, trial_spec
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.run import Run

SUMMARY = "in-context agents with a part of their context against the whole of it"

FRACTIONS = (0.5, 0.25, 0.125, 0.0625)
STRATEGIES = ("recent", "sinks", "uniform", "top_attention", "heavy_hitters", "snapkv", "diverse", "merged", "auto")
RE_ENCODED = ("recent", "top_attention")  # of the costlier mode, at the smaller budgets
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "compression.png"

# experiment -> episodes of a trial, trials
WORLDS = {"darkroom_distillation": (20, 128), "bandit5_distillation": (1, 512)}
PROMISED_AT = {"darkroom_distillation": (0.125, 0.99), "bandit5_distillation": (0.25, 1 / 1.1)}
"""Fraction of the context -> share of the result that the best strategy must keep there."""


def run(options: Options) -> BenchmarkResult:
    """Measure every strategy at every budget on held-out tasks; agents come from ``runs/`` or are trained first."""
    rows: list[Row] = []
    notes = ["a budget of b steps is compressed to 3/4 of it whenever it is full; intervals: 95 %, paired trials"]
    panels: dict[str, list[Outcome]] = {}
    for experiment, (episodes, trials) in WORLDS.items():
        config, run_folder = trained(experiment, options)
        family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
        agent = load_agent(config, EvaluationRequest(run=run_folder))
        if options.quick:
            episodes, trials = min(2, episodes), 8
        spec = trial_spec(config, family, "test", episodes, trials)
        strategies: Sequence[str] = STRATEGIES[:2] if options.quick else STRATEGIES
        whole = play_whole(agent, spec)
        outcomes = measure(agent, spec, whole, strategies, FRACTIONS)
        outcomes += measure(agent, spec, whole, RE_ENCODED, FRACTIONS[2:], "re_encode")
        panels[experiment] = outcomes
        rows += [as_row(experiment, outcome, experiment.startswith("bandit")) for outcome in outcomes]
        rows.append(best_row(experiment, outcomes))
        notes += [describe(experiment, outcome) for outcome in outcomes]
    if not options.quick:
        draw_compression(panels, PICTURE)
        notes.append(f"picture: docs/images/{PICTURE.name}")
    return BenchmarkResult(tuple(rows), tuple(notes))


def trained(experiment: str, options: Options) -> tuple[DistillationConfig, Run]:
    """The run of ``experiment`` with the seed of the options; trained now if there is none."""
    words = [f"experiment={experiment}{',smoke' if options.quick else ''}", f"seed={options.seed}"]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, DistillationConfig)
    run_folder = Run.start(config)
    if run_folder.status != "complete":
        show(f"training {experiment} first, as python train.py experiment={experiment} would")
        train(config, run_folder)
    run_folder.close()
    return config, Run.open(run_folder.path)


def as_row(experiment: str, outcome: Outcome, regret: bool) -> Row:
    """How much of the result is left, as a ratio: 1 = all of it."""
    name = f"{short(experiment)} {outcome.mode} {outcome.strategy} {outcome.fraction:.1%}"
    unit = "regret, times" if regret else "return, share"
    return Row(name, outcome.kept.estimate, 1.0, unit, "whole context", higher_is_better=not regret)


def short(experiment: str) -> str:
    """The experiment's name without what all of them have in common."""
    return experiment.removesuffix("_distillation")


def best_row(experiment: str, outcomes: Sequence[Outcome]) -> Row:
    """The best strategy at the budget for which something was promised."""
    fraction, promise = PROMISED_AT[experiment]
    regret = experiment.startswith("bandit")
    there = [outcome for outcome in outcomes if outcome.fraction == fraction and outcome.mode == "ring"]
    best = min(there, key=lambda o: o.kept.estimate if regret else -o.kept.estimate)
    row = as_row(experiment, best, regret)
    return Row(f"best: {row.name}", row.ours, row.peer, row.unit, row.peer_name, row.higher_is_better, promise)


def describe(experiment: str, o: Outcome) -> str:
    """One line with the interval and the costs."""
    worst = "" if math.isnan(o.worst) else f", worst task {o.worst:.2f}"
    return (
        f"{short(experiment)} {o.mode} {o.strategy} {o.budget} steps: {o.kept.estimate:.3f} [{o.kept.low:.3f}, "
        f"{o.kept.high:.3f}], whole trial {o.area:.3f}{worst}, {o.speed_up:.2f}x as fast, {o.bytes_kept / 1024:.0f} KiB"
    )
