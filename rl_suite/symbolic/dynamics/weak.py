"""The weak form of dx/dt = f(x): integrals against test functions instead of derivatives of noisy data.

For a test function phi that vanishes with its derivatives at both ends of its window, integration by parts gives
``-integral phi' x dt = integral phi f(x) dt``: the noise of x is averaged, never differentiated (Messenger and Bortz,
"Weak SINDy", SIAM Multiscale Model. Simul. 2021). The rows of overlapping windows are correlated, and noise is in the
arguments of f too: rows are whitened with the covariance that white noise in x gives them, through the windows' slopes
and through df/dx of the present law (Bortz, Messenger and Dukic, "WENDy", Bull. Math. Biol. 2023).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_smoothing_spline
from scipy.signal import savgol_coeffs

Values = NDArray[np.float64]
POWER = 6  # of the test function (1 - s^2)^POWER: trapezoids integrate it to a high order of the time step
WIDTH = 0.4  # half width of a window in units of the characteristic time
FEWEST_SAMPLES = 12  # in a window
MOST_WINDOWS = 300
OVERLAP = 8  # windows that begin within half a width of each other
FEWEST_WIDTHS = 8  # half widths in a trajectory
LEAST_MODE = 1e-5  # share of the largest variance below which a combination of windows is left out
LEAST_NOISE, TINY = 1e-5, 1e-300  # of the spread of a state: below, the trapezoids' own error is larger
NOISE_WINDOW, NOISE_ORDER = 9, 6  # samples and degree of the local polynomials whose residuals are the noise
MIN_SAMPLES = 20
ROUGHEST, SMOOTHEST, BISECTIONS = -18.0, 2.0, 14  # of the penalty of a spline over times from 0 to 1


@dataclass(frozen=True)
class Trajectory:
    """Samples of states at increasing times: t (n,), X (n, d)."""

    t: Values
    X: Values

    def __post_init__(self) -> None:
        if self.X.ndim != 2 or self.t.shape != self.X.shape[:1]:
            raise ValueError(f"t must be (n,) and X (n, d), not {self.t.shape} and {self.X.shape}")
        if len(self.t) < MIN_SAMPLES:
            raise ValueError(f"a trajectory needs at least {MIN_SAMPLES} samples, not {len(self.t)}")
        if not (np.isfinite(self.t).all() and np.isfinite(self.X).all()):
            raise ValueError("t and X must be finite numbers")
        if not (np.diff(self.t) > 0).all():
            row = int(np.flatnonzero(np.diff(self.t) <= 0)[0]) + 1
            raise ValueError(f"times must increase; row {row} is not after row {row - 1}: sort the rows, one per time")


@dataclass(frozen=True)
class WeakForm:
    """One trajectory against its test functions.

    Attributes:
        phi: (k, n) test functions and ``slope`` (k, n) their derivatives, times the trapezoid weights.
        X: (n, d) the states as measured; ``smooth`` (n, d) without most of their noise, ``slopes`` (n, d) of these.
        noise: (d,) standard deviation of the noise of each state.
    """

    phi: Values
    slope: Values
    X: Values
    smooth: Values
    slopes: Values
    noise: Values

    @classmethod
    def of(cls, trajectory: Trajectory) -> "WeakForm":
        """The weak form of a trajectory."""
        t, X = trajectory.t, trajectory.X
        noise = noise_of(X)
        splines = [smoothing_spline(t, column, float(own)) for column, own in zip(X.T, noise, strict=True)]
        smooth = np.column_stack([spline(t) for spline in splines])
        slopes = np.column_stack([spline.derivative()(t) for spline in splines])
        phi, slope = windows(t, half_width(t, smooth, slopes))
        return cls(phi, slope, X, smooth, slopes, np.maximum(noise, LEAST_NOISE * X.std(axis=0) + TINY))

    def whitened(self, state: int, jacobian: Values | None = None) -> tuple[Values, Values]:
        """(project (r, n), target (r,)) of a state: ``project @ f(X) - target`` has unit variance for the true law.

        ``jacobian`` (n, d): df/dx of the present law on the smooth states; None: no law yet.
        """
        reach = np.zeros_like(self.smooth) if jacobian is None else jacobian
        covariance = np.zeros((len(self.phi), len(self.phi)))
        for other in range(self.X.shape[1]):
            part = self.phi * reach[:, other]
            if other == state:
                part = part + self.slope
            covariance += self.noise[other] ** 2 * (part @ part.T)
        variances, modes = np.linalg.eigh(covariance)
        kept = variances > LEAST_MODE * variances[-1]
        whiten = modes[:, kept].T / np.sqrt(variances[kept, None])
        return whiten @ self.phi, -(whiten @ (self.slope @ self.X[:, state]))


def smoothing_spline(t: Values, x: Values, noise: float) -> BSpline:
    """The roughest cubic spline whose residuals are as large as the noise (discrepancy principle); scaled inside."""
    start, length = float(t[0]), float(t[-1] - t[0])
    middle, size = float(x.mean()), max(float(x.std()), 1e-300)
    s, z, wanted = (t - start) / length, (x - middle) / size, noise / size
    low, high = ROUGHEST, SMOOTHEST  # decimal exponents of the penalty
    for _ in range(BISECTIONS):
        half = (low + high) / 2
        left = float(np.sqrt(np.mean((make_smoothing_spline(s, z, lam=10.0**half)(s) - z) ** 2)))
        low, high = (half, high) if left < wanted else (low, half)
    spline = make_smoothing_spline(s, z, lam=10.0**low)
    return BSpline(spline.t * length + start, spline.c * size + middle, spline.k)


def half_width(t: Values, smooth: Values, slope: Values) -> float:
    """Half width of the windows: a share of the shortest characteristic time 2 pi std(x) / rms(dx/dt) of a state."""
    spread, speed = smooth.std(axis=0), np.sqrt((slope**2).mean(axis=0))
    times = 2 * math.pi * spread[speed > 0] / speed[speed > 0]
    if len(times) == 0:
        raise ValueError("no state changes: there is no motion to explain")
    step = float(np.median(np.diff(t)))
    wanted = max(WIDTH * float(times.min()), FEWEST_SAMPLES / 2 * step)
    return min(wanted, float(t[-1] - t[0]) / FEWEST_WIDTHS)


def windows(t: Values, half: float) -> tuple[Values, Values]:
    """Test functions and their derivatives on the samples, times trapezoid weights; (windows, n) each."""
    first, last = float(t[0]) + half, float(t[-1]) - half
    count = int(np.clip(math.ceil(OVERLAP * (last - first) / half) + 1, 3, MOST_WINDOWS))
    s = (t[None, :] - np.linspace(first, last, count)[:, None]) / half  # (windows, n)
    inside = np.maximum(1.0 - s**2, 0.0)
    weights = np.gradient(t)
    weights[[0, -1]] /= 2
    return inside**POWER * weights, -2 * POWER / half * s * inside ** (POWER - 1) * weights


def noise_of(X: Values) -> Values:
    """Standard deviation (d,) of what a local polynomial of high degree cannot follow, for each state."""
    window = min(NOISE_WINDOW, len(X) - (len(X) + 1) % 2)
    smoothing = savgol_coeffs(window, min(NOISE_ORDER, window - 3))
    middle = window // 2
    left = -smoothing.copy()
    left[middle] += 1.0
    residual = np.array([np.convolve(column, left[::-1], mode="valid") for column in X.T])  # (d, n - window + 1)
    spread: Values = np.sqrt(np.median(residual**2, axis=1) / 0.4549) / np.sqrt((left**2).sum())
    return spread
