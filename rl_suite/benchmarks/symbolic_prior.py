"""Is a learned prior worth having in a search? The same search with and without it, on every benchmark set."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.symbolic.benchmarks import SETS, Problem, problems
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.symbolic import solve
from rl_suite.evaluation.statistics import Scores, mean, paired_bootstrap
from rl_suite.symbolic.prior import SHIPPED, Prior

SUMMARY = "symbolic search with a learned prior against the same search without, at equal evaluations"
BUDGETS, SEEDS = (100, 1_000, 10_000), 3
QUICK_PROBLEMS, QUICK_BUDGETS = 2, (200,)


@dataclass(frozen=True)
class Pair:
    """One problem with one budget, without and with the prior; a list entry per seed."""

    problem: str
    budget: int
    without: tuple[bool, ...]
    with_prior: tuple[bool, ...]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks symbolic_prior", description=__doc__)
    parser.add_argument("--prior", type=Path, default=Path(SHIPPED), help="file of the prior, or shipped")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs per problem each way")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--every", type=int, default=1, help="every n-th problem only")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parsed = parser.parse_args(list(arguments))
    if parsed.seeds < 2 or min(parsed.jobs, parsed.every, *parsed.budgets) < 1:
        parser.error("--seeds must be at least 2 (one run has no interval), the other numbers at least 1")
    return parsed


def compare(task: tuple[Problem, int], seeds: int, prior: Path, first: int) -> Pair:
    """Both ways on one problem with one budget."""
    torch.set_num_threads(1)
    problem, budget = task
    ways = [
        tuple(solve(problem, first + seed, budget=budget, prior=given).recovered for seed in range(seeds))
        for given in (None, prior)
    ]
    return Pair(problem.name, budget, *ways)


def run(options: Options) -> BenchmarkResult:
    """Shares of the laws that are recovered within each budget, both ways."""
    a = parse(options.extra)
    Prior.load(a.prior)  # what is wrong with it is said before anything is searched
    chosen = [p for group in a.sets for p in problems(group)][:: a.every]
    budgets = a.budgets
    if options.quick:
        chosen, budgets = chosen[:QUICK_PROBLEMS], QUICK_BUDGETS
    tasks = [(p, budget) for p in chosen for budget in budgets]
    one = partial(compare, seeds=a.seeds, prior=a.prior, first=options.seed)
    if a.jobs == 1:
        pairs = [one(task) for task in tasks]
    else:
        with ProcessPoolExecutor(a.jobs, mp_context=get_context("spawn")) as pool:
            pairs = list(pool.map(one, tasks))
    return summary(pairs)


def summary(pairs: Sequence[Pair]) -> BenchmarkResult:
    """A row and an interval of the gain for each budget."""
    rows, notes = [], []
    for budget in dict.fromkeys(p.budget for p in pairs):
        own = [p for p in pairs if p.budget == budget]
        with_prior, without = _table([p.with_prior for p in own]), _table([p.without for p in own])
        gain = paired_bootstrap(with_prior, without, mean, seed=0)
        rows.append(Row(f"recovered, {budget} programs", mean(with_prior), mean(without), "%", "no prior"))
        differ = [f"{p.problem} {sum(p.with_prior)}:{sum(p.without)}" for p in own if p.with_prior != p.without]
        notes.append(f"points that the prior adds at {budget} programs, same problems and seeds: {gain}")
        notes.append(f"problems that differ at {budget}, runs with:without: {', '.join(differ) or 'none'}")
    return BenchmarkResult(tuple(rows), tuple(notes), tuple(_stored(p) for p in pairs))


def _table(runs: Sequence[tuple[bool, ...]]) -> Scores:
    return 100.0 * np.array(runs, dtype=np.float64)


def _stored(pair: Pair) -> dict[str, Any]:
    return {
        "problem": pair.problem,
        "budget": pair.budget,
        "without": list(pair.without),
        "with_prior": list(pair.with_prior),
    }
