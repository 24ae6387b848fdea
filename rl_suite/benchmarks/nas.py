"""Architecture search on tables of measured architectures: regret of each algorithm after 150 evaluations."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.meta_learning.metrics import TaskScores, compare, mean_interval
from rl_suite.meta_learning.tuning.architecture import ALGORITHMS, NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.tabular import DATASETS, load_architecture_table
from rl_suite.progress import ProgressBar

SUMMARY = "architecture search: validation regret in points on Cora and Proteins, against random search"
BUDGET = 150
MARKS = (25, 50, 100, 150)
PROMISED = {"cora": 0.60, "proteins": 0.06}  # of the surrogate, mean regret in points
QUICK_SEEDS, QUICK_BUDGET = 2, 20


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks nas")
    parser.add_argument("--seeds", type=int, default=200, help="searches per algorithm and table")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parsed = parser.parse_args(list(words))
    if parsed.seeds < 2 or parsed.jobs < 1:
        parser.error("--seeds must be at least 2 and --jobs at least 1")
    return parsed


def run(options: Options) -> BenchmarkResult:
    """Search with every algorithm and seed on both tables."""
    given = parse(options.extra)
    seeds, budget = (QUICK_SEEDS, QUICK_BUDGET) if options.quick else (given.seeds, BUDGET)
    work = [(table, algorithm, seed) for table in DATASETS for algorithm in ALGORITHMS for seed in range(seeds)]
    search = partial(regrets, budget=budget)
    found = []
    with ProgressBar("searches", len(work)) as progress:
        if given.jobs == 1:
            for item in work:
                found.append(search(item))
                progress.update(len(found))
        else:
            with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
                for curve in pool.map(search, work, chunksize=1):
                    found.append(curve)
                    progress.update(len(found))
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
            marks = {f"after_{mark}": mean_interval(values[:, mark - 1]).estimate for mark in MARKS if mark <= budget}
            trials.append({**trial, **marks})
        if not options.quick:
            found_by = scores["bayesian"].interval.estimate
            rows.append(Row(f"{table}: bayesian", found_by, PROMISED[table], "points", "promised", False, 1.0))
    notes = (
        f"mean regret after {budget} evaluations, {seeds} seeds: best validation accuracy there is minus best found",
        "tables: NAS-Bench-Graph (Qin et al. 2022); every algorithm draws and changes within the table",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def regrets(item: tuple[str, str, int], budget: int) -> list[float]:
    """Regret after each evaluation of one search."""
    name, algorithm, seed = item
    table = load_architecture_table(name)
    search = NeuralArchitectureSearch(table.space, algorithm, random_state=seed)
    search.search_architecture(table.evaluate, budget)
    return [table.regret(value) for value in search.best_so_far()]
