"""Finishing a law: fit its constants to all data, recognise those that are simple numbers, price the result.

The law of least price (:mod:`rl_suite.symbolic.laws.price`) is the one that the data support, at any noise, without a
threshold on the error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.fitting import refine_constants
from envs.symbolic.program import evaluate_programs
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact, coincidences, simplest
from rl_suite.symbolic.laws.price import price

Values = NDArray[np.float64]
MAX_FIT_POINTS = 4096
WITHIN = (2.0, 4.0)  # standard errors in which simple numbers are looked for
COINCIDENCE = 0.005  # numbers as simple and as near that chance may be expected to bring, up to which one is recognised
MAX_ITERATIONS = 20
ROW_ERROR, ROUNDING = 1e-7, 1e-13  # of a row of an exact law: relative, and of the median size of the target
SOLVED_NMSE = 1e-22  # what rounding leaves of an exact law
LARGE = 1e6  # residuals are cut here, so that their squares stay finite


@dataclass(frozen=True, eq=False)
class Finished:
    """A law with its error on all data and its price in bits.

    Of several datasets, each has the same law with measured constants of its own.
    """

    laws: tuple[Law, ...]
    nmse: float
    bits: float
    n_points: int
    exact: bool = False
    """Whether every row is given up to rounding: a few large rows alone prove nothing of the small ones."""

    @property
    def law(self) -> Law:
        """The law (with the constants of the first dataset)."""
        return self.laws[0]

    @property
    def complexity(self) -> int:
        """Sum of token weights."""
        return self.law.complexity

    @cached_property
    def text(self) -> str:
        """The law as text; with several datasets, measured constants are named."""
        return self.law.infix(named=len(self.laws) > 1)

    @property
    def latex(self) -> str:
        """The law as LaTeX; with several datasets, measured constants are named."""
        return self.law.latex(named=len(self.laws) > 1)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows that share the constants of a law."""

    X: Values  # (n, d)
    columns: Values  # (d, n)
    y: Values  # (n,)
    scale: float
    root_weights: Values | None = None  # (n,)

    @classmethod
    def of(cls, X: Values, y: Values, weights: Values | None = None) -> "Dataset":
        """X (n, d) and y (n,) with what fits need; ``weights`` (n,) of the rows."""
        largest = max(float(np.abs(y).max()), 1e-300)
        unit, root = y / largest, None
        spread = float(np.std(unit))
        if weights is not None:
            weights = weights / weights.mean()
            root = np.sqrt(weights)
            spread = float(np.sqrt(np.mean(weights * (unit - np.average(unit, weights=weights)) ** 2)))
        scale = max(largest * spread, 1e-300)
        return cls(np.ascontiguousarray(X), np.ascontiguousarray(X.T), np.ascontiguousarray(y), scale, root)

    def residuals(self, law: Law) -> Values:
        """What the law leaves of the target, in units of its standard deviation, times the root of the weight, (n,)."""
        off = self._off(law) / self.scale
        return off if self.root_weights is None else off * self.root_weights

    def _off(self, law: Law) -> Values:
        length = np.array([len(law.program)])
        values = evaluate_programs(law.program[None], length, self.X, law.library, law.constants[None])[0]
        result: Values = values - self.y
        return result

    def every_row(self, law: Law) -> bool:
        """Whether each row of the target is the law's value up to rounding."""
        size = np.abs(self.y)
        if not size.any():
            return False
        allowed = ROW_ERROR * size + ROUNDING * float(np.median(size[size > 0]))
        return bool((np.abs(self._off(law)) <= allowed).all())

    def nmse(self, law: Law) -> float:
        """Mean squared error over the variance of the target; infinite where the law is not finite."""
        value = float(np.mean(np.clip(self.residuals(law), -LARGE, LARGE) ** 2))
        return value if math.isfinite(value) else math.inf

    def fit(self, law: Law, iterations: int) -> tuple[Law, Values]:
        """The law with its measured constants at the least squared error, and their covariance (k, k)."""
        free = np.array([e is None for e in law.exact], dtype=np.bool_)
        if not free.any() or free.sum() >= len(self.y):
            return law, np.zeros((len(free), len(free)))
        found = refine_constants(
            law.program,
            self.columns,
            self.y,
            law.library,
            law.constants,
            free,
            self.scale,
            iterations,
            self.root_weights,
        )
        return replace(law, constants=found.constants), found.covariance


class Polisher:
    """Fits and prices laws on fixed data X (n, d), y (n,); ``sets`` (n,) are the numbers of several datasets.

    ``most_rows`` are fitted, evenly fewer of more; ``iterations`` are the steps of a fit; ``weights`` (n,)
    are those of the rows; rows of weight 0 are left out.
    """

    def __init__(
        self,
        X: Values,
        y: Values,
        sets: NDArray[np.int64] | None = None,
        most_rows: int = MAX_FIT_POINTS,
        iterations: int = MAX_ITERATIONS,
        weights: Values | None = None,
    ):
        rows = thinned(len(y), sets, most_rows)
        self.rows = rows if weights is None else [own[weights[own] > 0] for own in rows]
        self.iterations = iterations
        self.datasets = tuple(
            Dataset.of(X[rows], y[rows], None if weights is None else weights[rows]) for rows in self.rows
        )
        self.sizes = tuple(len(rows) for rows in self.rows)

    def residuals(self, laws: Sequence[Law]) -> Values:
        """What each dataset's law leaves of its target, one dataset after the other, (n,)."""
        return np.concatenate([data.residuals(law) for data, law in zip(self.datasets, laws, strict=True)])

    def nmse(self, *laws: Law) -> float:
        """Mean squared error over the variance of each dataset; infinite where a law is not finite."""
        if len(self.datasets) == 1:
            return self.datasets[0].nmse(laws[0])
        errors = [n * data.nmse(law) for n, data, law in zip(self.sizes, self.datasets, laws, strict=True)]
        return sum(errors) / sum(self.sizes)

    def fit(self, *laws: Law) -> list[tuple[Law, Values]]:
        """Each dataset's law with its measured constants at the least squared error, and their covariances."""
        return [data.fit(law, self.iterations) for data, law in zip(self.datasets, laws, strict=True)]

    def priced(self, *laws: Law) -> Finished:
        """The law of each dataset as it is, with its error and price."""
        nmse = self.nmse(*laws)
        bits = price(laws[0], nmse, self.sizes) if math.isfinite(nmse) else math.inf
        exact = nmse < SOLVED_NMSE and all(map(Dataset.every_row, self.datasets, laws))
        return Finished(laws, nmse, bits, sum(self.sizes), exact)

    def finish(self, *laws: Law) -> Finished:
        """Fit, then recognise numbers one by one where that lowers the price."""
        fits = self.fit(*laws)
        covariances = [covariance for _, covariance in fits]
        best = self.priced(*(law for law, _ in fits))
        refused: set[int] = set()
        while math.isfinite(best.nmse):
            free = [i for i, e in enumerate(best.law.exact) if e is None]
            value, error = pooled(
                np.array([law.constants for law in best.laws]),
                np.sqrt(np.maximum([np.diag(covariance) for covariance in covariances], 0.0)),
            )
            waiting = [i for i in free if i not in refused]
            if not waiting:
                break
            unsure = error / np.maximum(np.abs(value), 1e-300)
            i = min(waiting, key=lambda j: float(unsure[j]))
            trials = [
                self.priced(*(settled(law, c, free, i, exact) for law, c in zip(best.laws, covariances, strict=True)))
                for exact in candidates(float(value[i]), float(error[i]))
                if coincidences(exact, float(value[i]), float(error[i])) <= COINCIDENCE
            ]
            trial = min(trials, key=lambda t: t.bits, default=best)
            if trial.bits < best.bits:
                best = trial
                covariances = [c - np.outer(c[:, i], c[i]) / max(float(c[i, i]), 1e-300) for c in covariances]
            else:
                refused.add(i)
        if best.law.n_free < laws[0].n_free:
            again = self.priced(*(law for law, _ in self.fit(*best.laws)))
            best = again if again.bits <= best.bits else best
        shorter = [without_ones(law) for law in best.laws]
        return best if shorter[0] is best.law else self.priced(*shorter)


def thinned(n: int, sets: NDArray[np.int64] | None, most: int) -> list[NDArray[np.int64]]:
    """Rows of each dataset; where there are many, evenly fewer, so that trajectories and grids stay whole."""
    rows = np.arange(n)
    if n > most:
        rows = np.linspace(0, n - 1, most).astype(np.int64)
    return [rows] if sets is None else [rows[sets[rows] == s] for s in range(int(sets.max()) + 1)]


def pooled(values: Values, errors: Values) -> tuple[Values, Values]:
    """Mean (k,) of several measurements (S, k) of each constant, and its error."""
    if len(values) == 1:
        return values[0], errors[0]
    weight = 1.0 / np.maximum(errors, 1e-100) ** 2
    total = weight.sum(axis=0)
    return values[0] + (weight * (values - values[0])).sum(axis=0) / total, 1.0 / np.sqrt(total)


def candidates(value: float, error: float) -> list[Exact]:
    """Simple numbers that a measured constant may be: one in twenty is more than two errors off; the price decides."""
    found = (simplest(value, max(errors * error, 1e-9 * abs(value))) for errors in WITHIN)
    return list(dict.fromkeys(exact for exact in found if exact is not None))


def settled(law: Law, covariance: Values, free: list[int], i: int, exact: Exact) -> Law:
    """The law with constant i at the number it was recognised as; the others follow as the linear fit says."""
    known = tuple(exact if j == i else e for j, e in enumerate(law.exact))
    value = float(exact)
    constants = law.constants.copy()
    constants[free] += covariance[free, i] / max(float(covariance[i, i]), 1e-300) * (value - law.constants[i])
    constants[i] = value
    return Law(law.library, law.program, constants, known)


def without_ones(law: Law) -> Law:
    """The law with 1*a written as a, and -1*a as -a; the same object if there is none."""
    if not any(e is not None and abs(float(e)) == 1.0 for e in law.exact):
        return law
    library = law.library
    mul, neg = library.id("mul"), library.id("neg")
    Part = tuple[list[int], list[int]]  # tokens, numbers of the constants
    stack: list[Part] = []
    k = len(law.constants)

    def sign(part: Part) -> float:
        """1 or -1 if the part is that recognised number alone, else 0."""
        tokens, used = part
        known = law.exact[used[0]] if len(tokens) == 1 and used else None
        return float(known) if known is not None and abs(float(known)) == 1.0 else 0.0

    for i in law.program[::-1].tolist():
        if i == library.constant_id:
            k -= 1
            stack.append(([i], [k]))
        elif library.arity[i] == 0:
            stack.append(([i], []))
        elif library.arity[i] == 1:
            tokens, used = stack.pop()
            stack.append(([i, *tokens], used))
        else:
            left = stack.pop()
            right = stack.pop()
            if i == mul and sign(left):
                stack.append(right if sign(left) > 0 else ([neg, *right[0]], right[1]))
            elif i == mul and sign(right):
                stack.append(left if sign(right) > 0 else ([neg, *left[0]], left[1]))
            else:
                stack.append(([i, *left[0], *right[0]], left[1] + right[1]))
    tokens, used = stack[0]
    if len(tokens) == len(law.program):
        return law
    constants = law.constants[used] if used else np.zeros(0)
    return Law(library, np.array(tokens, dtype=np.int16), constants, tuple(law.exact[j] for j in used))
