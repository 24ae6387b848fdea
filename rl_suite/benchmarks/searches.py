"""Benchmarks that repeat a search on many seeds: their two arguments, and their searches in processes."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

from rl_suite.progress import ProgressBar
from rl_suite.sweeps.contract import JobError
from rl_suite.sweeps.executor import run_jobs

Item = TypeVar("Item")
Value = TypeVar("Value")


def parse(words: Sequence[str], name: str, seeds: int, what: str) -> argparse.Namespace:
    """Read ``--seeds`` and ``--jobs``.

    Args:
        words: the arguments.
        name: of the benchmark.
        seeds: how many by default; at least 2 are needed for an interval.
        what: is repeated on each of them.
    """
    parser = argparse.ArgumentParser(prog=f"python -m rl_suite.benchmarks {name}")
    parser.add_argument("--seeds", type=int, default=seeds, help=what)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parsed = parser.parse_args(list(words))
    if parsed.seeds < 2 or parsed.jobs < 1:
        parser.error("--seeds must be at least 2 and --jobs at least 1")
    return parsed


def measure(function: Callable[[Item], Value], items: Sequence[Item], jobs: int, what: str = "searches") -> list[Value]:
    """``function`` of every item, in their order, with a progress bar; the first failure ends it.

    Raises:
        JobError: it failed for an item.
    """
    values: dict[int, Value] = {}
    executor, workers = ("serial", None) if jobs == 1 else ("processes", jobs)
    with ProgressBar(what, len(items)) as progress, closing(run_jobs(function, items, executor, workers)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise JobError(f"{items[outcome.index]}: {outcome.error}\n{outcome.trace}")
            values[outcome.index] = outcome.value  # type: ignore[assignment]  # None where the function returns it
            progress.update(len(values))
    return [values[index] for index in range(len(items))]
