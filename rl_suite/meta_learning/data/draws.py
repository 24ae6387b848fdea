"""Random numbers that belong to an index: draw i is the same on every machine, in any batch and in any worker.

They are counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): number (index, slot) of a
seed is a hash of the three, so nothing has to be drawn before it. The hash is the finaliser of SplitMix64 (Steele et
al. 2014), integer arithmetic only.
"""

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

INDEX_STEP, SLOT_STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)  # odd: every counter differs
MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
LAST_SHIFT = np.uint64(31)
FRACTION_BITS, FRACTION_UNIT = np.uint64(40), 2.0**-24  # 24 bits: every fraction is a float32
HALF_BITS = np.uint64(32)


def _scramble(bits: Bits) -> Bits:
    for shift, factor in MIX:
        bits = (bits ^ (bits >> shift)) * factor
    return bits ^ (bits >> LAST_SHIFT)


def random_bits(seed: int, indices: NDArray[np.int64], slots: int) -> Bits:
    """64 random bits for each (index, slot); shape (*indices.shape, slots)."""
    start = _scramble(np.array([seed], dtype=np.uint64) + INDEX_STEP)
    rows = _scramble(start + indices.astype(np.uint64) * INDEX_STEP)[..., None]
    return _scramble(rows + np.arange(1, slots + 1, dtype=np.uint64) * SLOT_STEP)


def fractions(bits: Bits) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1)."""
    return ((bits >> FRACTION_BITS) * FRACTION_UNIT).astype(np.float32)


def below(bits: Bits, limit: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Uniform integers in [0, limit), for limits below 2**31.

    >>> int(below(np.array([2**63], dtype=np.uint64), 10)[0])
    5
    """
    return ((bits >> HALF_BITS) * np.asarray(limit).astype(np.uint64) >> HALF_BITS).astype(np.int64)


def distinct(bits: Bits, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Draws without replacement: row r holds distinct integers of [0, sizes[r]) in random order.

    The first steps of a Fisher-Yates shuffle, all rows at once; bits (R, m), sizes (R,) at least m, result (R, m).
    """
    rows, m = bits.shape
    every = np.arange(rows)
    table = np.repeat(np.arange(int(sizes.max(initial=0)))[None], rows, axis=0)
    drawn = np.empty((rows, m), dtype=np.int64)
    for step in range(m):
        place = step + below(bits[:, step], sizes - step)
        drawn[:, step] = table[every, place]
        table[every, place] = table[:, step]
    return drawn
