"""Architecture search on tables of measured architectures: regret of each algorithm after 150 evaluations."""

import argparse
from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from rl_suite.benchmarks import searches
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.meta_learning.metrics import TaskScores, compare, mean_interval
from rl_suite.meta_learning.tuning.architecture import ALGORITHMS, NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.tabular import DATASETS, ArchitectureTable, load_architecture_table

SUMMARY = "architecture search: validation regret in points on Cora and Proteins, against random search"
BUDGET = 150
MARKS = (25, 50, 100, 150)
PROMISED = {"cora": 0.60, "proteins": 0.06}  # of the surrogate, mean regret in points
QUICK_SEEDS, QUICK_BUDGET = 2, 20


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    return searches.parse(words, "nas", 200, "searches per algorithm and table")


def run(options: Options) -> BenchmarkResult:
    """Search with every algorithm and seed on both tables."""
    given = parse(options.extra)
    seeds, budget = (QUICK_SEEDS, QUICK_BUDGET) if options.quick else (given.seeds, BUDGET)
    work = [(table, algorithm, seed) for table in DATASETS for algorithm in ALGORITHMS for seed in range(seeds)]
    found = searches.measure(partial(regrets, budget=budget), work, given.jobs)
    curves = np.array(found).reshape(len(DATASETS), len(ALGORITHMS), seeds, budget)
    rows, trials = [], []
    for table, by_algorithm in zip(DATASETS, curves, strict=True):
        scores = {
            name: TaskScores.of(values[:, -1], False) for name, values in zip(ALGORITHMS, by_algorithm, strict=True)
        }
        for name, values in zip(ALGORITHMS, by_algorithm, strict=True):
            ours, random = scores[name].interval.estimate, scores["random"].interval.estimate
            if name != "random":
                rows.append(Row(f"{table}: {name}", ours, random, "points", "random", False))
            trial = {"table": table, "algorithm": name, "seeds": seeds, "evaluations": budget}
            trial |= {f"regret_{key}": value for key, value in scores[name].interval._asdict().items()}
            gap = compare(scores["random"], scores[name]).difference
            trial |= {f"random_minus_{key}": value for key, value in gap._asdict().items()}
            for mark in (mark for mark in MARKS if mark <= budget):
                found_then = mean_interval(values[:, mark - 1])
                trial |= {f"after_{mark}": found_then.estimate}
                trial |= {f"after_{mark}_low": found_then.low, f"after_{mark}_high": found_then.high}
            trials.append(trial)
        if not options.quick:
            found_by = scores["bayesian"].interval.estimate
            rows.append(Row(f"{table}: bayesian", found_by, PROMISED[table], "points", "promised", False, 1.0))
    notes = (
        f"mean regret after {budget} evaluations, {seeds} seeds: best validation accuracy there is minus best found",
        "tables: NAS-Bench-Graph (Qin et al. 2022); every algorithm draws and changes within the table",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


@cache
def read_table(name: str) -> ArchitectureTable:
    """Once per process."""
    return load_architecture_table(name)


def regrets(item: tuple[str, str, int], budget: int) -> list[float]:
    """Regret after each evaluation of one search."""
    name, algorithm, seed = item
    table = read_table(name)
    search = NeuralArchitectureSearch(table.space, algorithm, random_state=seed)
    search.search_architecture(table.evaluate, budget)
    return [table.regret(value) for value in search.best_so_far()]
