"""Rows that a prior is compared with, measured on the same laws, seed by seed, and what they come to."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from rl_suite.evaluation.statistics import Interval, cluster_bootstrap
from rl_suite.meta_rl.pretraining import Pretraining, pretrain
from rl_suite.meta_rl.protocol import (
    GENETIC_POPULATION,
    Trial,
    fresh_trials,
    held_out_trials,
    run_genetic,
    run_policy,
    run_together,
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


@dataclass(frozen=True)
class Row:
    """One way of finding laws: a prior of some kind after adaptation steps, or the search itself."""

    name: str
    kind: Kind | None = None
    steps: int = 0
    shuffled: bool = False
    openings: bool = False
    priors: int = 1
    """How many agree on one list: that of the seed, and those after it."""
    parts: int = 0
    """Contexts of some of the table's rows that are averaged over, beside that of the whole."""
    views: bool = False
    """Whether the table is seen through many targets."""
    guided: int = 0
    """Programs of a prior that the genetic search is begun with."""


ROWS: tuple[Row, ...] = (
    *(Row(f"sees the task, {k} steps", "context", k) for k in STEPS),
    Row("another task's table", "context", 0, shuffled=True),
    Row("another task's table, 5 steps", "context", 5, shuffled=True),
    *(Row(f"no context, {k} steps", "no_context", k) for k in STEPS),
    Row("means instead of attention", "pooled"),
    *(Row(f"from scratch, {k} steps", "untrained", k) for k in (0, 5)),
    Row("sees the task through many targets", "context", views=True),
    *(Row(f"many targets, {k} steps", "context", k, views=True) for k in STEPS[1:]),
    Row("another task's table, many targets", "context", shuffled=True, views=True),
    Row("another task's table, many targets, 5 steps", "context", 5, shuffled=True, views=True),
    Row("no context, many targets", "no_context", views=True),
    Row("from scratch, many targets", "untrained", views=True),
    Row("two priors agree", "context", priors=2),
    Row("eight parts of the table", "context", parts=8),
    Row("genetic search"),
    Row("prior, then genetic search", "context", guided=300),
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
    mates = [] if row.kind is None else [load_prior(folder, row.kind, s) for s in mates_of(folder, row, seed)]
    found = []
    for i, trial in enumerate(every):
        if i % share[1] != share[0]:
            continue
        if row.guided and row.kind is not None:
            solved = run_genetic(trial, budget, seed, guided_options(prior_path(folder, row.kind, seed), row.guided))
        elif prior is not None:
            found.append(measure_policy(prior, row, laws, every, i, seed, budget, mates))
            continue
        elif row.openings:  # no breeding: the budget ends with the openings
            solved = run_genetic(
                trial, 1, seed, Options(population=GENETIC_POPULATION, stop_at_noise=False, prior=None)
            )
        else:
            solved = run_genetic(trial, budget, seed)
        found.append(outcome_of(row, laws, trial, seed, budget, solved))
    return found


def measure_policy(
    prior: Prior,
    row: Row,
    laws: LawSet,
    every: Sequence[Trial],
    i: int,
    seed: int,
    budget: int,
    mates: Sequence[Prior] = (),
) -> Outcome:
    """A prior, with others if they have to agree, on law number i of a set."""
    if row.priors > 1 or row.parts:
        members = [each.policy for each in (prior, *mates)]
        solved = run_together(members, every[i], budget, seed, row.parts)
    else:
        shown = every[donor_of(every, i, seed)] if row.shuffled else None
        solved = run_policy(prior.policy, every[i], budget, row.steps, seed, shown, row.views)
    return outcome_of(row, laws, every[i], seed, budget, solved)


def mates_of(folder: Path, row: Row, seed: int) -> list[int]:
    """Seeds of the priors that the one of ``seed`` has to agree with: those that follow, and then from the first."""
    there = sorted(int(p.stem.rpartition("-")[2]) for p in folder.glob(f"{row.kind}-*.safetensors"))
    later = [s for s in there if s > seed] + [s for s in there if s < seed]
    return later[: row.priors - 1]


def guided_options(prior: Path, proposals: int) -> Options:
    """The genetic search of the other rows, with a prior's programs before the first generation."""
    return Options(
        population=GENETIC_POPULATION, polynomials=False, stop_at_noise=False, prior=prior, proposals=proposals
    )


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
    table, other = _by_family(outcomes, n), _by_family(minus, n) if minus else {}
    gains = [
        (100.0 * (a - b), family)
        for family, solved in table.items()
        for a, b in zip(solved, other.get(family, [0.0] * len(solved)), strict=True)
    ]
    values, families = zip(*gains, strict=True)
    return cluster_bootstrap(values, families, seed=0)


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
