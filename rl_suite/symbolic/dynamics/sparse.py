"""Few terms that explain a target: for each size the best subset of columns, with a price for having chosen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MOST_SUBSETS = 20_000  # of one size that are all tried; beyond, terms are added and exchanged one by one
TRIED_AGAIN = 3  # subsets of a size that are fitted exactly
SWAPS = 3  # rounds in which each term may be exchanged for a better one
RIDGE = 1e-14  # of the screening's normal equations


@dataclass(frozen=True)
class Subset:
    """Columns of a library with their coefficients, and the sum of squares that is left."""

    columns: tuple[int, ...]
    coefficients: Values  # (k,)
    left: float

    def price(self, rows: int, terms: int) -> float:
        """Extended Bayesian information criterion (Chen and Chen 2008) for ``terms`` to choose from.

        Rows have unit variance for the true law; no law is paid for leaving less.
        """
        k = len(self.columns)
        variance = max(self.left / rows, 1.0)
        return rows * math.log(variance) + k * math.log(rows) + 2 * k * math.log(max(terms, 2))


def best_subsets(A: Values, b: Values, most: int) -> list[Subset]:
    """For each number of terms from one on the best subset of the columns of A (rows, p) for b (rows,).

    All subsets are tried where they are at most ``MOST_SUBSETS``; else the best of the last size is grown by one
    term, and each of its terms exchanged.
    """
    size = np.sqrt((A**2).sum(axis=0))
    usable = np.flatnonzero(size > 0)
    scaled = A[:, usable] / size[usable]
    gram, moments = scaled.T @ scaled, scaled.T @ b
    found: list[Subset] = []
    for k in range(1, min(most, len(usable), len(b) // 2) + 1):
        if math.comb(len(usable), k) <= MOST_SUBSETS:
            near = _best(combinations(range(len(usable)), k), k, gram, moments)
        else:
            near = _grown(found[-1].columns, usable, gram, moments)
        fits = [_fit(scaled, b, columns, size[usable], usable) for columns in near]
        found.append(min(fits, key=lambda subset: subset.left))
    return found


def _grown(before: tuple[int, ...], usable: NDArray[np.int64], gram: Values, moments: Values) -> list[tuple[int, ...]]:
    place = {int(j): n for n, j in enumerate(usable)}
    held = [place[j] for j in before]
    others = [n for n in range(len(usable)) if n not in held]
    best = _best(((*held, n) for n in others), len(held) + 1, gram, moments)
    for _ in range(SWAPS):
        now = best[0]
        swaps = ((*(m for m in now if m != out), n) for out in now for n in range(len(usable)) if n not in now)
        best = _best(chain([now], swaps), len(now), gram, moments)
        if best[0] == now:
            break
    return best


def _best(subsets: Iterable[tuple[int, ...]], k: int, gram: Values, moments: Values) -> list[tuple[int, ...]]:
    """The subsets of k columns that explain most, by their normal equations."""
    table = np.array(list(subsets), dtype=np.int64).reshape(-1, k)
    equations = gram[table[:, :, None], table[:, None, :]] + RIDGE * np.eye(k)
    wanted = moments[table]
    explained = (wanted * np.linalg.solve(equations, wanted[..., None])[..., 0]).sum(axis=1)
    return [tuple(table[i].tolist()) for i in np.argsort(-explained, kind="stable")[:TRIED_AGAIN]]


def _fit(scaled: Values, b: Values, columns: tuple[int, ...], size: Values, usable: NDArray[np.int64]) -> Subset:
    part = scaled[:, columns]
    coefficients, *_ = np.linalg.lstsq(part, b, rcond=None)
    off = b - part @ coefficients
    chosen = list(columns)
    return Subset(tuple(usable[chosen].tolist()), coefficients / size[chosen], float(off @ off))
