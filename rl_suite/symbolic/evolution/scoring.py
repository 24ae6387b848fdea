"""What programs are worth on the data: genes, batched evaluation, frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.program import evaluate_kernel
from rl_suite.symbolic.evolution.frames import (
    MAX_GENES,
    Target,
    allowed_frames,
    best_frames,
    cut_genes,
    room_for_genes,
    score_frames,
)
from rl_suite.symbolic.evolution.genome import Alphabet, Dimensions, Programs, Values

CHUNK = 512  # programs evaluated together: their genes' values stay in the second-level cache


class Scorer:
    """Scores batches of programs on one or several datasets X (n, d) against transformed targets.

    Args:
        alphabet: the tokens of the search.
        datasets: the points of the search, of each dataset.
        dimensions: the units of the tokens.
        target_units: unit (U,) that a sum frame needs, by name of the transform.
        max_length: longest program.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        datasets: Sequence[Values],
        dimensions: Dimensions,
        target_units: dict[str, NDArray[np.int64]],
        max_length: int,
    ):
        self.alphabet, self.dimensions, self.target_units = alphabet, dimensions, target_units
        self.columns = [np.ascontiguousarray(X.T) for X in datasets]
        rows_of = np.array([len(X) for X in datasets])
        self._share = rows_of / rows_of.sum()  # of each dataset in the error
        self._genes = room_for_genes(CHUNK, max_length)
        self._allowed = np.zeros((CHUNK, 3), np.bool_)
        self._error = np.zeros((CHUNK, 3))
        self._G = [np.zeros((CHUNK * MAX_GENES, len(X))) for X in datasets]

    def score(
        self,
        programs: Programs,
        targets: Sequence[Target],
        frames: tuple[bool, bool, bool] = (True, True, True),
        split: bool = True,
    ) -> tuple[Values, NDArray[np.int64]]:
        """(weighted NMSE, best frame) of P programs, (P,) each.

        Every dataset has a target and coefficients of its own; the frame is the same for all.
        """
        count = len(programs.lengths)
        errors = np.zeros((count, 3))
        target = targets[0]
        unit = self.target_units[target.name] * (not target.scaled)
        intercept = self.dimensions.wild_constants or not unit.any()
        for start in range(0, count, CHUNK):
            rows = slice(start, min(start + CHUNK, count))
            chunk = Programs(programs.tokens[rows], programs.values[rows], programs.lengths[rows])
            n = len(chunk.lengths)
            n_genes = cut_genes(chunk, self.alphabet.symbols, self._genes)
            self._allow(n, unit, frames, all(own.power_allowed for own in targets))
            for own, columns, G, share in zip(targets, self.columns, self._G, self._share, strict=True):
                values = G[:n_genes]
                evaluate_kernel(
                    self._genes.tokens[:n_genes],
                    self._genes.lengths[:n_genes],
                    self.alphabet.library.table,
                    columns,
                    self._genes.constants[:n_genes],
                    values,
                )
                score_frames(values, self._genes, n, self._allowed, split, intercept, own.rows(), self._error)
                errors[rows] += share * self._error[:n]
        return best_frames(errors)

    def _allow(self, n: int, unit: NDArray[np.int64], frames: tuple[bool, bool, bool], powers: bool) -> None:
        """Write which frames the first n programs may have: what their units and the island permit."""
        dimensions = self.dimensions
        if dimensions.units.shape[1] and not dimensions.wild_constants:
            opcode = self.alphabet.symbols.opcode
            allowed_frames(self._genes, n, opcode, dimensions, unit, self._allowed)
        else:
            self._allowed[:] = True
        self._allowed &= frames
        if not powers:
            self._allowed[:, 1:] = False
