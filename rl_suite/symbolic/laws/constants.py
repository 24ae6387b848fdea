"""The numbers of a law with their standard errors, and the simple numbers that the data do not tell them from."""

import math
from dataclasses import dataclass, replace

import numpy as np

from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import SCALE_BITS, coincidences, simplest
from rl_suite.symbolic.laws.polish import Dataset, Finished, Polisher

PLAIN_BITS = 2.6  # numbers up to this length (0, 1, 2, 1/2) are parts of a form; others need the data's support
LEVEL = 0.95  # of the intervals of resampled rows
OFFERED = 0.2  # numbers as simple and as near that chance brings, up to which one is offered beside a measured value


@dataclass(frozen=True)
class Constant:
    """One number of a law; ``error`` is its standard error from the Jacobian at the least squares."""

    name: str
    """The number that it was recognised as, or c1, c2, ..."""
    value: float
    error: float
    recognised: bool
    near: str = ""
    """A simple number within two standard errors that the data do not single out; "" if there is none."""
    interval: tuple[float, float] | None = None
    """Between which 95 % of the values lie that resampled rows give; None where that was not asked for."""

    def __str__(self) -> str:
        digits = _digits(self.value, self.error)
        measured = f"{self.value:.{digits}g} +- {self.error:.2g}"
        if self.interval is not None:
            measured += f" [{self.interval[0]:.{digits}g}, {self.interval[1]:.{digits}g}]"
        if self.recognised:
            return f"{self.name}, measured {measured}"
        return f"{self.name} = {measured}" + (f" ({self.near} is within its error)" if self.near else "")


def constants_of(finished: Finished, polisher: Polisher) -> list[list[Constant]]:
    """The measured and the recognised numbers of a law on each dataset, in the order in which it has them."""
    return [
        _constants(law, data, polisher.iterations) for law, data in zip(finished.laws, polisher.datasets, strict=True)
    ]


def is_plain(law: Law, k: int) -> bool:
    """Whether number k of a law is a part of its form (1, 2, an exponent), and no measurement that was recognised."""
    exact = law.exact[k]
    return exact is not None and (not PLAIN_BITS < exact.bits < SCALE_BITS or k in law.exponents)


def bootstrapped(finished: Finished, polisher: Polisher, samples: int, seed: int = 0) -> list[list[Constant]]:
    """:func:`constants_of` with errors and intervals out of ``samples`` fits to resampled rows (Efron 1979).

    Rows are drawn with replacement from each dataset. A recognised number is measured, with all others, in each fit.
    """
    rng = np.random.default_rng(seed)
    found = []
    for law, data in zip(finished.laws, polisher.datasets, strict=True):
        shown = [k for k in range(len(law.exact)) if not is_plain(law, k)]
        loose, draws = _loose(law), np.empty((samples, len(shown)))
        for s in range(samples):
            counts = np.bincount(rng.integers(len(data.y), size=len(data.y)), minlength=len(data.y))
            weights = np.sqrt(counts) if data.root_weights is None else np.sqrt(counts) * data.root_weights
            fitted, _ = replace(data, root_weights=weights).fit(loose, polisher.iterations)
            draws[s] = fitted.constants[shown]
        low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
        spread = draws.std(axis=0, ddof=1)
        constants = _constants(law, data, polisher.iterations)
        found.append(
            [
                replace(c, error=float(spread[j]), interval=(float(low[j]), float(high[j])))
                for j, c in enumerate(constants)
            ]
        )
    return found


def _loose(law: Law) -> Law:
    """The law with every number measured that is no part of its form."""
    return replace(law, exact=tuple(e if is_plain(law, k) else None for k, e in enumerate(law.exact)))


def _constants(law: Law, data: Dataset, iterations: int) -> list[Constant]:
    loose = _loose(law)
    fitted, covariance = data.fit(loose, iterations)
    own, errors = data.fit(law, iterations)  # of the measured ones, with the recognised ones held
    found = []
    for k, exact in enumerate(law.exact):
        if is_plain(law, k):
            continue
        if exact is not None:
            error = math.sqrt(max(float(covariance[k, k]), 0.0))
            found.append(Constant(exact.infix(), float(fitted.constants[k]), error, True))
            continue
        value, error = float(own.constants[k]), math.sqrt(max(float(errors[k, k]), 0.0))
        near = simplest(value, 2.0 * error)
        said = near is not None and coincidences(near, value, error) <= OFFERED
        found.append(Constant(law.constant_names[k], value, error, False, near.infix() if near and said else ""))
    return found


def _digits(value: float, error: float) -> int:
    """Significant digits of a value that its error leaves, two of the error's, from 3 to 15."""
    if not (error > 0 and value != 0 and math.isfinite(error)):
        return 6
    return max(3, min(15, 2 + math.floor(math.log10(abs(value))) - math.floor(math.log10(error))))
