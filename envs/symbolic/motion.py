"""Laws of motion as a task of the world: dx/dt of one state, from a trajectory with noise.

The world scores programs point by point, so slopes are needed: those of local cubic polynomials (Savitzky and Golay,
Anal. Chem. 1964), whose windows are a share of the shortest characteristic time. ``rl_suite.symbolic.SymbolicODE``
does without slopes.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.datasets import Dataset

Floats = NDArray[np.float64]

WIDTH = 0.12  # half width of a window, in units of the characteristic time
FEWEST, DEGREE = 7, 3  # samples in a window, and degree of its polynomial


def motion_dataset(
    t: Floats, X: Floats, state: int = 0, variables: Sequence[str] | None = None, name: str = "motion"
) -> Dataset:
    """The task dx/dt = f(x) of one state, at every sample that has a whole window; X (n, d) at increasing times t (n,).

    Raises:
        ValueError: times that do not increase, too few samples, a state that there is not, or one that never changes.

    >>> t = np.linspace(0, 6, 200)
    >>> task = motion_dataset(t, np.column_stack([np.sin(t), np.cos(t)]), state=0, variables=["x", "v"])
    >>> bool(np.abs(task.y - task.X[:, 1]).max() < 1e-3)
    True
    """
    t, X = np.asarray(t, dtype=np.float64), np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or t.shape != X.shape[:1] or len(t) < 2 * FEWEST:
        raise ValueError(f"t must be (n,) and X (n, d) with n >= {2 * FEWEST}, not {t.shape} and {X.shape}")
    if not (np.isfinite(t).all() and np.isfinite(X).all() and (np.diff(t) > 0).all()):
        raise ValueError("t and X must be finite numbers, and times must increase")
    if not 0 <= state < X.shape[1]:
        raise ValueError(f"state must be one of 0 .. {X.shape[1] - 1}, not {state}")
    width = _samples(t, X)
    half = width // 2
    smooth, slopes = np.empty((len(t) - 2 * half, X.shape[1])), np.empty((len(t) - 2 * half, X.shape[1]))
    for row in range(len(smooth)):
        part = slice(row, row + width)
        powers = np.vander(t[part] - t[row + half], DEGREE + 1, increasing=True)
        fit = np.linalg.lstsq(powers, X[part], rcond=None)[0]
        smooth[row], slopes[row] = fit[0], fit[1]
    return Dataset.from_arrays(smooth, slopes[:, state], variables, name=name)


def _samples(t: Floats, X: Floats) -> int:
    """Samples in a window, an odd number."""
    rough = np.gradient(X[:: max(1, len(t) // 100)], t[:: max(1, len(t) // 100)], axis=0)
    spread, speed = X.std(axis=0), np.sqrt((rough**2).mean(axis=0))
    times = 2 * math.pi * spread[speed > 0] / speed[speed > 0]
    if len(times) == 0:
        raise ValueError("no state changes: there is no motion to explain")
    half = round(WIDTH * float(times.min()) / float(np.median(np.diff(t))))
    return min(max(FEWEST, 2 * half + 1), (len(t) // 2) * 2 - 1)
