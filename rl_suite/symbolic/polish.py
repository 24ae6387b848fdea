"""Finishing a law: fit its constants to all data, recognise those that are simple numbers, price the result.

The price is a description length in bits (Rissanen 1978; for symbolic regression: Udrescu et al. 2020):
what the residuals cost under Gaussian noise, plus the tokens, plus each number. The law with the least
price is the one that the data support, at any noise, without a threshold on the error.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.fitting import refine_constants
from envs.symbolic.program import evaluate_programs
from rl_suite.symbolic.law import Law
from rl_suite.symbolic.numbers import simplest

Values = NDArray[np.float64]
EXACT_NMSE = 1e-24  # below, residuals are rounding errors and more digits prove nothing
MAX_FIT_POINTS = 4096
BITS_PER_CONSTANT = 3.0
MAX_ITERATIONS = 20
LARGE = 1e6  # residuals are cut here, so that their squares stay finite


@dataclass(frozen=True, eq=False)
class Finished:
    """A law with its error on all data and its price in bits."""

    law: Law
    nmse: float
    bits: float
    n_points: int

    @property
    def complexity(self) -> int:
        """Sum of token weights."""
        return self.law.complexity

    @cached_property
    def text(self) -> str:
        """The law as text."""
        return self.law.infix()


def price(law: Law, nmse: float, n: int) -> float:
    """Description length in bits of the residuals of n points and of the law."""
    residuals = 0.5 * n * math.log2(max(nmse, EXACT_NMSE))
    digits = 0.5 * math.log2(n / max(nmse, EXACT_NMSE))  # the data fix a constant to so many binary digits
    return residuals + law.bits + law.n_free * (BITS_PER_CONSTANT + digits)


class Polisher:
    """Fits and prices laws on fixed data X (n, d), y (n,)."""

    def __init__(self, X: Values, y: Values):
        if len(y) > MAX_FIT_POINTS:  # evenly, so that trajectories and grids stay whole
            rows = np.linspace(0, len(y) - 1, MAX_FIT_POINTS).astype(np.int64)
            X, y = X[rows], y[rows]
        self.X, self.y = np.ascontiguousarray(X), np.ascontiguousarray(y)
        self.columns = np.ascontiguousarray(X.T)
        self.scale = max(float(np.std(y)), 1e-300)

    def residuals(self, law: Law) -> Values:
        """What the law leaves of the target, in units of its standard deviation, (n,)."""
        length = np.array([len(law.program)])
        values = evaluate_programs(law.program[None], length, self.X, law.library, law.constants[None])[0]
        result: Values = (values - self.y) / self.scale
        return result

    def nmse(self, law: Law) -> float:
        """Mean squared error over the variance of the target; infinite where the law is not finite."""
        value = float(np.mean(np.clip(self.residuals(law), -LARGE, LARGE) ** 2))
        return value if math.isfinite(value) else math.inf

    def fit(self, law: Law) -> tuple[Law, Values]:
        """The law with its measured constants at the least squared error, and their covariance (k, k)."""
        free = np.array([e is None for e in law.exact], dtype=np.bool_)
        if not free.any() or free.sum() >= len(self.y):
            return law, np.zeros((len(free), len(free)))
        found = refine_constants(
            law.program, self.columns, self.y, law.library, law.constants, free, self.scale, MAX_ITERATIONS
        )
        return replace(law, constants=found.constants), found.covariance

    def priced(self, law: Law) -> Finished:
        """The law as it is, with its error and price."""
        nmse = self.nmse(law)
        return Finished(law, nmse, price(law, nmse, len(self.y)) if math.isfinite(nmse) else math.inf, len(self.y))

    def finish(self, law: Law) -> Finished:
        """Fit, then recognise numbers one by one where that lowers the price."""
        law, covariance = self.fit(law)
        best = self.priced(law)
        refused: set[int] = set()
        while math.isfinite(best.nmse):
            free = [i for i, e in enumerate(best.law.exact) if e is None]
            errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
            waiting = [i for i in free if i not in refused]
            if not waiting:
                break
            i = min(waiting, key=lambda j: errors[j] / max(abs(best.law.constants[j]), 1e-300))
            value = float(best.law.constants[i])
            exact = simplest(value, max(2.0 * errors[i], 1e-9 * abs(value)))
            if exact is None:
                refused.add(i)
                continue
            # The others follow as the linear fit says: one evaluation instead of a new fit.
            constants = best.law.constants.copy()
            variance = max(float(covariance[i, i]), 1e-300)
            constants[free] += covariance[free, i] / variance * (float(exact) - value)
            constants[i] = float(exact)
            known = tuple(exact if j == i else e for j, e in enumerate(best.law.exact))
            trial = self.priced(Law(law.library, law.program, constants, known))
            if trial.bits < best.bits:
                best = trial
                covariance = covariance - np.outer(covariance[:, i], covariance[i]) / variance
            else:
                refused.add(i)
        if best.law.n_free < law.n_free:
            again = self.priced(self.fit(best.law)[0])
            best = again if again.bits <= best.bits else best
        shorter = without_ones(best.law)
        return best if shorter is best.law else self.priced(shorter)


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
