"""Groups of islands that search by themselves, on any executor; at the end one of them has the laws of all.

Every group has its share of the budget, all niches and random numbers of its own, so that its laws depend on the seed
and its number alone, wherever it is computed. Islands within a group exchange programs, groups do not.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from rl_suite.errors import UserError
from rl_suite.progress import ProgressBar
from rl_suite.run import Run
from rl_suite.sweeps.contract import JobError
from rl_suite.sweeps.executor import make_executor
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.laws.records import read_archive
from rl_suite.symbolic.search import Search

State = Mapping[str, Any]


class Group(NamedTuple):
    """One group that is to search."""

    number: int
    data: Data
    options: Options
    seed: int
    budget: int
    seconds: float | None
    """After which it is taken as it is."""


def groups_of(config: SymbolicConfig, data: Data, options: Options) -> list[Group]:
    """The groups of a configuration; the first one's seed is that of the run."""
    section = config.search
    shares = [section.budget * (k + 1) // section.groups - section.budget * k // section.groups
              for k in range(section.groups)]  # fmt: skip
    seeds = [np.random.SeedSequence([config.seed, k]).generate_state(1)[0] for k in range(1, section.groups)]
    return [
        Group(k, data, options, seed, share, section.time_limit)
        for k, (seed, share) in enumerate(zip([config.seed, *map(int, seeds)], shares, strict=True))
    ]


def explore(group: Group) -> State:
    """Search to the end; the state of the search. The same group gives the same, unless its time is limited."""
    search = Search(group.data, group.options, group.seed, group.budget)
    began = time.monotonic()

    def is_late(search: Search) -> bool:
        late = group.seconds is not None and time.monotonic() - began > group.seconds
        search.reason = "time" if late and not search.done else search.reason
        return late

    search.run(is_late)
    return search.state()


def explore_all(config: SymbolicConfig, groups: Sequence[Group], states: dict[int, State], run: Run) -> bool:
    """Let the groups that have no state yet search, and keep the states in the run; False if a signal came between.

    Raises:
        UserError: the executor cannot be had.
        JobError: a group failed.
    """
    section = config.search
    executor = make_executor(section.executor, section.workers, config.torch_threads)
    left = (group for group in groups if group.number not in states and not run.stop_requested)
    with ProgressBar("groups of islands", len(groups)) as progress:
        progress.update(len(states))
        with closing(executor.run(_numbered, left)) as outcomes:
            for outcome in outcomes:
                if outcome.value is None:
                    raise JobError(outcome.trace) if outcome.trace else UserError(str(outcome.error))
                number, state = outcome.value
                states[number] = state
                spent = sum(each["evaluations"] for each in states.values())
                run.save(spent, {"groups": {str(k): states[k] for k in sorted(states)}})
                progress.update(len(states))
    return len(states) == len(groups)


def _numbered(group: Group) -> tuple[int, State]:
    return group.number, explore(group)


def join(search: Search, states: Mapping[int, State]) -> None:
    """Make ``search`` the group whose law has the least price, with the laws of the others beside its own.

    Groups may have left out other rows as outliers; the laws of all are judged on the rows of that group.
    """
    archives = {k: read_archive(states[k]["archive"], search.output) for k in sorted(states)}
    priced = {k: archive.best.bits for k, archive in archives.items() if archive.best is not None}
    chosen = min(priced, key=lambda k: (priced[k], k)) if priced else min(states)
    search.restore(states[chosen])
    for k, archive in archives.items():
        if k != chosen:
            search.take_in(archive, int(states[k]["evaluations"]))
    search.reason = states[chosen]["reason"]
