"""The data as islands see them: the rows that programs are bred on, all rows, and the transformed targets of both."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from rl_suite.symbolic.data import Data, Values
from rl_suite.symbolic.evolution.frames import TRANSFORMS, Target, make_target
from rl_suite.symbolic.evolution.genome import Alphabet, Dimensions
from rl_suite.symbolic.evolution.island import Niche
from rl_suite.symbolic.evolution.scoring import Scorer
from rl_suite.symbolic.forms.inputs import Inputs

Rows = tuple[Values, Values, Values | None]  # columns for programs (n, c), target (n,), weights of one dataset
MIN_SET_ROWS = 20  # of each of several datasets, for breeding


class Landscape:
    """Rows and targets; :meth:`use` chooses the rows.

    Args:
        inputs: the columns of programs.
        alphabet: tokens of the programs.
        max_length: of a program.
        order: a random order of all rows (n,), of which the first are bred on.
    """

    def __init__(self, inputs: Inputs, alphabet: Alphabet, max_length: int, order: NDArray[np.int64]):
        self._inputs, self._alphabet, self._max_length, self._order = inputs, alphabet, max_length, order
        units, self.target_units = _unit_arrays(inputs, alphabet.library)
        self.dimensions = Dimensions(units, inputs.units is not None and inputs.units.free_constant)
        self.whole: list[Rows] = []
        """All rows of each dataset."""
        self.full: dict[tuple[str, bool], list[Target]] = {}
        """By transform and scaling, the target on all rows of every dataset."""
        self.scorer: Scorer
        self._some: list[Rows] = []

    def use(self, data: Data, rows: Sequence[NDArray[np.int64]], count: int) -> None:
        """Fit laws on ``rows`` of each dataset from now on, and breed on ``count`` random ones, some of each."""
        self.whole = [self._rows(data, own) for own in rows]
        self.full = {}
        share = max(MIN_SET_ROWS, count // len(rows))
        order = self._order if data.weights is None else self._order[data.weights[self._order] > 0]
        if data.sets is None:
            chosen = [np.sort(order[:count])]
        else:
            chosen = [np.sort(order[data.sets[order] == s][:share]) for s in range(len(rows))]
        self._some = [self._rows(data, own) for own in chosen]
        columns = [part for part, *_ in self._some]
        self.scorer = Scorer(self._alphabet, columns, self.dimensions, self.target_units, self._max_length)

    def targets(self, niche: Niche) -> list[Target] | None:
        """The target of a niche on the rows that are bred on, of every dataset; None if one does not allow it."""
        full = self._targets(niche, self.whole)
        some = self._targets(niche, self._some)
        if some is None or full is None or not (niche.scaled or self._fits_units(niche.transform)):
            return None
        self.full[niche.transform, niche.scaled] = full
        return some

    def _rows(self, data: Data, rows: NDArray[np.int64]) -> Rows:
        return self._inputs.columns[rows], data.y[rows], None if data.weights is None else data.weights[rows]

    def _targets(self, niche: Niche, datasets: list[Rows]) -> list[Target] | None:
        found = []
        for columns, y, weights in datasets:
            scale = self._inputs.scale_of(columns) if niche.scaled else None
            target = make_target(niche.transform, self._inputs.factor_rows(columns), y, scale, weights)
            if target is None:
                return None
            found.append(target)
        return found

    @property
    def target_is_pure(self) -> bool:
        """Whether the target has no unit."""
        return not self.target_units["identity"].any()

    def _fits_units(self, transform: str) -> bool:
        """exp(y) and sin(y) need a pure number."""
        return transform not in ("exp", "sin") or self.target_is_pure


def _unit_arrays(inputs: Inputs, library: Library) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Units of the tokens, and of the target by transform."""
    given = inputs.units
    if given is None:
        nothing = np.zeros(0, np.int64)
        return np.zeros((len(library), 0), np.int64), dict.fromkeys(TRANSFORMS, nothing)
    target = given.target
    nothing = np.zeros_like(target)
    by_transform = {"identity": target, "square": 2 * target, "inverse": -target, "exp": nothing, "sin": nothing}
    return given.of_tokens(library), by_transform
