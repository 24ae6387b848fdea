"""Neural architecture search: any space, any evaluation, one budget."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from rl_suite.errors import UserError
from rl_suite.loading import require_counts, require_known
from rl_suite.meta_learning.tuning.spaces import SMALL, Architecture, Code, Space, as_space
from rl_suite.meta_learning.tuning.strategies import (
    AgingEvolution,
    LocalSearch,
    RandomSearch,
    Strategy,
    SurrogateSearch,
)
from rl_suite.progress import ProgressBar

POPULATION = 50
ALGORITHMS = ("random", "evolutionary", "local", "bayesian")
FAILURES = (ArithmeticError, ValueError, TypeError, LookupError, RuntimeError, MemoryError, UserError)
"""What an evaluation may raise without ending the search: a network that cannot be built, or does not fit."""

Evaluate = Callable[[Architecture], float]


class Evaluation(NamedTuple):
    """One architecture that was paid for."""

    architecture: Architecture
    value: float
    """NaN: it failed."""
    key: str
    """Its canonical form."""
    error: str = ""
    """Why it failed, if it raised."""


class NeuralArchitectureSearch:
    """Looks for the architecture of the highest value.

    Args:
        search_space_config: a mapping of names to lists of choices, or a space (:func:`create_nas_search_space`).
        algorithm: ``"random"``, ``"evolutionary"`` (aging evolution), ``"local"`` or ``"bayesian"`` (Gaussian process).
        population_size: of the evolution.
        random_state: seed; the same seed, space and values give the same search.

    Attributes:
        history: every evaluation, in order.
    """

    def __init__(
        self,
        search_space_config: Space | Mapping[str, Sequence[Any]],
        algorithm: str = "bayesian",
        population_size: int = POPULATION,
        random_state: int = 0,
    ):
        require_known(algorithm, ALGORITHMS, "algorithm")
        require_counts(population_size=population_size)
        self.space, self.algorithm = as_space(search_space_config), algorithm
        self.population_size, self.random_state = population_size, random_state
        self.history: list[Evaluation] = []
        self._known: dict[str, float] = {}
        self._rng = np.random.default_rng(random_state)
        self._strategy = self._make_strategy()

    def _make_strategy(self) -> Strategy:
        if self.algorithm == "evolutionary":
            return AgingEvolution(self.space, self.population_size)
        kinds: dict[str, Callable[[Space], Strategy]] = {
            "random": RandomSearch,
            "local": LocalSearch,
            "bayesian": SurrogateSearch,
        }
        return kinds[self.algorithm](self.space)

    def search_architecture(
        self, evaluation_function: Evaluate, num_evaluations: int = 100, verbose: bool = False
    ) -> tuple[Architecture, float]:
        """Evaluate ``num_evaluations`` different architectures (fewer where the space has no more), and go on from
        what earlier calls found.

        An architecture whose value is NaN or whose evaluation raises has failed: that is recorded, and the search goes
        on. The same architecture in another spelling is not evaluated again.

        Args:
            evaluation_function: an architecture -> a number, higher is better, of validation and not of test data.
            num_evaluations: how many evaluations are paid for.
            verbose: whether a progress bar is shown.

        Returns:
            The best architecture and its value.

        Raises:
            UserError: no budget, or every evaluation failed.
        """
        require_counts(num_evaluations=num_evaluations)
        with ProgressBar("architectures", num_evaluations if verbose else 0) as progress:
            for done in range(num_evaluations):
                code = self._next()
                if code is None:
                    break
                self._evaluate(code, evaluation_function)
                if verbose:
                    progress.update(done + 1)
        return self.best()

    def best(self) -> tuple[Architecture, float]:
        """The best so far."""
        good = [item for item in self.history if math.isfinite(item.value)]
        if not good:
            said = next((f": {item.error}" for item in self.history if item.error), "")
            raise UserError(f"all {len(self.history)} evaluations failed{said}")
        found = max(good, key=lambda item: item.value)
        return dict(found.architecture), found.value

    def best_so_far(self) -> list[float]:
        """The best value after each evaluation; NaN until one succeeded."""
        values = np.fmax.accumulate([item.value for item in self.history]) if self.history else np.zeros(0)
        return [float(value) for value in values]

    def get_search_summary(self) -> dict[str, Any]:
        """What was evaluated and how much it helped."""
        curve = self.best_so_far()
        finite = [value for value in curve if math.isfinite(value)]
        better = sum(later > earlier for earlier, later in pairwise(finite))
        return {
            "algorithm": self.algorithm,
            "total_evaluations": len(self.history),
            "failed_evaluations": sum(not math.isfinite(item.value) for item in self.history),
            "best_performance": finite[-1] if finite else math.nan,
            "search_efficiency": {
                "improvement_rate": better / max(1, len(finite) - 1),
                "total_improvement": finite[-1] - finite[0] if finite else math.nan,
            },
        }

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

    def _evaluate(self, code: Code, function: Evaluate) -> None:
        key, error = self.space.key(code), ""
        try:
            value = float(function(self.space.decode(code)))
        except FAILURES as problem:
            value, error = math.nan, f"{type(problem).__name__}: {problem}"
        value = value if math.isfinite(value) else math.nan
        self._known[key] = value
        self.history.append(Evaluation(self.space.decode(code), value, key, error))
        self._strategy.learn(code, value)
