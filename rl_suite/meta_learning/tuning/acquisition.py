"""Which point optuna's Gaussian process proposes: by expected improvement, its probability, or an upper bound."""

import warnings
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna._gp import acqf as acquisitions
from optuna.samplers import GPSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

Acquisition = Literal["ei", "ucb", "pi"]
STUDY = "search"  # the only one of a storage
ACQUISITIONS = ("ei", "ucb", "pi")


class AcquisitionSampler(GPSampler):
    """optuna's ``GPSampler`` (Matern 5/2, lengths per parameter) with a choice of the acquisition function.

    Args:
        kind: ``"ei"`` is the engine's own logarithmic expected improvement (Ament et al. 2023, arXiv:2310.20708);
            ``"pi"`` the logarithm of the probability of an improvement; ``"ucb"`` mean + ``weight`` deviations.
        weight: of the deviation, for ``"ucb"``.
        seed: of every draw.
        n_initial_points: random points first.
    """

    def __init__(self, kind: Acquisition, weight: float, seed: int, n_initial_points: int):
        super().__init__(seed=seed, n_startup_trials=n_initial_points, warn_independent_sampling=False)
        self.kind, self.weight = kind, weight

    def _optimize_acqf(self, acqf: Any, best_params: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The engine's search for the best point, of another function where one is asked for."""
        if self.kind != "ei" and self._gprs_cache_list is not None:
            process = self._gprs_cache_list[0]
            if self.kind == "ucb":
                acqf = acquisitions.UCB(process, acqf.search_space, beta=self.weight**2)
            else:
                acqf = acquisitions.LogPI(process, acqf.search_space, threshold=acqf._threshold)
        found: NDArray[np.float64] = super()._optimize_acqf(acqf, best_params)
        return found


def open_study(storage: BaseStorage, direction: StudyDirection) -> optuna.Study:
    """The search that the storage holds, or a fresh one; optuna says nothing about it."""
    loudness = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(storage=storage, study_name=STUDY, direction=direction, load_if_exists=True)
    finally:
        optuna.logging.set_verbosity(loudness)


def ask_quietly(study: optuna.Study, ranges: dict[str, Any]) -> optuna.trial.Trial:
    """A new trial with values for all parameters."""
    with warnings.catch_warnings():  # of optional speed-ups that are not installed
        warnings.simplefilter("ignore")
        return study.ask(ranges)
