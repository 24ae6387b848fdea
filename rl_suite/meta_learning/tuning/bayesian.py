"""Bayesian optimisation of settings: the seed's face on optuna's Gaussian process."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from rl_suite.arguments import require_callable, require_flag, require_kind, require_number, require_whole
from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, require_counts, require_known
from rl_suite.meta_learning.tuning.acquisition import (
    ACQUISITIONS,
    Acquisition,
    AcquisitionSampler,
    ask_quietly,
    open_study,
)
from rl_suite.meta_learning.tuning.evaluations import Attempt, attempt
from rl_suite.meta_learning.tuning.journal import Journal, open_kept_study
from rl_suite.meta_learning.tuning.ranges import (
    Conditions,
    Params,
    in_use,
    read_conditions,
    read_ranges,
    require_inside,
)
from rl_suite.progress import ProgressBar
from rl_suite.sweeps.executor import map_jobs

INITIAL_POINTS = 10
ENGINES = ("optuna", "botorch")
DEVIATIONS = 2.0  # above the mean, for "ucb"

STOPPED = "stopped"  # mark of a trial that was ended early

Objective = Callable[[Params], Any]
"""Settings -> a score, or a generator of scores."""


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
        storage: a file that keeps every evaluation; the search goes on from it, and :meth:`optimize` first finishes
            the points whose evaluation was cut short. One process at a time.
        engine: ``"optuna"``, or ``"botorch"`` where that extra is installed; the latter knows no constraints.

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
        engine: str = "optuna",
    ):
        require_known(engine, ENGINES, "engine")
        self.engine = engine
        require_known(acquisition_function, ACQUISITIONS, "acquisition function")
        if exploration_weight is not None and acquisition_function != "ucb":
            raise UserError(f"exploration_weight is read by 'ucb' only, not by {acquisition_function!r}")
        require_counts(n_initial_points=n_initial_points)
        require_flag("maximize", maximize)
        require_whole("random_state", random_state, 0)
        if exploration_weight is not None:
            require_number("exploration_weight", exploration_weight, 0.0)
        self.ranges = read_ranges(parameter_space)
        self.conditions = read_conditions({} if conditions is None else conditions, self.ranges)
        self.acquisition, self.maximize, self.random_state = acquisition_function, maximize, random_state
        self.n_initial_points = n_initial_points
        self.exploration_weight = DEVIATIONS if exploration_weight is None else float(exploration_weight)
        direction = StudyDirection.MAXIMIZE if maximize else StudyDirection.MINIMIZE
        self.journal = None if storage is None else Journal(Path(storage))
        self.study = (
            open_study(InMemoryStorage(), direction)
            if self.journal is None
            else open_kept_study(self.journal, direction)
        )
        if self.study.direction is not direction:
            raise UserError(f"{storage}: holds a search in the other direction")
        self._asked: list[tuple[Params, optuna.trial.Trial]] = []
        for trial in self._trials():
            if trial.state is TrialState.RUNNING:
                self._ask_again(trial)

    def __len__(self) -> int:
        """Points that were asked for or told."""
        return len(self._trials())

    def suggest_next_point(self) -> Params:
        """Settings to try next; several may be asked for before the first is told."""
        number = len(self)
        seed = int(np.random.SeedSequence([self.random_state, number]).generate_state(1)[0])
        self.study.sampler = self._sampler(seed)
        with self._at_once():
            trial = ask_quietly(self.study, self.ranges)
        params = in_use(trial.params, self.conditions)
        self._asked.append((params, trial))
        return dict(params)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """The engine's, for one suggestion."""
        settings = self.acquisition, self.exploration_weight, seed, self.n_initial_points
        if self.engine == "optuna":
            return AcquisitionSampler(*settings)
        from rl_suite.meta_learning.tuning.botorch_engine import BoTorchSampler  # an extra

        return BoTorchSampler(*settings)

    def suggest_batch(self, size: int) -> list[Params]:
        """Settings to try at the same time; each knows that the others are being tried."""
        require_counts(size=size)
        with self._at_once():
            return [self.suggest_next_point() for _ in range(size)]

    def tell(self, params: Mapping[str, Any], score: float, constraints: Sequence[float] = ()) -> None:
        """What a point was worth, one that was suggested or any other of the space.

        Args:
            params: the settings.
            score: NaN or infinity: the evaluation failed.
            constraints: numbers that must not be above 0; the search learns where they are not.
        """
        require_kind("params", params, Mapping)
        score, constraints = self._told(score, constraints)
        trial = self._take(params)
        failed = not math.isfinite(score)
        if trial is None:
            plain = {name: params[name] for name in self.ranges if name in params}
            missing = [name for name in self.ranges if name not in params and name not in self.conditions]
            if missing or len(plain) < len(params):
                wanted, named = (", ".join(map(str, names)) for names in (self.ranges, params))
                raise UserError(f"told settings must name {wanted}, not {named}")
            given = {name: self.ranges[name] for name in plain}
            for name, value in plain.items():
                require_inside(name, value, given[name])
            state = TrialState.FAIL if failed else TrialState.COMPLETE
            told = create_trial(state=state, value=None if failed else float(score), params=plain, distributions=given)
            self.study.add_trial(told)
            return
        for place, value in enumerate(constraints):
            trial.set_constraint(str(place), float(value))
        self.study.tell(trial, None if failed else float(score), TrialState.FAIL if failed else None)

    def _told(self, score: Any, constraints: Any) -> tuple[float, list[float]]:
        """Both as plain numbers; as many constraints as ever."""
        require_kind("constraints", constraints, Sequence)
        numbers = [score, *constraints]
        if isinstance(constraints, str | bytes) or not all(isinstance(number, Real) for number in numbers):
            raise UserError(f"a score and its constraints are numbers, not {BRIEF.repr(numbers)}")
        known = {len(_constraints(trial)) for trial in self._trials() if trial.state is TrialState.COMPLETE}
        if known and known != {len(constraints)}:
            raise UserError(
                f"every point is told with as many constraints: {max(known)} before, {len(constraints)} now"
            )
        return float(score), [float(number) for number in constraints]

    def optimize(
        self,
        objective_function: Objective,
        n_iterations: int = 50,
        verbose: bool = False,
        batch_size: int = 1,
        executor: str = "serial",
        workers: int | None = None,
    ) -> tuple[Params, float]:
        """Evaluate ``n_iterations`` points and return the best settings and their score so far.

        A score that is no number, or an evaluation that raises, is recorded as failed, and the search goes on. An
        objective that yields scores while it works is ended early where it is worse than half of the others were then
        (:func:`rl_suite.meta_learning.tuning.evaluations.is_behind`).

        Args:
            objective_function: settings -> a score, or a generator of scores whose last one counts.
            n_iterations: how many points are paid for.
            verbose: whether a progress bar is shown.
            batch_size: points that are proposed together. The search depends on it, and not on the executor.
            executor: ``"serial"`` or ``"processes"``.
            workers: evaluations at the same time; as many as there are cores by default.

        Raises:
            UserError: no budget, or every evaluation failed.
        """
        require_counts(n_iterations=n_iterations, batch_size=batch_size)
        require_callable("objective_function", objective_function)
        with ProgressBar("settings", n_iterations if verbose else 0) as progress:
            done = 0
            while done < n_iterations:
                done += self.evaluate_batch(objective_function, min(batch_size, n_iterations - done), executor, workers)
                if verbose:
                    progress.update(done)
        return self.best()

    def evaluate_batch(
        self, objective_function: Objective, size: int, executor: str = "serial", workers: int | None = None
    ) -> int:
        """Evaluate points that are waiting, or else ``size`` that are suggested now; returns how many."""
        batch = [dict(params) for params, _ in self._asked[:size]]  # what was cut short comes first
        batch = batch or self.suggest_batch(size)
        sign = 1.0 if self.maximize else -1.0
        job = partial(attempt, objective_function, objectives=None, curves=self._curves(), sign=sign)
        found = list(map_jobs(job, batch, executor, workers))
        with self._at_once():  # what a kill leaves is whole batches, so that the search goes on with the same bits
            for params, each in zip(batch, found, strict=True):
                self._keep(params, each)
        return len(batch)

    def propose(self, params: Mapping[str, Any]) -> None:
        """Let :meth:`optimize` evaluate a point of one's own next."""
        require_kind("params", params, Mapping)
        if set(params) != set(self.ranges):
            raise UserError(f"a point names {', '.join(map(str, self.ranges))}, not {', '.join(map(str, params))}")
        for name, value in params.items():
            require_inside(name, value, self.ranges[name])
        with self._at_once():
            self.study.enqueue_trial(dict(params))
            self._asked.append((in_use(params, self.conditions), ask_quietly(self.study, self.ranges)))

    def _at_once(self) -> AbstractContextManager[None]:
        """What the search is told meanwhile is kept as a whole or not at all."""
        return nullcontext() if self.journal is None else self.journal.together()

    def _keep(self, params: Params, found: Attempt) -> None:
        """Tell what came of an attempt, with the scores that it yielded."""
        trial = next(trial for asked, trial in self._asked if asked == params)
        for step, value in enumerate(found.curve):
            if math.isfinite(value):
                trial.report(value, step)
        if found.stopped:
            trial.set_user_attr(STOPPED, True)
        self.tell(params, found.values.get("", math.nan))

    def _curves(self) -> tuple[tuple[float, ...], ...]:
        """What the evaluations that were not ended early yielded."""
        whole = [t for t in self._trials() if t.state is TrialState.COMPLETE and not t.user_attrs.get(STOPPED)]
        return tuple(tuple(value for _, value in sorted(t.intermediate_values.items())) for t in whole)

    def _ask_again(self, trial: FrozenTrial) -> None:
        """Take over a point of an earlier process; one that it had not chosen in full counts as failed."""
        asked = optuna.trial.Trial(self.study, trial._trial_id)
        if set(trial.params) == set(self.ranges):
            self._asked.append((in_use(trial.params, self.conditions), asked))
        else:
            self.study.tell(asked, state=TrialState.FAIL)

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
        """Every evaluation in order: ``params``, ``score`` (NaN where it failed), ``best_score`` so far, ``stopped``:
        whether it was ended early."""
        history: list[dict[str, Any]] = []
        better = max if self.maximize else min
        best = math.nan
        for trial in self._trials():
            if trial.state not in (TrialState.COMPLETE, TrialState.FAIL):
                continue
            score = math.nan if trial.value is None else float(trial.value)
            if math.isfinite(score):
                best = score if math.isnan(best) else better(best, score)
            item = {"params": in_use(trial.params, self.conditions), "score": score, "best_score": best}
            history.append({**item, "stopped": bool(trial.user_attrs.get(STOPPED))})
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
