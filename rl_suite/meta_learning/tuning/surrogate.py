"""What is expected of architectures that were not evaluated: a Gaussian process over choices."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import norm, rankdata

from rl_suite.meta_learning.tuning.spaces import Code, Space

JITTER = 1e-8
PRIOR_WIDTH = 1.5  # of the logarithms of the kernel's numbers
STEPS = 8  # of L-BFGS per fit; the next fit goes on from there
BOUNDS = (-6.0, 4.0)  # of those logarithms

Array = NDArray[np.float64]


class ArchitectureProcess:
    """A Gaussian process with the kernel a exp(-sum_d w_d [x_d differs]) + b exp(-g |counts - counts'|^2) + noise.

    The first term (Hutter et al. 2011's weighted Hamming kernel, one weight per name) knows which choice was made
    where, the second how often it was made anywhere, as path encodings do (White et al. 2021, arXiv:1910.11858).
    Values are replaced by the normal scores of their ranks, so that a few failures do not set the scale. All numbers
    of the kernel are the most probable ones under log-normal priors.
    """

    def __init__(self, space: Space):
        self.space = space
        start = [np.log(0.5)] * (len(space.names) + 1) + [np.log(0.1), np.log(0.5), np.log(0.1)]
        self.prior = np.array(start)
        self.log = self.prior.copy()  # w (D), a, g, b, noise

    def fit(self, codes: list[Code], values: Array, tune: bool) -> None:
        """Take over observations, and with ``tune`` look for better numbers of the kernel."""
        self.x, self.counts = np.asarray(codes), self.space.describe(codes)
        self.y = norm.ppf((rankdata(values) - 0.5) / len(values))
        differs, far = self._between(self.x, self.counts)
        if tune:
            found = minimize(self._loss, self.log, (differs, far), method="L-BFGS-B", options={"maxiter": STEPS})
            self.log = np.clip(found.x, *BOUNDS)
        self.factor = cho_factor(self._kernel(self.log, differs, far) + self._noise(self.log))
        self.weights = cho_solve(self.factor, self.y)

    def expected_improvement(self, codes: list[Code]) -> Array:
        """How much better than the best so far each of the codes is expected to be."""
        differs, far = self._between(np.asarray(codes), self.space.describe(codes))
        across = self._kernel(self.log, differs, far)  # (candidates, observed)
        mean = across @ self.weights
        prior = np.exp(self.log[-4]) + np.exp(self.log[-2]) * bool(self.counts.shape[1])
        variance = prior - np.einsum("ij,ji->i", across, cho_solve(self.factor, across.T))
        deviation = np.sqrt(np.maximum(variance, JITTER))
        z = (mean - self.y.max()) / deviation
        improvement: Array = deviation * (z * norm.cdf(z) + norm.pdf(z))
        return improvement

    def chance(self, codes: list[Code], tried: list[Code], worked: Array) -> Array:
        """How likely an evaluation is to work: the share that did among those tried, near ones counting most."""
        differs = np.asarray(codes)[:, None, :] != np.asarray(tried)[None]  # (n, m, D)
        near: Array = np.exp(-differs.astype(float) @ np.exp(self.log[: differs.shape[2]]))
        share: Array = (near @ worked + worked.mean()) / (near.sum(1) + 1)
        return share

    def _between(self, x: Array, counts: Array) -> tuple[Array, Array]:
        differs = np.stack([x[:, d, None] != self.x[None, :, d] for d in range(x.shape[1])])  # (D, n, m)
        squares = (counts**2).sum(1)[:, None] + (self.counts**2).sum(1)[None] - 2 * counts @ self.counts.T
        return differs.astype(float), np.maximum(squares, 0)

    def _kernel(self, log: Array, differs: Array, far: Array) -> Array:
        weights, a, g, b = np.exp(log[:-4]), float(np.exp(log[-4])), float(np.exp(log[-3])), float(np.exp(log[-2]))
        places: Array = a * np.exp(-np.tensordot(weights, differs, 1))
        return places + b * np.exp(-g * far) if self.counts.shape[1] else places

    def _noise(self, log: Array) -> Array:
        return (float(np.exp(log[-1])) + JITTER) * np.eye(len(self.y))

    def _loss(self, log: Array, differs: Array, far: Array) -> float:
        """Minus the logarithm of the posterior of the kernel's numbers."""
        matrix = self._kernel(log, differs, far) + self._noise(log)
        try:
            low = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return float(np.finfo(np.float64).max ** 0.5)
        z = np.linalg.solve(low, self.y)
        prior = np.square((log - self.prior) / PRIOR_WIDTH).sum()
        return float(0.5 * z @ z + np.log(np.diag(low)).sum() + 0.5 * prior)
