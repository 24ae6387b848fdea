"""What a search is given: observations, and what it may use to explain them."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.units import Units
from rl_suite.symbolic.evolution.island import NICHES, Niche
from rl_suite.symbolic.forms.custom import Custom
from rl_suite.symbolic.laws.constraints import Constraints

Values = NDArray[np.float64]
DEFAULT_BUDGET = 500_000  # programs that a search without a configuration may evaluate; as in ``config.yaml``
SHIPPED = "shipped"  # stands for the prior that comes with the package; how it was made: docs/law_prior.md
AUTO = "auto"  # stands for the shipped prior where it is known to help, and for none elsewhere
HELPS_UP_TO = 10_000  # programs: in searches of so few at most, measured on all benchmark sets; docs/law_prior.md


@dataclass(frozen=True)
class Options:
    """What to search with; the defaults suit data of physics.

    They serve who searches without a configuration; ``config.yaml`` holds the same, and a test compares them.
    """

    functions: tuple[str, ...] = ("add", "sub", "mul", "div", "sq", "sqrt", "exp", "log", "sin", "cos", "tanh")
    literals: tuple[str, ...] = ("1", "2", "pi")
    constant: bool = False
    max_length: int = 32
    population: int = 400
    search_points: int = 200
    niches: tuple[Niche, ...] = NICHES
    polynomials: bool = True
    inner_constants: bool = True
    policy: bool = False
    stop_at_noise: bool = True
    known: str | None = None
    prior: Path | None = Path(AUTO)
    proposals: int = 100
    loss: str = "squared"
    custom: tuple[Custom, ...] = ()
    constraints: Constraints = field(default_factory=Constraints)

    def prior_within(self, budget: int) -> Path | None:
        """The prior that a search of so many programs asks, or None."""
        if self.prior is not None and str(self.prior) == AUTO:
            return Path(SHIPPED) if budget <= HELPS_UP_TO else None
        return self.prior


@dataclass(frozen=True)
class Data:
    """Points X (n, d), target y (n,), names, and units if they are known."""

    X: Values
    y: Values
    variables: tuple[str, ...]
    units: Units | None = None
    target: str = field(default="y")
    sets: NDArray[np.int64] | None = None
    """Number of the dataset of each row (n,), 0 .. S - 1: the law is the same, measured constants are not."""
    set_names: tuple[str, ...] = ("",)
    weights: Values | None = None
    """Weight of each row (n,), positive: 1/error**2 where errors are known; None: all alike."""
