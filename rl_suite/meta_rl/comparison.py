"""Rows that a prior is compared with, measured on the same laws, seed by seed, and what they come to."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_rl.pretraining import Pretraining, pretrain
from rl_suite.meta_rl.protocol import (
    GENETIC_POPULATION,
    Trial,
    fresh_trials,
    held_out_trials,
    run_genetic,
    run_policy,
)
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.prior import Prior, Shape

Kind = Literal["context", "no_context", "pooled", "untrained"]
LawSet = Literal["held_out", "fresh"]
SHAPES: dict[Kind, Shape] = {
    "context": Shape(),
    "no_context": Shape(uses_context=False),
    "pooled": Shape(attends=False),
    "untrained": Shape(),
}
TRAINED: tuple[Kind, ...] = ("context", "no_context", "pooled")
STEPS = (0, 1, 3, 5)
RESAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """One way of finding laws: a prior of some kind after adaptation steps, or the search itself."""

    name: str
    kind: Kind | None = None
    steps: int = 0
    shuffled: bool = False
    openings: bool = False


ROWS: tuple[Row, ...] = (
    *(Row(f"sees the task, {k} steps", "context", k) for k in STEPS),
    Row("another task's table", "context", 0, shuffled=True),
    Row("another task's table, 5 steps", "context", 5, shuffled=True),
    *(Row(f"no context, {k} steps", "no_context", k) for k in STEPS),
    Row("means instead of attention", "pooled"),
    *(Row(f"from scratch, {k} steps", "untrained", k) for k in (0, 5)),
    Row("genetic search"),
    Row("openings of the search alone", openings=True),
)


@dataclass(frozen=True)
class Outcome:
    """One row on one law with one seed."""

    row: str
    seed: int
    laws: LawSet
    law: str
    family: str
    monomial: bool
    budget: int
    solved_at: int  # programs; 0: not within the budget


def prior_path(folder: Path, kind: Kind, seed: int) -> Path:
    """Where the prior of a kind and a seed lies."""
    return folder / f"{kind}-{seed}.safetensors"


def train_prior(folder: Path, kind: Kind, seed: int, settings: Pretraining) -> Path:
    """Train one prior, unless it is there."""
    path = prior_path(folder, kind, seed)
    if not path.is_file():
        torch.set_num_threads(1)
        pretrain(SHAPES[kind], settings, seed).save(path)
    return path


def load_prior(folder: Path, kind: Kind, seed: int) -> Prior:
    """The prior of a kind and a seed; one that was not trained has fresh weights."""
    if kind == "untrained":
        torch.manual_seed(seed)
        return Prior(SHAPES[kind].build(), SHAPES[kind])
    return Prior.load(prior_path(folder, kind, seed))


def laws_of(laws: LawSet, seed: int) -> list[Trial]:
    """The laws of a set with the tables of a seed."""
    return held_out_trials(0, seed) if laws == "held_out" else fresh_trials(seed)


def measure(
    row: Row, folder: Path, laws: LawSet, seed: int, budget: int, share: tuple[int, int] = (0, 1)
) -> list[Outcome]:
    """One row on every law of a set, or on part ``share[0]`` of ``share[1]`` of them."""
    torch.set_num_threads(1)
    every = laws_of(laws, seed)
    prior = None if row.kind is None else load_prior(folder, row.kind, seed)
    found = []
    for i, trial in enumerate(every):
        if i % share[1] != share[0]:
            continue
        if prior is not None:
            found.append(measure_policy(prior, row, laws, every, i, seed, budget))
            continue
        if row.openings:  # no breeding: the budget ends with the openings
            solved = run_genetic(trial, 1, seed, Options(population=GENETIC_POPULATION, stop_at_noise=False))
        else:
            solved = run_genetic(trial, budget, seed)
        found.append(outcome_of(row, laws, trial, seed, budget, solved))
    return found


def measure_policy(
    prior: Prior, row: Row, laws: LawSet, every: Sequence[Trial], i: int, seed: int, budget: int
) -> Outcome:
    """A prior on law number i of a set."""
    shown = every[donor_of(every, i, seed)] if row.shuffled else None
    solved = run_policy(prior.policy, every[i], budget, row.steps, seed, shown)
    return outcome_of(row, laws, every[i], seed, budget, solved)


def outcome_of(row: Row, laws: LawSet, trial: Trial, seed: int, budget: int, solved: int) -> Outcome:
    """What is kept of one measurement."""
    return Outcome(row.name, seed, laws, trial.name, trial.family, trial.monomial, budget, solved)


def donor_of(every: Sequence[Trial], i: int, seed: int) -> int:
    """Whose table is shown instead: that of another form with as many columns, or nearly so."""
    tie = np.random.default_rng([seed, i]).random(len(every))
    own = every[i].X.shape[1]
    return min((abs(o.X.shape[1] - own), tie[j], j) for j, o in enumerate(every) if j != i)[2]


Job = tuple[Row, Path, LawSet, int, int, tuple[int, int]]


def measure_all(jobs: Sequence[Job], workers: int, keep: Callable[[list[Outcome]], None]) -> list[Outcome]:
    """All jobs, some at a time, each in a process with one thread; ``keep`` is told of all that is measured so far."""
    found: list[Outcome] = []
    if workers == 1:
        for job in jobs:
            found += measure(*job)
            keep(found)
        return found
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(measure, *job) for job in jobs]):
            found += future.result()
            keep(found)
    return sorted(found, key=lambda o: (o.row, o.laws, o.seed, o.law))


def train_all(folder: Path, seeds: Sequence[int], settings: Pretraining, workers: int, kinds: Sequence[Kind]) -> None:
    """The priors of all kinds and seeds that are missing, some at a time, each in a process with one thread."""
    jobs = [(folder, kind, seed, settings) for kind in kinds for seed in seeds]
    if workers == 1:
        for job in jobs:
            train_prior(*job)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train_prior, *job) for job in jobs]):
            future.result()


def solved_share(outcomes: Sequence[Outcome], n: int, minus: Sequence[Outcome] = ()) -> Interval:
    """Per cent of laws solved within n programs, by bootstrap over families; ``minus``: points above another row."""
    table = _by_family(outcomes, n)
    other = _by_family(minus, n) if minus else {}
    names = list(table)
    gain = [
        [100.0 * (a - b) for a, b in zip(table[f], other.get(f, [0.0] * len(table[f])), strict=True)] for f in names
    ]
    sums = np.array([sum(g) for g in gain])
    counts = np.array([len(g) for g in gain])
    draws = np.random.default_rng(0).integers(0, len(names), (RESAMPLES, len(names)))
    shares = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def _by_family(outcomes: Sequence[Outcome], n: int) -> dict[str, list[float]]:
    table: dict[str, list[float]] = {}
    for o in sorted(outcomes, key=lambda o: (o.family, o.law, o.seed)):
        table.setdefault(o.family, []).append(float(0 < o.solved_at <= n))
    return table


def median_programs(outcomes: Sequence[Outcome]) -> float:
    """Median programs to the first solution over laws and seeds; infinite where half are not solved."""
    needed = np.array([o.solved_at if o.solved_at else np.inf for o in outcomes])
    return float(np.sort(needed)[(len(needed) - 1) // 2])


def records(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """As plain values, for JSON."""
    return [asdict(o) for o in outcomes]
