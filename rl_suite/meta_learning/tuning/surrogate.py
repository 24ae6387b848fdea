"""What is expected of architectures that were not evaluated: a Gaussian process over choices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from rl_suite.meta_learning.tuning.spaces import Code, Space

# The kernel's numbers. Values are normal scores, so that they suit any space; the length scales shrink with the number
# of names. They were chosen on 40 searches of one table (Cora), and are the same on every other.
COUNTS, GRAPHS = 0.25, 0.5  # variance of how often each choice was made, and of what it draws; the rest: where
PLACE_WEIGHT = 2.5  # of all names together: two architectures that share no choice correlate by exp(-2.5)
COUNT_WEIGHT = 0.4  # of a squared distance of counts, divided by the names that are counted
GRAPH_WEIGHT = 0.12  # of a squared distance of graphs, divided by their nodes
NOISE = 0.3  # variance of an evaluation, where that of all values is 1
LEAST_VARIANCE = 1e-6

Array = NDArray[np.float64]


def normal_scores(values: Array) -> Array:
    """Each value's rank as a quantile of the normal distribution: a few failures do not set the scale."""
    scores: Array = ndtri((rankdata(values) - 0.5) / len(values))
    return scores


class Candidates:
    """Codes that may be evaluated, with what is known of them so far; one row more per observation."""

    def __init__(self, space: Space, codes: Sequence[Code]):
        self.codes = np.asarray(codes, np.int16).reshape(len(codes), len(space.names))
        counts, graphs = space.describe(codes), space.describe_graph(codes)
        parts = ((COUNTS, COUNT_WEIGHT, counts), (GRAPHS, GRAPH_WEIGHT, graphs))
        self.parts = [
            (np.float32(variance), np.float32(weight / max(1.0, counts[0].sum())), values.astype(np.float32))
            for variance, weight, values in parts
            if values.shape[1]
        ]
        self.squares = [np.square(values).sum(1) for _, _, values in self.parts]
        self.places = np.float32(1.0 - sum(float(variance) for variance, _, _ in self.parts))
        self.white = np.zeros((0, len(codes)), np.float32)  # (observations, candidates): L^-1 k
        self.variance = np.ones(len(codes), np.float32)
        self.near = np.zeros(len(codes), np.float32)  # sum of similarities to what was tried
        self.worked = np.zeros(len(codes), np.float32)  # of those that had a value

    def forget_after(self, count: int) -> None:
        """Know of the first observations only."""
        self.variance = self.variance + (self.white[count:] ** 2).sum(0)
        self.white = self.white[:count]

    def add(self, row: NDArray[np.float32]) -> None:
        """One more observation."""
        self.white = np.concatenate([self.white, row[None]])
        self.variance = self.variance - row**2

    def tell(self, space: Space, code: Code, worked: bool) -> None:
        """Whether the evaluation of a code worked."""
        near = self.similarity(space, code)[1]
        self.near += near
        self.worked += near * np.float32(worked)

    def chance(self, share: float) -> NDArray[np.float32]:
        """How likely an evaluation is to work: the share that did among those tried, near ones counting most.

        Args:
            share: of all evaluations, which counts like one more that is near.
        """
        likely: NDArray[np.float32] = (self.worked + np.float32(share)) / (self.near + 1)
        return likely

    def similarity(self, space: Space, code: Code) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernel with one code (candidates,), and its part that knows which choice was made where."""
        weight = np.float32(PLACE_WEIGHT / len(space.names))
        places = np.exp(-weight * (self.codes != np.asarray(code, np.int16)).sum(1, dtype=np.float32))
        kernel = self.places * places
        drawn = (space.describe([code]), space.describe_graph([code]))
        other = [values[0].astype(np.float32) for values in drawn if values.shape[1]]
        for (variance, rate, values), squares, mine in zip(self.parts, self.squares, other, strict=True):
            kernel += variance * np.exp(-rate * np.maximum(squares + (mine**2).sum() - 2 * values @ mine, 0))
        return kernel, places


class ArchitectureProcess:
    """A Gaussian process over architectures, with a kernel of up to three terms and noise.

    The first is a Hamming kernel (Hutter et al. 2011), a exp(-w [choices that differ]). The second, b exp(-g |counts -
    counts'|^2), sees how often each choice was made, for names that share their choices. The third does the same with
    what the choices draw, where they draw a graph (:func:`describe_graphs`). What is missing is added to the first. An
    observation costs one row of the triangular factor, for all candidates at once.
    """

    def __init__(self, space: Space):
        self.space = space
        self.seen: list[Code] = []
        self.factor = np.zeros((0, 0))  # L, with L L^T = kernel + noise

    def see(self, codes: Sequence[Code], pool: Candidates) -> None:
        """Let the process and the pool know of exactly these codes, in this order; what they know already is kept."""
        same = 0
        while same < min(len(codes), len(self.seen)) and codes[same] == self.seen[same]:
            same += 1
        self.seen, self.factor = list(codes[:same]), self.factor[:same, :same]
        for code in codes[same:]:
            self._observe(code)
        pool.forget_after(same)
        for n in range(len(pool.white), len(self.seen)):
            row = self.factor[n, :n].astype(np.float32)
            kernel = pool.similarity(self.space, self.seen[n])[0]
            pool.add(((kernel - row @ pool.white) / self.factor[n, n]).astype(np.float32))

    def _observe(self, code: Code) -> None:
        """One more row of the factor."""
        column = Candidates(self.space, [*self.seen, code]).similarity(self.space, code)[0].astype(float)
        row = solve_triangular(self.factor, column[:-1], lower=True) if self.seen else np.zeros(0)
        pivot = np.sqrt(max(column[-1] + NOISE - row @ row, LEAST_VARIANCE))
        zeros = np.zeros((len(self.seen), 1))
        self.factor = np.block([[self.factor, zeros], [row[None], np.array([[pivot]])]])
        self.seen.append(code)

    def mean(self, pool: Candidates, scores: Array) -> NDArray[np.float32]:
        """Expected scores of the candidates, given those of the first observations."""
        n = len(scores)
        centre = scores.mean()
        weights = solve_triangular(self.factor[:n, :n], scores - centre, lower=True)
        expected: NDArray[np.float32] = np.float32(centre) + weights.astype(np.float32) @ pool.white[:n]
        return expected


def expected_improvement(mean: NDArray[np.float32], variance: NDArray[np.float32], best: float) -> NDArray[np.float32]:
    """How much above ``best`` the scores are expected to be.

    >>> float(expected_improvement(np.zeros(1, np.float32), np.ones(1, np.float32), 0.0)[0]).__round__(4)
    0.3989
    """
    deviation = np.sqrt(np.maximum(variance, np.float32(LEAST_VARIANCE)))
    z = (mean - np.float32(best)) / deviation
    density = np.exp(-np.square(z) / 2) / np.float32(np.sqrt(2 * np.pi))
    improvement: NDArray[np.float32] = deviation * (z * ndtr(z) + density)
    return improvement
