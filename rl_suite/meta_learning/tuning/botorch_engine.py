"""The same search on BoTorch's Gaussian processes (extra ``botorch``): a peer of the engine that comes with optuna."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.tuning.acquisition import Acquisition
from rl_suite.meta_learning.tuning.unit_cube import UnitCube

RESTARTS, RAW_POINTS = 5, 256  # of the search for the best point
SAMPLES = 128  # of the posterior, for points that know of others being tried


class BoTorchSampler(BaseSampler):
    """Matern 5/2 with lengths per parameter (``SingleTaskGP``), whose acquisition function is climbed by gradients.

    Balandat et al. 2020, arXiv:1910.06403. Choices are one column each, of which the largest counts.

    Args:
        kind: ``"ei"`` (logarithmic, Ament et al. 2023), ``"ucb"`` or ``"pi"``.
        weight: deviations above the mean, for ``"ucb"``.
        seed: of every draw.
        n_initial_points: random points first.

    Raises:
        UserError: BoTorch is not installed.
    """

    def __init__(self, kind: Acquisition, weight: float, seed: int, n_initial_points: int):
        _load()
        self.kind, self.weight, self.seed, self.n_initial_points = kind, weight, seed, n_initial_points
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What all finished trials chose."""
        found = intersection_search_space(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        return {name: given for name, given in found.items() if not given.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point whose acquisition is highest; nothing while points are random."""
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < self.n_initial_points or not search_space:
            return {}
        if any(each.constraints for each in done):
            raise UserError("engine='botorch' knows no constraints; use the engine 'optuna'")
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        tried = [t for t in running if t.number != trial.number and set(search_space) <= set(t.params)]
        cube = UnitCube(search_space)
        points, pending = (cube.encode([t.params for t in each]) for each in (done, tried))
        sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
        scores = torch.tensor([[sign * float(t.value or 0.0)] for t in done], dtype=torch.double)
        with torch.random.fork_rng(devices=()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that are tried again
            torch.manual_seed(self.seed)
            found = self._climb(torch.from_numpy(points), scores, torch.from_numpy(pending))
        return cube.decode(found)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _climb(self, points: Tensor, scores: Tensor, pending: Tensor) -> NDArray[np.float64]:
        """The best next point (d,) for points (n, d) and scores (n, 1), while ``pending`` (m, d) are being tried."""
        botorch, mlls = _load()
        spread = scores.std()
        scores = (scores - scores.mean()) / (spread if len(scores) > 1 and spread > 0 else 1.0)
        model = botorch.models.SingleTaskGP(points, scores, outcome_transform=None)
        botorch.fit.fit_gpytorch_mll(mlls.ExactMarginalLogLikelihood(model.likelihood, model))
        sampler = botorch.sampling.SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=self.seed)
        common = {"model": model, "sampler": sampler, "X_pending": pending if len(pending) else None}
        acquisitions = botorch.acquisition
        if self.kind == "ucb":
            function = acquisitions.qUpperConfidenceBound(beta=self.weight**2, **common)
        else:
            kinds = {"ei": acquisitions.qLogExpectedImprovement, "pi": acquisitions.qProbabilityOfImprovement}
            function = kinds[self.kind](best_f=scores.max(), **common)
        bounds = torch.stack([torch.zeros(points.shape[1]), torch.ones(points.shape[1])]).double()
        best, _ = botorch.optim.optimize_acqf(function, bounds, 1, RESTARTS, RAW_POINTS)
        return np.asarray(best[0].detach().numpy())


def _load() -> tuple[Any, Any]:
    """BoTorch with what is used of it, and GPyTorch's likelihoods."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies
            import botorch
            import botorch.acquisition
            import botorch.fit
            import botorch.models
            import botorch.optim
            import botorch.sampling
            import gpytorch.mlls
    except ImportError:
        raise UserError('engine="botorch" needs the extra: pip install "rl_suite[botorch]"') from None
    return botorch, gpytorch.mlls
