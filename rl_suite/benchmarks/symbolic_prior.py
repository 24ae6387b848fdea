"""Is a learned prior worth having in a search? The same search with and without it, on every benchmark set.

A run goes on to the largest budget and notes when its best law changed; a law counts as recovered within n programs
if the best law after the first n is. The prior's proposals are the first programs of its runs.
"""

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
from rl_suite.benchmarks.symbolic import training_data
from rl_suite.evaluation.statistics import Scores, cluster_bootstrap, mean
from rl_suite.progress import ProgressBar
from rl_suite.symbolic.data import SHIPPED, Data
from rl_suite.symbolic.data import Options as SearchOptions
from rl_suite.symbolic.findings import findings_of
from rl_suite.symbolic.laws.judge import judge
from rl_suite.symbolic.laws.pieces import Piece
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.prior import Prior
from rl_suite.symbolic.search import Search

SUMMARY = "symbolic search with a learned prior against the same search without, at equal evaluations"
BUDGETS, SEEDS = (100, 1_000, 10_000), 3
QUICK_PROBLEMS, QUICK_BUDGETS = 2, (200,)


SURELY_WRONG = 1e-6  # share of the variance on the table itself: such a law of data without noise needs no judge


@dataclass(frozen=True)
class Pair:
    """One problem with one budget, without and with the prior; a list entry per seed."""

    problem: str
    budget: int
    without: tuple[bool, ...]
    with_prior: tuple[bool, ...]


class Traced(Search):
    """A search that notes its best law whenever it changes, and after how many programs."""

    def __init__(self, data: Data, options: SearchOptions, seed: int, budget: int):
        self.changes: list[tuple[int, Finished]] = []
        super().__init__(data, options, seed, budget)

    def offer(self, pieces: Sequence[Piece]) -> bool:
        """As in the plain search; what changed is noted."""
        changed = super().offer(pieces)
        if changed and self.archive.best is not None:
            self.changes.append((self.evaluations, self.archive.best))
        return changed

    def best_within(self, n: int) -> Finished | None:
        """The best law after the first n programs."""
        known = [law for evaluations, law in self.changes if evaluations <= n]
        return known[-1] if known else None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks symbolic_prior", description=__doc__)
    parser.add_argument("--prior", type=Path, default=Path(SHIPPED), help="file of the prior, or shipped")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs per problem each way")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    parser.add_argument("--proposals", type=int, default=SearchOptions.proposals, help="forms that the prior proposes")
    parser.add_argument("--every", type=int, default=1, help="every n-th problem only")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parsed = parser.parse_args(list(arguments))
    if parsed.seeds < 2 or min(parsed.jobs, parsed.every, parsed.proposals, *parsed.budgets) < 1:
        parser.error("--seeds must be at least 2 (one run has no interval), the other numbers at least 1")
    return parsed


def compare(
    problem: Problem, budgets: Sequence[int], seeds: int, prior: Path, first: int, proposals: int
) -> list[Pair]:
    """Both ways on one problem."""
    torch.set_num_threads(1)
    without, with_prior = (
        [
            recovered_within(problem, first + seed, budgets, SearchOptions(prior=given, proposals=proposals))
            for seed in range(seeds)
        ]
        for given in (None, prior)
    )
    return [
        Pair(problem.name, budget, tuple(r[i] for r in without), tuple(r[i] for r in with_prior))
        for i, budget in enumerate(budgets)
    ]


def recovered_within(problem: Problem, seed: int, budgets: Sequence[int], options: SearchOptions) -> list[bool]:
    """Whether the best law is the right one after each number of programs."""
    X, y = training_data(problem, seed, 0.0)
    search = Traced(Data(X, y, problem.variables), options, seed, max(budgets))
    search.run()
    verdicts: dict[int, bool] = {}
    found = []
    for budget in budgets:
        best = search.best_within(budget)
        if best is None or best.nmse > SURELY_WRONG:
            found.append(False)
            continue
        if id(best) not in verdicts:
            law = findings_of([best], search.given, search.scaling, options.constraints).chosen.law
            verdicts[id(best)] = judge(law, problem, 0.0, seed).recovered
        found.append(verdicts[id(best)])
    return found


def run(options: Options) -> BenchmarkResult:
    """Shares of the laws that are recovered within each budget, both ways."""
    a = parse(options.extra)
    Prior.load(a.prior)  # what is wrong with it is said before anything is searched
    chosen = [p for group in a.sets for p in problems(group)][:: a.every]
    budgets = a.budgets
    if options.quick:
        chosen, budgets = chosen[:QUICK_PROBLEMS], QUICK_BUDGETS
    one = partial(compare, budgets=budgets, seeds=a.seeds, prior=a.prior, first=options.seed, proposals=a.proposals)
    if a.jobs == 1:
        with ProgressBar("problems", len(chosen)) as progress:
            pairs = []
            for i, problem in enumerate(chosen):
                pairs += one(problem)
                progress.update(i + 1)
    else:
        with ProcessPoolExecutor(a.jobs, mp_context=get_context("spawn")) as pool:
            pairs = [pair for found in pool.map(one, chosen) for pair in found]
    return summary(pairs)


def summary(pairs: Sequence[Pair]) -> BenchmarkResult:
    """A row and an interval of the gain for each budget."""
    rows, notes = [], []
    for budget in dict.fromkeys(p.budget for p in pairs):
        own = [p for p in pairs if p.budget == budget]
        with_prior, without = _table([p.with_prior for p in own]), _table([p.without for p in own])
        names = [p.problem for p in own for _ in p.without]
        gain = cluster_bootstrap(with_prior - without, names, seed=0)
        rows.append(Row(f"recovered, {budget} programs", mean(with_prior), mean(without), "%", "no prior"))
        differ = [f"{p.problem} {sum(p.with_prior)}:{sum(p.without)}" for p in own if p.with_prior != p.without]
        notes.append(f"points that the prior adds at {budget} programs, 95 % over problems: {gain}")
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
