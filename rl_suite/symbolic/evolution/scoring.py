"""What programs are worth on the data: genes, batched evaluation, frames."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.program import evaluate_kernel
from envs.symbolic.tokens import Library
from rl_suite.symbolic.evolution.frames import MAX_GENES, Target, allowed_frames, best_frames, cut_genes, score_frames
from rl_suite.symbolic.evolution.genome import Alphabet, Tokens, Values

CHUNK = 512  # programs evaluated together: their genes' values stay in the second-level cache


class Scorer:
    """Scores batches of programs on one or several datasets X (n, d) against transformed targets.

    Args:
        alphabet: the tokens of the search.
        datasets: the points of the search, of each dataset.
        units: (tokens, U) unit of each token, with zero columns where units are not used.
        wild_constants: whether a fitted constant may have any unit.
        target_units: unit (U,) that a sum frame needs, by name of the transform.
        max_length: longest program.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        datasets: Sequence[Values],
        units: NDArray[np.int64],
        wild_constants: bool,
        target_units: dict[str, NDArray[np.int64]],
        max_length: int,
    ):
        self.alphabet, self.units, self.target_units = alphabet, units, target_units
        self.wild_constants = wild_constants
        self.columns = [np.ascontiguousarray(X.T) for X in datasets]
        rows_of = np.array([len(X) for X in datasets])
        self._share = rows_of / rows_of.sum()  # of each dataset in the error
        rows = CHUNK * MAX_GENES
        self._genes = np.zeros((rows, max_length), np.int16)
        self._constants = np.ones((rows, max_length))
        self._lengths = np.zeros(rows, np.int64)
        self._first = np.zeros(CHUNK + 1, np.int64)
        self._kind = np.zeros(CHUNK, np.int64)
        self._sign = np.ones(rows)
        self._allowed = np.zeros((CHUNK, 3), np.bool_)
        self._error = np.zeros((CHUNK, 3))
        self._G = [np.zeros((rows, len(X))) for X in datasets]

    @property
    def library(self) -> Library:
        """The tokens of the search."""
        return self.alphabet.library

    def score(
        self,
        tokens: Tokens,
        values: Values,
        lengths: NDArray[np.int64],
        count: int,
        targets: Sequence[Target],
        frames: tuple[bool, bool, bool] = (True, True, True),
        split: bool = True,
    ) -> tuple[Values, NDArray[np.int64]]:
        """(weighted NMSE, best frame) of the first ``count`` programs, (count,) each.

        Every dataset has a target and coefficients of its own; the frame is the same for all.
        """
        errors = np.zeros((count, 3))
        target = targets[0]
        unit = self.target_units[target.name] * (not target.scaled)
        intercept = self.wild_constants or not unit.any()
        for start in range(0, count, CHUNK):
            n = min(CHUNK, count - start)
            rows = slice(start, start + n)
            n_genes = cut_genes(
                tokens[rows],
                values[rows],
                lengths[rows],
                n,
                self.alphabet.arity,
                self.alphabet.opcode,
                self._genes,
                self._constants,
                self._lengths,
                self._first,
                self._kind,
                self._sign,
            )
            if self.units.shape[1] and not self.wild_constants:
                allowed_frames(
                    self._genes,
                    self._lengths,
                    self._first,
                    n,
                    self.alphabet.opcode,
                    self.units,
                    self.wild_constants,
                    unit,
                    self._allowed,
                )
            else:
                self._allowed[:] = True
            self._allowed &= frames
            if not all(own.power_allowed for own in targets):
                self._allowed[:, 1:] = False
            for own, columns, G, share in zip(targets, self.columns, self._G, self._share, strict=True):
                evaluate_kernel(
                    self._genes[:n_genes],
                    self._lengths[:n_genes],
                    self.library.table,
                    columns,
                    self._constants[:n_genes],
                    G[:n_genes],
                )
                score_frames(
                    G[:n_genes],
                    self._first,
                    self._kind,
                    self._sign,
                    n,
                    self._allowed,
                    split,
                    intercept,
                    own.weight,
                    own.log_weight,
                    own.power_basis,
                    own.power_residual,
                    own.sum_residual,
                    own.ones,
                    own.weight * own.t,
                    own.total,
                    self._error,
                )
                errors[rows] += share * self._error[:n]
        return best_frames(errors)
