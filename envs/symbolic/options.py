"""All options of the symbolic regression world, and what follows from them: data, library, rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from envs.symbolic.datasets import Dataset, Task, common_variables, make_datasets
from envs.symbolic.grammar import Rules
from envs.symbolic.tokens import Library


@dataclass(frozen=True, eq=False)
class Options:
    """What ``gym.make("rl_suite/SymbolicRegression-v0", ...)`` accepts beside its splits of tasks.

    The docstring of ``SymbolicRegression`` says what the words mean. Raises ValueError for numbers out of their
    range, TypeError for an unknown name.

    >>> Options(constant=True).max_constants
    3
    """

    task: Task | Sequence[Task] = "nguyen"
    X: NDArray[Any] | None = None  # (n, d) own data
    y: NDArray[Any] | None = None  # (n,)
    variables: Sequence[str] | None = None
    units: bool | Mapping[str, str] = False
    target_units: str | None = None

    # The library and its grammar
    functions: str | Sequence[str] = "koza"
    literals: Sequence[str] = ()
    constant: bool = False
    max_constants: int = 3  # per program
    max_length: int = 30  # tokens
    rules: Mapping[str, Any] | None = None  # other fields of ``Rules``

    # The data
    noise: float = 0.0  # share of y's root mean square
    data_seed: int = 0
    n_points: int | None = None  # None: as many as the problem says
    shown_points: int = 20  # in the observation

    # Rewards
    parsimony: float = 0.0  # per unit of complexity
    shaping: float = 0.0
    gamma: float = 1.0  # of the shaping

    # The fit of constants
    restarts: int = 2
    max_iterations: int = 20

    show_task: bool = False
    expressions: bool = True  # whether ``info`` spells them out

    def __post_init__(self) -> None:
        if (self.X is None) != (self.y is None):
            raise ValueError("own data need both X (n, d) and y (n,)")
        if min(self.max_constants, self.restarts) < 0 or min(self.shown_points, self.max_iterations) < 1:
            raise ValueError("max_constants and restarts must be >= 0, shown_points and max_iterations >= 1")
        if self.parsimony < 0.0 or not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"parsimony must be >= 0 and gamma within 0..1, not {self.parsimony} and {self.gamma}")

    def make_datasets(self) -> list[Dataset]:
        """The data of every task."""
        if self.X is None or self.y is None:
            return make_datasets(self.task, self.data_seed, self.noise, self.n_points)
        units = self.units if isinstance(self.units, Mapping) else None
        return [
            Dataset.from_arrays(
                self.X, self.y, self.variables, units, self.target_units, free_constant=True, seed=self.data_seed
            )
        ]

    def make_library(self, datasets: Sequence[Dataset]) -> Library:
        """The tokens for these data."""
        return Library(self.functions, common_variables(datasets), self.literals, self.constant)

    def make_rules(self, library: Library) -> Rules:
        """What the grammar forbids; the limit on fitted constants is one of its repeats."""
        limits = {library.tokens[library.constant_id].name: self.max_constants} if self.constant else {}
        more = dict(self.rules or {})
        return Rules(max_length=self.max_length, repeats={**limits, **more.pop("repeats", {})}, **more)

    def most_constants(self, library: Library, rules: Rules) -> int:
        """Fitted constants that a legal program may hold, at least 1; with units, every leaf may have to be one."""
        if not self.constant:
            return max(1, self.max_constants)
        limit = (rules.repeats or {})[library.tokens[library.constant_id].name]
        leaves = (self.max_length + 1) // 2
        return max(1, limit if self.units is False else max(limit, leaves))
