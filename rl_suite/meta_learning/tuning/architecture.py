"""Neural architecture search: any space, any evaluation, one budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from rl_suite.arguments import require_callable, require_kind, require_whole
from rl_suite.errors import UserError
from rl_suite.loading import require_counts, require_known
from rl_suite.meta_learning.tuning.darts.search import GradientSearch
from rl_suite.meta_learning.tuning.darts.supernet import Order
from rl_suite.meta_learning.tuning.evaluations import Attempt, Evaluate, Evaluation, attempt
from rl_suite.meta_learning.tuning.objectives import front
from rl_suite.meta_learning.tuning.spaces import SMALL, Architecture, Code, Space, as_space
from rl_suite.meta_learning.tuning.strategies import (
    AgingEvolution,
    LocalSearch,
    RandomSearch,
    Strategy,
    SurrogateSearch,
)
from rl_suite.progress import ProgressBar
from rl_suite.sweeps.executor import map_jobs

POPULATION = 50
ALGORITHMS = ("random", "evolutionary", "local", "bayesian")
"""Those that know of an evaluation only what it returns."""
DARTS = "darts"
FOR_ONE = ("local", DARTS)  # algorithms for one objective
DIRECTIONS = ("max", "min")


class NeuralArchitectureSearch:
    """Looks for the architecture of the highest value.

    Args:
        search_space_config: a mapping of names to lists of choices, or a space (:func:`create_nas_search_space`).
        algorithm: ``"random"``, ``"evolutionary"`` (aging evolution), ``"local"``, ``"bayesian"`` (Gaussian process)
            or ``"darts"`` (by gradients, of a space of cells with a :class:`CellTask`).
        population_size: of the evolution.
        random_state: seed; the same seed, space and values give the same search.
        objectives: name -> ``"max"`` or ``"min"``, where an evaluation returns a mapping with several numbers, such as
            ``{"accuracy": "max", "parameters": "min"}``; :meth:`front` is then what the search is for, and the first
            name is what :meth:`best` goes by.
        darts_order: ``"first"`` (the default) or ``"second"``: whether the mixture's gradient goes through a step of
            the supernet's weights.

    Attributes:
        history: every evaluation, in the order in which they were proposed.
    """

    def __init__(
        self,
        search_space_config: Space | Mapping[str, Sequence[Any]],
        algorithm: str = "bayesian",
        population_size: int = POPULATION,
        random_state: int = 0,
        objectives: Mapping[str, str] | None = None,
        darts_order: Order | None = None,
    ):
        require_known(algorithm, (*ALGORITHMS, DARTS), "algorithm")
        require_counts(population_size=population_size)
        require_whole("random_state", random_state, 0)
        require_kind("objectives", {} if objectives is None else objectives, Mapping)
        for name, direction in (objectives or {}).items():
            require_known(direction, DIRECTIONS, f"direction of {name}")
        if objectives is not None and (len(objectives) < 2 or algorithm in FOR_ONE):
            raise UserError(f"objectives are two or more, for another algorithm than {' or '.join(FOR_ONE)}")
        if darts_order is not None and algorithm != DARTS:
            raise UserError(f"darts_order is read by {DARTS!r} only, not by {algorithm!r}")
        self.space, self.algorithm = as_space(search_space_config), algorithm
        self.population_size, self.random_state = population_size, random_state
        self.objectives = dict(objectives) if objectives else None
        self.history: list[Evaluation] = []
        self._known: set[str] = set()
        self._curves: list[tuple[float, ...]] = []
        self._rng = np.random.default_rng(random_state)
        self._strategy = self._make_strategy(darts_order)

    def _make_strategy(self, order: Order | None) -> Strategy:
        if self.algorithm == DARTS:
            return GradientSearch(self.space, order or "first")
        if self.algorithm == "evolutionary":
            return AgingEvolution(self.space, self.population_size)
        kinds: dict[str, Callable[[Space], Strategy]] = {
            "random": RandomSearch,
            "local": LocalSearch,
            "bayesian": SurrogateSearch,
        }
        return kinds[self.algorithm](self.space)

    def search_architecture(
        self,
        evaluation_function: Evaluate,
        num_evaluations: int = 100,
        verbose: bool = False,
        batch_size: int = 1,
        executor: str = "serial",
        workers: int | None = None,
    ) -> tuple[Architecture, float]:
        """Evaluate ``num_evaluations`` different architectures (fewer where the space has no more), and go on from
        what earlier calls found.

        An architecture whose value is NaN or whose evaluation raises has failed: that is recorded, and the search goes
        on. The same architecture in another spelling is not evaluated again. An evaluation that yields a value now and
        then, such as the accuracy after each epoch, is ended early where it is worse than half of the others were then.

        Args:
            evaluation_function: an architecture -> a number, higher is better, of validation and not of test data; or
                a generator of such numbers, whose last one counts; or a mapping with the ``objectives``.
            num_evaluations: how many evaluations are paid for.
            verbose: whether a progress bar is shown.
            batch_size: how many are chosen before the first of them is evaluated. The search depends on it, and not
                on the executor.
            executor: ``"serial"`` or ``"processes"`` (:func:`rl_suite.sweeps.executor.map_jobs`).
            workers: evaluations at the same time; as many as there are cores by default.

        Returns:
            The best architecture and its value.

        Raises:
            UserError: no budget, or every evaluation failed.
        """
        require_counts(num_evaluations=num_evaluations, batch_size=batch_size)
        require_callable("evaluation_function", evaluation_function)
        self._strategy.prepare(evaluation_function, self._rng)
        with ProgressBar("architectures", num_evaluations if verbose else 0) as progress:
            done = 0
            while done < num_evaluations:
                codes = self._next_batch(min(batch_size, num_evaluations - done))
                if not codes:
                    break
                curves = tuple(self._curves)
                job = partial(attempt, evaluation_function, objectives=self.objectives, curves=curves)
                architectures = [self.space.decode(code) for code in codes]
                for code, found in zip(codes, map_jobs(job, architectures, executor, workers), strict=True):
                    self._record(code, found)
                done += len(codes)
                if verbose:
                    progress.update(done)
        return self.best()

    def best(self) -> tuple[Architecture, float]:
        """The best so far."""
        good = [item for item in self.history if math.isfinite(item.value)]
        if not good:
            said = next((f": {item.error}" for item in self.history if item.error), "")
            raise UserError(f"all {len(self.history)} evaluations failed{said}")
        sign = -1 if self.objectives and next(iter(self.objectives.values())) == "min" else 1
        found = max(good, key=lambda item: sign * item.value)
        return dict(found.architecture), found.value

    def front(self) -> list[Evaluation]:
        """The evaluations that no other one beats: as good in every objective and better in one."""
        good = [item for item in self.history if math.isfinite(item.value)]
        return [good[place] for place in front([item.ranked for item in good])] if good else []

    def best_so_far(self) -> list[float]:
        """The best value (of several, the first objective) after each evaluation; NaN until one succeeded."""
        down = self.objectives and next(iter(self.objectives.values())) == "min"
        better = np.fmin if down else np.fmax
        values = better.accumulate([item.value for item in self.history]) if self.history else np.zeros(0)
        return [float(value) for value in values]

    def get_search_summary(self) -> dict[str, Any]:
        """What was evaluated and how much it helped."""
        curve = self.best_so_far()
        finite = [value for value in curve if math.isfinite(value)]
        changed = sum(later != earlier for earlier, later in pairwise(finite))
        return {
            "algorithm": self.algorithm,
            "total_evaluations": len(self.history),
            "failed_evaluations": sum(not math.isfinite(item.value) for item in self.history),
            "stopped_early": sum(item.stopped for item in self.history),
            "best_performance": finite[-1] if finite else math.nan,
            "search_efficiency": {
                "improvement_rate": changed / max(1, len(finite) - 1),
                "total_improvement": finite[-1] - finite[0] if finite else math.nan,
            },
            **self._strategy.summary(),
        }

    def _next_batch(self, size: int) -> list[Code]:
        """Codes that were not paid for, fewer where fewer are left."""
        codes: list[Code] = []
        while len(codes) < size:
            code = self._next()
            if code is None:
                break
            self._known.add(self.space.key(code))
            self._strategy.wait(code)
            codes.append(code)
        return codes

    def _next(self) -> Code | None:
        """A code that was not paid for, or None where none is left."""
        code = self._strategy.propose(self._rng, self._is_fresh)
        if self._is_fresh(code):
            return code
        if self.space.size > SMALL:
            return None
        left = [code for code in self.space.all() if self._is_fresh(code)]
        return left[int(self._rng.integers(len(left)))] if left else None

    def _is_fresh(self, code: Code) -> bool:
        return self.space.key(code) not in self._known

    def _record(self, code: Code, found: Attempt) -> None:
        if found.curve and not found.stopped:
            self._curves.append(found.curve)
        item = Evaluation.of(self.space.decode(code), self.space.key(code), found, self.objectives)
        self.history.append(item)
        self._strategy.learn(code, item.ranked if math.isfinite(item.value) else None)
