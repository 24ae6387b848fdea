"""The laws found so far: the front of complexity against error, the least price, and what is left of the data."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from scipy import stats

from rl_suite.symbolic.laws.constraints import Allowed
from rl_suite.symbolic.laws.polish import Finished, Polisher, Values
from rl_suite.symbolic.laws.price import EXACT_NMSE

MOST_FREE, ROWS_TO_PROVE = 3, 8  # measured constants of an exact law: so many, or one for so many rows
ROWS_PER_CONSTANT = 6  # a law with fewer rows for each measured constant may have fitted the noise
ENOUGH_ROWS = 40  # fewer do not show that nothing is left to be found
Left = Literal["noise", "structure", "unknown"]
SIGNIFICANCE = 0.01  # of the test that residuals still depend on the inputs


class Archive:
    """For every complexity the law of least error, and the law of least price over all."""

    def __init__(self, allowed: Allowed | None = None) -> None:
        self.allowed = allowed
        """Which laws may be kept; None: all."""
        self._best: dict[int, Finished] = {}
        self.best: Finished | None = None
        self.found_at = 0
        """Evaluations after which the present best law was found."""

    @classmethod
    def restored(cls, laws: Sequence[Finished], best: int, found_at: int, allowed: Allowed | None = None) -> "Archive":
        """An archive that holds ``laws``; number ``best`` is the cheapest (-1: there is none)."""
        archive = cls(allowed)
        for finished in laws:
            known = archive._best.get(finished.complexity)
            if known is None or finished.nmse < known.nmse:
                archive._best[finished.complexity] = finished
        archive.best = laws[best] if best >= 0 else None
        archive.found_at = found_at
        return archive

    def add(self, finished: Finished, evaluations: int) -> bool:
        """Keep a law if it is the best of its complexity; True if it has the least price of all."""
        known = self._best.get(finished.complexity)
        kept = (
            known is None
            or finished.nmse < known.nmse * (1 - 1e-9)
            or (finished.nmse <= known.nmse * (1 + 1e-9) and finished.bits < known.bits)
        )
        cheapest = self.best is None or finished.bits < self.best.bits - 1e-6
        if self.allowed is not None and (kept or cheapest) and not self.allowed(finished.laws):
            return False
        if kept:
            self._best[finished.complexity] = finished
        if cheapest:
            self.best = finished
            self.found_at = evaluations
            return True
        return False

    def __iter__(self) -> Iterator[Finished]:
        """Every law that was kept, simplest first."""
        return iter(self._best[c] for c in sorted(self._best))

    def front(self) -> list[Finished]:
        """The Pareto front: laws that no simpler law equals in error, simplest first."""
        result: list[Finished] = []
        for finished in self:
            if not result or max(finished.nmse, EXACT_NMSE) < 0.999 * max(result[-1].nmse, EXACT_NMSE):
                result.append(finished)
        return result

    @property
    def solved(self) -> bool:
        """Whether the best law is exact up to rounding, and not because it has many measured constants."""
        best = self.best
        return best is not None and best.exact and best.law.n_free <= max(MOST_FREE, best.n_points // ROWS_TO_PROVE)


def noise_is_left(finished: Finished, polisher: Polisher) -> bool:
    """Whether the residuals of a law no longer depend on the inputs, as far as two tests on enough rows can tell."""
    return what_is_left(finished, polisher) == "noise"


def what_is_left(finished: Finished, polisher: Polisher) -> Left:
    """What the residuals of a law are: "noise", "structure" that depends on the inputs, or "unknown".

    An F-test of a quadratic in the inputs and in the prediction (lack of fit), and the correlation of the
    residuals of neighbouring points; both at the level ``SIGNIFICANCE``. Few rows hide what depends on the inputs.
    """
    X = np.concatenate([data.X for data in polisher.datasets])
    residual = polisher.residuals(finished.laws)
    n, d = X.shape
    if n < max(6, ROWS_PER_CONSTANT * finished.law.n_free * len(finished.laws)) or not np.isfinite(residual).all():
        return "unknown"
    size = np.maximum(np.abs(X).max(0), 1e-300)
    Z = X / size  # first, so that squares stay numbers
    Z = (Z - Z.mean(0)) / np.maximum(Z.std(0), 1e-300)
    columns = [np.ones(n), *Z.T, *(Z**2).T]
    columns += [Z[:, i] * Z[:, j] for i in range(d) for j in range(i)]
    columns = columns[: max(2, n // 4)]
    A = np.array(columns).T
    fitted = A @ np.linalg.lstsq(A, residual, rcond=None)[0]
    k = A.shape[1]
    explained, rest = float(fitted @ fitted), float(((residual - fitted) ** 2).sum())
    f = (explained / k) / (rest / (n - k)) if rest > 0 else 0.0
    depends = stats.f.sf(f, k, n - k) < SIGNIFICANCE
    depends = depends or neighbour_correlation(Z, residual) >= float(stats.norm.isf(SIGNIFICANCE))
    return "structure" if depends else "noise" if n >= ENOUGH_ROWS else "unknown"


def neighbour_correlation(Z: Values, residual: Values, most: int = 1000) -> float:
    """Standardised correlation of each residual with that of the nearest other point; about N(0, 1) for noise."""
    rows = np.arange(min(len(Z), most))
    distance = ((Z[rows, None] - Z[None, rows]) ** 2).sum(-1)
    np.fill_diagonal(distance, math.inf)
    nearest = distance.argmin(1)
    r = residual[rows]
    mutual = nearest[nearest] == rows  # a pair that is nearest to each other is counted once
    keep = ~(mutual & (nearest < rows))
    products = r[keep] * r[nearest][keep]
    return float(products.sum() / max(float(np.sqrt((products**2).sum())), 1e-300))
