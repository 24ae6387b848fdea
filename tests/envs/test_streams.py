"""Random streams: known numbers, both ways of drawing alike, the right distributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from envs.streams import draw, draw_at, integer_at, integers, normal, normal_at, seed_stream, uniform, uniform_at

seeds = st.integers(0, 2**64 - 1)


def test_known_numbers() -> None:
    """The first outputs of SplitMix64 from state 1234567, as published with its reference implementation."""
    streams = np.array([1234567], dtype=np.uint64)
    row = np.array([0])
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(draw(streams, row)[0]) for _ in expected] == expected


@njit
def four_at(streams, row, high):  # type: ignore[no-untyped-def]
    return draw_at(streams, row), uniform_at(streams, row), integer_at(streams, row, high), normal_at(streams, row)


@given(seed=seeds, high=st.integers(1, 10**6))
def test_kernels_draw_the_same_numbers(seed: int, high: int) -> None:
    streams = np.array([0, seed], dtype=np.uint64)
    twin = streams.copy()
    rows = np.array([1])
    ours = (draw(streams, rows), uniform(streams, rows), integers(streams, rows, high), normal(streams, rows))
    bits, number, whole, gauss = four_at(twin, 1, high)
    assert (int(ours[0][0]), ours[1][0], ours[2][0]) == (int(bits), number, whole)
    assert ours[3][0] == pytest.approx(gauss, rel=1e-14, abs=1e-15)
    assert streams.tolist() == twin.tolist()
    assert streams[0] == 0, "other rows stay"


@given(seed=seeds, n=st.integers(1, 40))
def test_rows_do_not_depend_on_the_batch(seed: int, n: int) -> None:
    streams = np.full(n, seed, dtype=np.uint64) + np.arange(n, dtype=np.uint64)
    alone = streams[-1:].copy()
    rows = np.arange(n)
    for _ in range(3):
        assert uniform(streams, rows)[-1] == uniform(alone, np.array([0]))[0]
        assert normal(streams, rows)[-1] == normal(alone, np.array([0]))[0]


def test_distributions() -> None:
    streams = np.arange(50_000, dtype=np.uint64)  # neighbouring states must not give neighbouring numbers
    rows = np.arange(50_000)
    numbers = uniform(streams, rows)
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.02
    assert stats.kstest(normal(streams, rows), "norm").pvalue > 1e-3
    counts = np.bincount(integers(streams, rows, 7), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-3
    highs = np.arange(1, 50_001)
    assert (integers(streams, rows, highs) < highs).all()


def test_streams_start_from_a_numpy_generator() -> None:
    first, again = (seed_stream(np.random.default_rng(3)) for _ in range(2))
    assert first == again != seed_stream(np.random.default_rng(4))
