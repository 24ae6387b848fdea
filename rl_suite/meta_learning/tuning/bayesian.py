"""Bayesian optimisation of settings: the seed's face on optuna's Gaussian process."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from rl_suite.errors import UserError
from rl_suite.loading import require_counts, require_known
from rl_suite.meta_learning.tuning.acquisition import (
    ACQUISITIONS,
    Acquisition,
    AcquisitionSampler,
    ask_quietly,
    open_study,
)
from rl_suite.meta_learning.tuning.architecture import FAILURES
from rl_suite.meta_learning.tuning.ranges import Conditions, Params, in_use, read_conditions, read_ranges
from rl_suite.progress import ProgressBar

INITIAL_POINTS = 10
DEVIATIONS = 2.0  # above the mean, for "ucb"

Objective = Callable[[Params], float]


class BayesianOptimizer:
    """Looks for the settings with the highest score.

    The points depend on the seed, the space and what was told, and on nothing else: a search that is read from
    ``storage`` goes on as if it had never stopped.

    Args:
        parameter_space: name -> ``(low, high)``, ``(low, high, "log")`` or a list of choices; whole bounds make whole
            numbers.
        acquisition_function: ``"ei"``, ``"ucb"`` or ``"pi"`` (:class:`AcquisitionSampler`).
        n_initial_points: random points first.
        exploration_weight: deviations above the mean, for ``"ucb"`` only; 2 by default.
        maximize: whether a high score is good.
        conditions: name -> (other name, values of it for which the name is used); otherwise it is left out.
        random_state: seed.
        storage: a file that keeps every evaluation; the search goes on from it.

    Raises:
        UserError: an empty space, inverted bounds, unknown names.
    """

    def __init__(
        self,
        parameter_space: Mapping[str, Any],
        acquisition_function: Acquisition = "ei",
        n_initial_points: int = INITIAL_POINTS,
        exploration_weight: float | None = None,
        maximize: bool = True,
        conditions: Conditions | None = None,
        random_state: int = 0,
        storage: str | Path | None = None,
    ):
        require_known(acquisition_function, ACQUISITIONS, "acquisition function")
        if exploration_weight is not None and acquisition_function != "ucb":
            raise UserError(f"exploration_weight is read by 'ucb' only, not by {acquisition_function!r}")
        require_counts(n_initial_points=n_initial_points)
        self.ranges = read_ranges(parameter_space)
        self.conditions = read_conditions(conditions or {}, self.ranges)
        self.acquisition, self.maximize, self.random_state = acquisition_function, maximize, random_state
        self.n_initial_points = n_initial_points
        self.exploration_weight = DEVIATIONS if exploration_weight is None else exploration_weight
        kept = InMemoryStorage() if storage is None else JournalStorage(JournalFileBackend(str(storage)))
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self.study = open_study(kept, direction)
        if self.study.direction is not direction:
            raise UserError(f"{storage}: holds a search in the other direction")
        self._asked: list[tuple[Params, optuna.trial.Trial]] = []

    def suggest_next_point(self) -> Params:
        """Settings to try next; several may be asked for before the first is told."""
        number = len(self.study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.random_state, number]).generate_state(1)[0])
        self.study.sampler = AcquisitionSampler(self.acquisition, self.exploration_weight, seed, self.n_initial_points)
        trial = ask_quietly(self.study, self.ranges)
        params = in_use(trial.params, self.conditions)
        self._asked.append((params, trial))
        return dict(params)

    def suggest_batch(self, size: int) -> list[Params]:
        """Settings to try at the same time; each knows that the others are being tried."""
        require_counts(size=size)
        return [self.suggest_next_point() for _ in range(size)]

    def tell(self, params: Mapping[str, Any], score: float, constraints: Sequence[float] = ()) -> None:
        """What a point was worth, one that was suggested or any other of the space.

        Args:
            params: the settings.
            score: NaN or infinity: the evaluation failed.
            constraints: numbers that must not be above 0; the search learns where they are not.
        """
        trial = self._take(params)
        failed = not math.isfinite(score)
        if trial is None:
            plain = {name: params[name] for name in self.ranges if name in params}
            missing = [name for name in self.ranges if name not in params and name not in self.conditions]
            if missing or len(plain) < len(params):
                raise UserError(f"told settings must name {', '.join(self.ranges)}, not {', '.join(params)}")
            given = {name: self.ranges[name] for name in plain}
            state = TrialState.FAIL if failed else TrialState.COMPLETE
            told = create_trial(state=state, value=None if failed else float(score), params=plain, distributions=given)
            self.study.add_trial(told)
            return
        for place, value in enumerate(constraints):
            trial.set_constraint(str(place), float(value))
        self.study.tell(trial, None if failed else float(score), TrialState.FAIL if failed else None)

    def optimize(
        self,
        objective_function: Objective,
        n_iterations: int = 50,
        verbose: bool = False,
    ) -> tuple[Params, float]:
        """Evaluate ``n_iterations`` points and return the best settings and their score so far.

        A score that is no number, or an evaluation that raises, is recorded as failed, and the search goes on.

        Raises:
            UserError: no budget, or every evaluation failed.
        """
        require_counts(n_iterations=n_iterations)
        with ProgressBar("settings", n_iterations if verbose else 0) as progress:
            for done in range(n_iterations):
                params = self.suggest_next_point()
                try:
                    score = float(objective_function(dict(params)))
                except FAILURES:
                    score = math.nan
                self.tell(params, score)
                if verbose:
                    progress.update(done + 1)
        return self.best()

    def best(self) -> tuple[Params, float]:
        """The best settings and their score."""
        done = [trial for trial in self._trials() if trial.state is TrialState.COMPLETE]
        allowed = [trial for trial in done if all(value <= 0 for value in _constraints(trial))]
        if not allowed:
            raise UserError("no evaluation succeeded" if not done else "no evaluation kept to the constraints")
        sign = 1 if self.maximize else -1
        found = max(allowed, key=lambda trial: sign * (trial.value or 0.0))
        return in_use(found.params, self.conditions), float(found.value or 0.0)

    def get_optimization_history(self) -> list[dict[str, Any]]:
        """Every evaluation in order: ``params``, ``score`` (NaN where it failed), ``best_score`` so far."""
        history: list[dict[str, Any]] = []
        better = max if self.maximize else min
        best = math.nan
        for trial in self._trials():
            if trial.state not in (TrialState.COMPLETE, TrialState.FAIL):
                continue
            score = math.nan if trial.value is None else float(trial.value)
            if math.isfinite(score):
                best = score if math.isnan(best) else better(best, score)
            history.append({"params": in_use(trial.params, self.conditions), "score": score, "best_score": best})
        return history

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _take(self, params: Mapping[str, Any]) -> optuna.trial.Trial | None:
        for place, (asked, trial) in enumerate(self._asked):
            if asked == dict(params):
                del self._asked[place]
                return trial
        return None


def _constraints(trial: FrozenTrial) -> list[float]:
    return [float(value) for value in trial.constraints.values()]
