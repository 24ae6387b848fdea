"""Architectures in the order of how much of the mixture they hold, and the check that it has not collapsed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.tuning.cells import EDGES, NONE, SKIP, CellSpace
from rl_suite.meta_learning.tuning.darts.supernet import ORDERS, Order, train_mixture
from rl_suite.meta_learning.tuning.darts.task import CellTask
from rl_suite.meta_learning.tuning.spaces import Code, Space
from rl_suite.meta_learning.tuning.strategies import Strategy, draw_fresh
from rl_suite.progress import tell

SEARCH_STEPS = 200  # of the supernet
MOST_SKIPS = 0.5
"""Share of the edges that may be skips. Supernets prefer skips as training goes on, because they ease the training of
what lies behind them, and cells of skips are poor (Zela et al. 2020, arXiv:1909.09656)."""


class GradientSearch(Strategy):
    """Trains a supernet once; proposes the cell with the largest shares of its mixture, then the next ones.

    The supernet has the smallest depth and width of the space, and so have the architectures that are proposed.
    """

    def __init__(self, space: Space, order: Order = "first"):
        if not isinstance(space, CellSpace):
            raise UserError("darts needs a space of cells: create_nas_search_space(...)")
        require_known(order, ORDERS, "order")
        super().__init__(space)
        self.cells, self.order = space, order
        self.mixture: NDArray[np.float64] | None = None
        self.ranked: list[Code] = []

    def prepare(self, evaluate: Callable[..., Any], rng: np.random.Generator) -> None:
        """Train the supernet, the first time."""
        if not isinstance(evaluate, CellTask):
            raise UserError("darts differentiates through a supernet: evaluate with a CellTask, which holds the data")
        if self.mixture is not None:
            return
        layers, width = (self.cells.choices[name][0] for name in ("num_layers", "channels"))
        seed = int(rng.integers(2**31))
        mixture = train_mixture(self.cells, evaluate, layers, width, SEARCH_STEPS, self.order, seed)
        self.mixture = mixture.double().numpy()
        self.ranked = rank_cells(self.cells, self.mixture)
        if self.summary()["collapsed"]:
            tell(
                f"darts: {self.summary()['skip_share']:.0%} of the best cell are skip connections, which ease the "
                "training of a supernet and make poor cells: trust its first choice less than what was evaluated"
            )

    def propose(self, rng: np.random.Generator, fresh: Callable[[Code], bool]) -> Code:
        """The fresh cell with the largest shares."""
        for place, code in enumerate(self.ranked):
            if fresh(code):
                self.ranked = self.ranked[place:]
                return code
        return draw_fresh(self.space, rng, fresh)

    def summary(self) -> dict[str, Any]:
        """Share of skips in the cell that the mixture prefers, and whether that is a collapse."""
        if self.mixture is None:
            return {}
        share = skip_share(preferred(self.cells, self.mixture))
        return {"order": self.order, "skip_share": share, "collapsed": share >= MOST_SKIPS}


def names_of(space: CellSpace) -> tuple[str, ...]:
    """The operations that may be on an edge."""
    return space.choices[f"edge_{EDGES[0][0]}{EDGES[0][1]}"]


def preferred(space: CellSpace, mixture: NDArray[np.float64]) -> list[str]:
    """The operation with the largest share on each edge; "none" is not one, as in the paper."""
    names = names_of(space)
    shares = np.where(np.array(names) == NONE, -np.inf, mixture)
    return [names[int(place)] for place in shares.argmax(1)]


def skip_share(operations: Sequence[str]) -> float:
    """Share of the edges that are skips.

    >>> skip_share(["skip", "conv3", "skip", "skip", "conv1", "conv3"])
    0.5
    """
    return sum(name == SKIP for name in operations) / len(operations)


def rank_cells(space: CellSpace, mixture: NDArray[np.float64]) -> list[Code]:
    """All cells without "none" edges at the smallest depth and width, by the product of their shares."""
    names = np.array(names_of(space))
    allowed = np.flatnonzero(names != NONE)
    logs = mixture - np.log(np.exp(mixture).sum(1, keepdims=True))
    total = np.zeros(())
    for row in logs[:, allowed]:
        total = total[..., None] + row
    order = np.argsort(-total.reshape(-1), kind="stable")
    places = np.stack(np.unravel_index(order, total.shape), 1)
    return [(0, 0, *map(int, allowed[row])) for row in places]
