"""Random input on one surface: every case is played or refused in a line, within limits of time and memory.

A surface is a strategy of cases, what is done with one, and the errors that count as "refused". Anything else that is
raised is a fault: Hypothesis shrinks its case and prints it. ``FUZZ_CASES`` says how many cases each surface gets.
"""

import os
import resource
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

CASES = int(os.environ.get("FUZZ_CASES", "12"))
CPU_SECONDS, SECONDS = 10.0, 300.0  # of one case: of computing, and on the clock of a machine that may be busy
COMPILING = 150.0  # CPU seconds that kernels may take to be compiled
MEMORY = 2 * 2**30  # bytes that one case may take beyond what the process has
LONGEST = 2500  # characters of a message
PAGE = resource.getpagesize()


class Surface(NamedTuple):
    """One face of the suite that takes what others wrote."""

    name: str
    cases: st.SearchStrategy[Any]
    play: Callable[[Any], object]
    plain: Any
    """A case that must be played; it also compiles and loads what is then not counted against a case."""
    refuses: tuple[type[Exception], ...] = (ValueError,)


class OverLimitError(Exception):
    """A case took too long; never one of what a surface may refuse with."""


def as_test(surface: Surface) -> tuple[Callable[[], None], Counter[str]]:
    """A test of Hypothesis that plays ``CASES`` cases, and how many were played and refused so far."""
    count: Counter[str] = Counter()

    @settings(max_examples=CASES, suppress_health_check=list(HealthCheck))
    @given(surface.cases)
    def one(case: Any) -> None:
        with warnings.catch_warnings(action="ignore"):
            try:
                play_within_limits(surface.play, case)
            except surface.refuses as error:
                count["refused"] += 1
                require_said(error)
            else:
                count["played"] += 1

    return one, count


def play_within_limits(play: Callable[[Any], object], case: Any) -> None:
    """Play a case; one that took too long is played again, since kernels that it compiled are not held against it."""
    try:
        with limits():
            play(case)
    except OverLimitError:
        with limits(COMPILING):
            play(case)
        with limits():
            play(case)


def fuzz(surface: Surface) -> None:
    """Play cases; some must be played and some be refused, or the cases are no test of the surface."""
    surface.play(surface.plain)
    one, count = as_test(surface)
    one()
    print(f"{surface.name}: {count['played']} cases played, {count['refused']} refused, no fault", flush=True)
    assert CASES < 100 or min(count["played"], count["refused"]) > CASES / 100, "cases too tame or too wild"


def require_said(error: Exception) -> None:
    """A refusal says something, and no more than can be read; pydantic's own errors have a line for every field."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} without a word"
    assert isinstance(error, ValidationError) or len(text) < LONGEST, f"{len(text)} characters"


@contextmanager
def limits(seconds: float | None = None) -> Iterator[None]:
    """An error where a case computes or waits for too long, or asks for more memory than it may have."""

    def give_up(number: int, frame: object) -> None:
        raise OverLimitError("too long")

    before = {number: signal.signal(number, give_up) for number in (signal.SIGALRM, signal.SIGPROF)}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS if seconds is None else seconds)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before.items():
            signal.signal(number, handler)


# What nobody expects, as plain values.
numbers = (
    st.integers(-3, 300)
    | st.integers()
    | st.sampled_from([2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64, 10**400])
    | st.floats()
)
texts = st.text(max_size=12) | st.sampled_from(
    ["", " ", "\0", "\x1b[2J", "\ud800", "[/red]", "../..", "null", "~", "1e999", "9" * 400, "x" * 3000, "é" * 40, "{}"]
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
dtypes = st.sampled_from(["float32", "float64", "int8", "uint8", "int16", "int64", "bool", "float16", "uint64"])


def any_array(most_axes: int = 4, longest: int = 5) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any type, shape (empty ones too) and content."""
    shapes = arrays.array_shapes(min_dims=0, max_dims=most_axes, min_side=0, max_side=longest)
    return dtypes.flatmap(lambda dtype: arrays.arrays(dtype, shapes))


odd_arrays = any_array() | st.sampled_from(
    [np.array("text"), np.array([None, 1], dtype=object), np.array([1j]), np.array(["1"]), np.zeros((3, 0, 2))]
)


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any] = values) -> st.SearchStrategy[Any]:
    """Three of four times what is expected, so that a case with several parts reaches beyond the first check."""
    return st.integers(0, 3).flatmap(lambda which: odd if which == 3 else good)
