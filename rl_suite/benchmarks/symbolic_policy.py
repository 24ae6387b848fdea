"""Is the policy worth its evaluations? The same search with and without it, on the same problems and seeds."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from envs.symbolic.benchmarks import SETS, problems
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.symbolic import Trial, solve
from rl_suite.evaluation.statistics import Scores, mean, paired_bootstrap
from rl_suite.progress import ProgressBar

SUMMARY = "symbolic search with the policy against the same search without, at equal evaluations"
GROUPS = ("nguyen", "livermore", "feynman")
SEEDS, BUDGET = 10, 50_000
QUICK_PROBLEMS, QUICK_SEEDS, QUICK_BUDGET = 2, 2, 5_000
WITH, WITHOUT = "with", "without"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks symbolic_policy", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(GROUPS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs per problem each way")
    parser.add_argument("--budget", type=int, default=BUDGET, help="evaluations per run")
    parsed = parser.parse_args(list(arguments))
    if parsed.seeds < 2 or parsed.budget < 1:
        parser.error("--seeds must be at least 2 (one run has no interval) and --budget at least 1")
    return parsed


def run(options: Options) -> BenchmarkResult:
    """Shares of the laws that are recovered within the budget, and how many programs that took."""
    a = parse(options.extra)
    chosen = [p for group in a.sets for p in problems(group)]
    seeds, budget = a.seeds, a.budget
    if options.quick:
        chosen, seeds, budget = chosen[:QUICK_PROBLEMS], QUICK_SEEDS, QUICK_BUDGET
    trials: dict[str, list[list[Trial]]] = {WITH: [], WITHOUT: []}
    with ProgressBar("problems", len(chosen)) as progress:
        for done, p in enumerate(chosen, start=1):
            for way, policy in ((WITH, True), (WITHOUT, False)):
                runs = [solve(p, options.seed + seed, budget=budget, policy=policy) for seed in range(seeds)]
                trials[way].append(runs)
            progress.update(done, last=p.name)
    return summary(trials, budget)


def summary(trials: dict[str, list[list[Trial]]], budget: int) -> BenchmarkResult:
    """Rows out of the trials of both ways, each a list of problems of a list of seeds."""
    recovered = {way: _table(them, lambda t: 100.0 * t.recovered) for way, them in trials.items()}
    programs = {way: _table(them, lambda t: t.evaluations if t.recovered else budget) for way, them in trials.items()}
    seconds = {way: _table(them, lambda t: t.seconds) for way, them in trials.items()}

    def row(name: str, table: dict[str, Scores], unit: str, higher: bool) -> Row:
        return Row(name, float(table[WITH].mean()), float(table[WITHOUT].mean()), unit, "no policy", higher)

    rows = (
        row("recovered", recovered, "%", True),
        row("programs", programs, "a run", False),
        row("time", seconds, "s a run", False),
    )
    shares = [table.mean(axis=1) for table in (recovered[WITH], recovered[WITHOUT])]
    differ = [f"{runs[0].problem} {a:.0f}:{b:.0f}" for runs, a, b in zip(trials[WITH], *shares, strict=True) if a != b]
    gain = paired_bootstrap(recovered[WITH], recovered[WITHOUT], mean, seed=0)
    saved = paired_bootstrap(programs[WITHOUT], programs[WITH], mean, seed=0)
    n, seeds = recovered[WITH].shape
    notes = (
        f"{n} problems x {seeds} seeds each way, at most {budget} programs a run",
        f"points of recovery that the policy adds, same problems and seeds: {gain}",
        f"programs that it saves a run (not recovered: the whole budget): {saved}",
        f"problems that differ, % with:without: {', '.join(differ) or 'none'}",
    )
    every = tuple(_stored(way, runs) for way, them in trials.items() for runs in them)
    return BenchmarkResult(rows, notes, every)


def _stored(way: str, runs: list[Trial]) -> dict[str, Any]:
    """What the rows are made of, for the seeds of one problem in their order."""
    return {
        "way": way,
        "problem": runs[0].problem,
        "recovered": [t.recovered for t in runs],
        "evaluations": [t.evaluations for t in runs],
        "seconds": [round(t.seconds, 3) for t in runs],
    }


def _table(trials: list[list[Trial]], of: Callable[[Trial], float]) -> Scores:
    return np.array([[of(trial) for trial in runs] for runs in trials])
