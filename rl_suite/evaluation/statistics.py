"""Statistics of scores that are few and skewed: point estimates with intervals, never a bare mean.

Scores are arrays (T, R): T tasks, R runs (seeds, or episodes) of each; (R,) means one task. Definitions
are those of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
Intervals come from the stratified bootstrap: runs are resampled within each task, so that the chosen
tasks stay as they are. The statistics work on the last two axes, so one call does all resamples.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

Scores = NDArray[np.float64]
Statistic = Callable[[Scores], Any]  # (..., T, R) -> (...) or (..., n)

CHUNK = 4_000_000  # numbers held at once while resampling: 32 MB


class Interval(NamedTuple):
    """A point estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


class Profile(NamedTuple):
    """A performance profile: which fraction of runs scores above each threshold, with its band."""

    thresholds: NDArray[np.float64]  # (K,)
    fraction: NDArray[np.float64]  # (K,)
    low: NDArray[np.float64]  # (K,)
    high: NDArray[np.float64]  # (K,)


def as_scores(scores: ArrayLike) -> Scores:
    """Check scores and give them both axes: (T, R), finite, not empty."""
    array = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"scores must be (tasks, runs) with at least one run, not shape {np.shape(scores)}")
    if not np.isfinite(array).all():
        task, run = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"the score of task {task}, run {run} is {array[task, run]}: scores must be finite")
    return array


def mean(scores: Scores) -> Any:
    """Mean over tasks and runs; (..., T, R) -> (...)."""
    return scores.mean(axis=(-2, -1))


def iqm(scores: Scores) -> Any:
    """Interquartile mean over all tasks and runs together; (..., T, R) -> (...).

    The lowest and the highest quarter are left out (rounded down to whole runs), the rest is averaged:
    as robust as the median, with smaller intervals.

    >>> float(iqm(np.array([[0.0, 1.0, 2.0, 300.0]])))
    1.5
    """
    flat = scores.reshape(*scores.shape[:-2], -1)
    return trim_mean(flat, 0.25, axis=-1)


def optimality_gap(scores: Scores, optimum: float = 1.0) -> Any:
    """By how much runs miss ``optimum`` on average, none being credited above it; (..., T, R) -> (...)."""
    return optimum - mean(np.minimum(scores, optimum))


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic = iqm,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """Percentile interval of ``statistic`` when the runs of every task are drawn again with replacement.

    With few runs a percentile interval of a skewed statistic can miss the estimate by a little; it is
    then widened to hold it. One run per task says nothing about the spread within a task, and is refused.
    """
    array = as_scores(scores)
    draws = np.concatenate([statistic(sample) for (sample,) in _resample([array], resamples, seed)])
    return _interval(float(statistic(array)), draws, confidence)


def paired_bootstrap(
    scores_x: ArrayLike,
    scores_y: ArrayLike,
    statistic: Statistic = mean,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """Interval of ``statistic(x) - statistic(y)`` where run r of task t of both met the same conditions.

    Both are resampled together, pair by pair: what the conditions (task, seed) add to both cancels.
    """
    x, y = as_scores(scores_x), as_scores(scores_y)
    if x.shape != y.shape:
        raise ValueError(f"paired scores must have the same shape, not {x.shape} and {y.shape}")
    draws = [statistic(a) - statistic(b) for a, b in _resample([x, y], resamples, seed, together=True)]
    return _interval(float(statistic(x) - statistic(y)), np.concatenate(draws), confidence)


def cluster_bootstrap(
    values: ArrayLike, groups: Sequence[str], *, resamples: int = 2000, confidence: float = 0.95, seed: int
) -> Interval:
    """Mean of values (n,) with an interval for which whole groups are drawn again with replacement.

    What belongs together (the laws of a family, the runs on a problem) is not so many independent observations.
    """
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(array) != len(groups) or not len(array):
        raise ValueError(f"values and groups must be as many, and at least one, not {len(array)} and {len(groups)}")
    names = list(dict.fromkeys(groups))
    member = np.array([names.index(group) for group in groups])
    sums, counts = np.bincount(member, array, len(names)), np.bincount(member, minlength=len(names))
    draws = np.random.default_rng(seed).integers(0, len(names), (resamples, len(names)))
    return _interval(float(array.mean()), sums[draws].sum(axis=1) / counts[draws].sum(axis=1), confidence)


def probability_of_improvement(
    scores_x: ArrayLike,
    scores_y: ArrayLike,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> Interval:
    """How likely a random run of x beats a random run of y on the same task, averaged over tasks.

    A tie counts one half, which makes each task's value the Mann-Whitney U over the number of pairs.
    x and y need the same tasks, not the same number of runs.
    """
    x, y = _same_tasks(scores_x, scores_y)
    pairs = x.shape[1] * y.size
    draws = [_superiority(a, b) for a, b in _resample([x, y], resamples, seed, size=pairs)]
    return _interval(float(_superiority(x, y)), np.concatenate(draws), confidence)


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int,
) -> Profile:
    """Fraction of all runs that score above (not at) each threshold, with a pointwise band."""
    array = as_scores(scores)
    taus = np.asarray(thresholds, dtype=np.float64)
    if taus.ndim != 1 or not np.isfinite(taus).all():
        raise ValueError(f"thresholds must be a list of finite numbers, not {thresholds!r}")
    above = partial(_fraction_above, thresholds=taus)
    draws = np.concatenate([above(sample) for (sample,) in _resample([array], resamples, seed)])
    low, high = _quantiles(draws, confidence)
    estimate = above(array)
    return Profile(taus, estimate, np.minimum(low, estimate), np.maximum(high, estimate))


def permutation_test(
    scores_x: ArrayLike,
    scores_y: ArrayLike,
    statistic: Statistic = mean,
    *,
    paired: bool = False,
    permutations: int = 10_000,
    seed: int,
) -> float:
    """Two-sided p-value of ``statistic(x) - statistic(y)`` if x and y were exchangeable on every task.

    Unpaired: the runs of a task are dealt again to x and y. Paired: each pair is swapped or not. The
    observed deal counts as one of the deals, so p is never 0 (Phipson and Smyth 2010).
    """
    x, y = _same_tasks(scores_x, scores_y)
    if paired and x.shape != y.shape:
        raise ValueError(f"paired scores must have the same shape, not {x.shape} and {y.shape}")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")
    rng = np.random.default_rng(seed)
    observed = abs(statistic(x) - statistic(y))
    tolerance = 1e-12 * max(1.0, float(np.abs(x).max()), float(np.abs(y).max()))  # the order of sums may differ
    pooled, extreme = np.concatenate([x, y], axis=1), 0
    for count in _chunks(permutations, pooled.size):
        if paired:
            swap = rng.random((count, *x.shape)) < 0.5
            a, b = np.where(swap, y, x), np.where(swap, x, y)
        else:
            dealt = rng.permuted(np.broadcast_to(pooled, (count, *pooled.shape)), axis=-1)
            a, b = dealt[..., : x.shape[1]], dealt[..., x.shape[1] :]
        extreme += int((np.abs(statistic(a) - statistic(b)) >= observed - tolerance).sum())
    return (1 + extreme) / (1 + permutations)


def _superiority(x: Scores, y: Scores) -> NDArray[np.float64]:
    """P(x > y) + P(x = y) / 2 within tasks, averaged over tasks; (..., T, R), (..., T, S) -> (...)."""
    a, b = x[..., :, None], y[..., None, :]  # (..., T, R, 1), (..., T, 1, S)
    wins: NDArray[np.float64] = ((a > b) + 0.5 * (a == b)).mean(axis=(-3, -2, -1))
    return wins


def _fraction_above(scores: Scores, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., T, R) -> (..., K)."""
    fractions = [(scores > threshold).mean(axis=(-2, -1)) for threshold in thresholds]
    return np.stack(fractions, axis=-1) if fractions else np.empty((*scores.shape[:-2], 0))


def _resample(
    arrays: list[Scores], resamples: int, seed: int, together: bool = False, size: int = 0
) -> Iterator[list[Scores]]:
    """Draw runs with replacement within each task, in chunks (n, T, R) of at most ``CHUNK`` numbers.

    ``together`` draws the same runs from all arrays; ``size`` is what the caller makes of one resample.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    if any(array.shape[1] < 2 for array in arrays):
        raise ValueError("one run per task cannot be resampled within tasks: give more runs, or pool the tasks")
    rng = np.random.default_rng(seed)
    for count in _chunks(resamples, max(size, *(array.size for array in arrays))):
        picks: list[NDArray[np.int64]] = []
        for array in arrays:
            if not (together and picks):
                picks.append(rng.integers(0, array.shape[1], size=(count, *array.shape)))
        yield [array[np.arange(len(array))[:, None], picks[0 if together else i]] for i, array in enumerate(arrays)]


def _chunks(total: int, size: int) -> Iterator[int]:
    """Split ``total`` repetitions of ``size`` numbers into counts that fit into ``CHUNK``."""
    step = max(1, CHUNK // size)
    for start in range(0, total, step):
        yield min(step, total - start)


def _same_tasks(scores_x: ArrayLike, scores_y: ArrayLike) -> tuple[Scores, Scores]:
    x, y = as_scores(scores_x), as_scores(scores_y)
    if len(x) != len(y):
        raise ValueError(f"both must have the same tasks, not {len(x)} and {len(y)} of them")
    return x, y


def _quantiles(draws: NDArray[np.float64], confidence: float) -> tuple[Any, Any]:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return low, high


def _interval(estimate: float, draws: NDArray[np.float64], confidence: float) -> Interval:
    low, high = _quantiles(draws, confidence)
    return Interval(estimate, min(float(low), estimate), max(float(high), estimate))
