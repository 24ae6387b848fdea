"""Counter-based random streams: one 64-bit word of state per environment of a batch.

A batch of B environments needs B independent random sequences that do not depend on B, cost nothing
to create and live in an array that can be saved. SplitMix64 (Steele, Lea, Flood 2014, "Fast
splittable pseudorandom number generators") is such a generator: add a constant, then mix the bits.

The functions without a suffix draw one number for each of many rows with numpy. Those ending in
``_at`` draw for one row inside a numba kernel. Both advance the same state and give the same numbers.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel

Streams = NDArray[np.uint64]  # (B,) one state per environment
Rows = NDArray[np.int64]  # (n,) distinct rows of a batch

INCREMENT = np.uint64(0x9E3779B97F4A7C15)
FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
FACTOR_2 = np.uint64(0x94D049BB133111EB)
SHIFT_30, SHIFT_27, SHIFT_31, SHIFT_11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
TWO_TO_MINUS_53 = 2.0**-53


def seed_stream(rng: np.random.Generator) -> np.uint64:
    """Draw the start of one stream from a numpy generator, so that all randomness has one root."""
    return rng.integers(0, 2**64, dtype=np.uint64)


def draw(streams: Streams, rows: Rows) -> NDArray[np.uint64]:
    """Advance ``streams[rows]`` and return 64 random bits for each row; shape (n,)."""
    z = streams[rows] + INCREMENT
    streams[rows] = z
    z = (z ^ (z >> SHIFT_30)) * FACTOR_1
    z = (z ^ (z >> SHIFT_27)) * FACTOR_2
    return z ^ (z >> SHIFT_31)


def uniform(streams: Streams, rows: Rows) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), one per row; shape (n,)."""
    return (draw(streams, rows) >> SHIFT_11).astype(np.float64) * TWO_TO_MINUS_53


def uniform_of_seeds(seeds: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) that depend on each seed alone, such as a task's number: (n, columns)."""
    streams: Streams = seeds.astype(np.uint64)  # a seed is the start of a random stream of its own
    everybody = np.arange(len(seeds))
    return np.stack([uniform(streams, everybody) for _ in range(columns)], axis=1)


def integers(streams: Streams, rows: Rows, high: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Uniform integers in [0, high), one per row; the bias is below ``high * 2**-53``."""
    return np.floor(uniform(streams, rows) * high).astype(np.int64)


def normal(streams: Streams, rows: Rows) -> NDArray[np.float64]:
    """Standard normal numbers, one per row (Box and Muller 1958; two uniform draws each)."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(streams, rows)))
    return radius * np.cos(2.0 * math.pi * uniform(streams, rows))


@kernel()
def draw_at(streams: Streams, row: int) -> np.uint64:
    """Advance one stream inside a kernel and return 64 random bits."""
    z = streams[row] + INCREMENT
    streams[row] = z
    z = (z ^ (z >> SHIFT_30)) * FACTOR_1
    z = (z ^ (z >> SHIFT_27)) * FACTOR_2
    mixed: np.uint64 = z ^ (z >> SHIFT_31)
    return mixed


@kernel()
def uniform_at(streams: Streams, row: int) -> float:
    """One uniform number in [0, 1) inside a kernel."""
    return (draw_at(streams, row) >> SHIFT_11) * TWO_TO_MINUS_53


@kernel()
def integer_at(streams: Streams, row: int, high: int) -> int:
    """One uniform integer in [0, high) inside a kernel."""
    return int(uniform_at(streams, row) * high)


@kernel()
def normal_at(streams: Streams, row: int) -> float:
    """One standard normal number inside a kernel."""
    radius = math.sqrt(-2.0 * math.log1p(-uniform_at(streams, row)))
    return radius * math.cos(2.0 * math.pi * uniform_at(streams, row))
