"""Bayesian optimisation of two known functions against optuna's own samplers and random search, same seeds."""

import argparse
import time
import warnings
from collections.abc import Sequence
from functools import partial

import numpy as np
import optuna

from rl_suite.benchmarks import searches
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.meta_learning.metrics import TaskScores, compare
from rl_suite.meta_learning.tuning.bayesian import BayesianOptimizer
from rl_suite.meta_learning.tuning.ranges import Params

SUMMARY = "Bayesian optimisation: regret on Branin and Hartmann-6 against optuna's TPE, its Gaussian process and random"
BUDGET = 60
OURS = ("ours (ei)", "ours (ucb)", "ours (pi)")
PEERS = ("optuna GP", "optuna TPE", "random")
FUNCTIONS = ("branin", "hartmann6")
PROMISED_BRANIN = 0.010  # median regret
OBSERVATIONS = {200: 0.3, 500: 1.0}  # -> promised seconds per suggestion
SUGGESTIONS = 5  # timed at each number of observations

# Hartmann-6 (Dixon and Szego 1978): minimum -3.32237
ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def branin(p: Params) -> float:
    """Branin's function minus its minimum."""
    x, y = p["x0"], p["x1"]
    valley = (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2
    return float(valley + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10 - 0.39788735772973816)


def hartmann6(p: Params) -> float:
    """The six-dimensional Hartmann function minus its minimum."""
    x = np.array([p[f"x{i}"] for i in range(6)])
    return float(3.322368011415515 - ALPHA @ np.exp(-(A * (x - P) ** 2).sum(1)))


def space_of(function: str) -> dict[str, tuple[float, float]]:
    """Bounds of a function's arguments."""
    return {"x0": (-5.0, 10.0), "x1": (0.0, 15.0)} if function == "branin" else {f"x{i}": (0.0, 1.0) for i in range(6)}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    return searches.parse(words, "bayesian", 30, "searches per method and function")


def run(options: Options) -> BenchmarkResult:
    """Search, compare, and time suggestions."""
    given = parse(options.extra)
    seeds, budget = (2, 12) if options.quick else (given.seeds, BUDGET)
    methods = (*OURS, *PEERS)
    work = [(function, method, seed) for function in FUNCTIONS for method in methods for seed in range(seeds)]
    regrets = searches.measure(partial(search, budget=budget), work, given.jobs)
    found = np.array(regrets).reshape(len(FUNCTIONS), len(methods), seeds)
    rows, trials = [], []
    for function, table in zip(FUNCTIONS, found, strict=True):
        scores = dict(zip(methods, table, strict=True))
        medians = {name: float(np.median(values)) for name, values in scores.items()}
        peer = min(PEERS, key=medians.__getitem__)
        rows.append(Row(f"{function}: median regret", medians[OURS[0]], medians[peer], "", peer, False))
        for name, values in scores.items():
            gap = compare(TaskScores.of(values, False), TaskScores.of(scores[peer], False))
            difference = {f"minus_{peer}_{key}": value for key, value in gap.difference._asdict().items()}
            quartiles = dict(
                zip(("q25", "median", "q75"), np.quantile(values, (0.25, 0.5, 0.75)).tolist(), strict=True)
            )
            trials.append({"function": function, "method": name, "seeds": seeds, **quartiles, **difference})
        if function == "branin" and not options.quick:
            rows.append(Row("branin: median regret", medians[OURS[0]], PROMISED_BRANIN, "", "promised", False, 1.0))
    for observations, promised in () if options.quick else OBSERVATIONS.items():
        cost = seconds_per_suggestion(observations)
        rows.append(
            Row(f"a suggestion at {observations} observations", cost, promised, "CPU s", "promised", False, 1.0)
        )
    notes = (f"after {budget} evaluations, 10 of them random, {seeds} seeds; ratio above 1: ours has less regret",)
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def search(item: tuple[str, str, int], budget: int) -> float:
    """Regret at the end of one search."""
    function, method, seed = item
    evaluate = {"branin": branin, "hartmann6": hartmann6}[function]
    if method in OURS:
        kind = {"ours (ei)": "ei", "ours (ucb)": "ucb", "ours (pi)": "pi"}[method]
        search = BayesianOptimizer(space_of(function), kind, maximize=False, random_state=seed)  # type: ignore[arg-type]
        return search.optimize(evaluate, budget)[1]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samplers = {
            "optuna GP": optuna.samplers.GPSampler,
            "optuna TPE": optuna.samplers.TPESampler,
            "random": optuna.samplers.RandomSampler,
        }
        study = optuna.create_study(sampler=samplers[method](seed=seed))
        bounds = space_of(function)
        study.optimize(
            lambda t: evaluate({name: t.suggest_float(name, *ends) for name, ends in bounds.items()}), budget
        )
    return float(study.best_value)


def seconds_per_suggestion(observations: int) -> float:
    """Median CPU seconds of a suggestion for Hartmann-6 after so many observations."""
    space = space_of("hartmann6")
    optimizer = BayesianOptimizer(space, maximize=False)
    rng = np.random.default_rng(0)
    for _ in range(observations):
        point = {name: float(rng.uniform(*ends)) for name, ends in space.items()}
        optimizer.tell(point, hartmann6(point))
    costs = []
    for _ in range(SUGGESTIONS):
        began = time.process_time()
        point = optimizer.suggest_next_point()
        costs.append(time.process_time() - began)
        optimizer.tell(point, hartmann6(point))
    return float(np.median(costs))
