"""What programs are worth on the data: genes, batched evaluation, frames."""

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.program import evaluate_kernel
from envs.symbolic.tokens import CONSTANT, Library
from rl_suite.symbolic.frames import MAX_GENES, Target, allowed_frames, cut_genes, score_frames
from rl_suite.symbolic.genome import Alphabet, Tokens, Values

CHUNK = 512  # programs evaluated together: their genes' values stay in the second-level cache


class Scorer:
    """Scores batches of programs on X (n, d) against transformed targets.

    Args:
        alphabet: the tokens of the search.
        X: the points of the search.
        units: (tokens, U) unit of each token, with zero columns where units are not used.
        rules: unit rule of each opcode.
        target_units: unit (U,) that a sum frame needs, by name of the transform.
        max_length: longest program.
    """

    def __init__(
        self,
        alphabet: Alphabet,
        X: Values,
        units: NDArray[np.int64],
        rules: NDArray[np.int64],
        target_units: dict[str, NDArray[np.int64]],
        max_length: int,
    ):
        self.alphabet, self.units, self.rules, self.target_units = alphabet, units, rules, target_units
        self.columns = np.ascontiguousarray(X.T)
        rows = CHUNK * MAX_GENES
        self._genes = np.zeros((rows, max_length), np.int16)
        self._constants = np.ones((rows, max_length))
        self._lengths = np.zeros(rows, np.int64)
        self._first = np.zeros(CHUNK + 1, np.int64)
        self._kind = np.zeros(CHUNK, np.int64)
        self._sign = np.ones(rows)
        self._allowed = np.zeros((CHUNK, 3), np.bool_)
        self._G = np.zeros((rows, X.shape[0]))

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
        target: Target,
        frames: tuple[bool, bool, bool] = (True, True, True),
        split: bool = True,
    ) -> tuple[Values, NDArray[np.int64]]:
        """(weighted NMSE, best frame) of the first ``count`` programs, (count,) each."""
        error, frame = np.empty(count), np.empty(count, np.int64)
        library = self.library
        unit = self.target_units[target.name] * (not target.scaled)
        intercept = bool(self.rules[CONSTANT]) or not unit.any()
        raw = target.weight * target.t
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
            evaluate_kernel(
                self._genes[:n_genes],
                self._lengths[:n_genes],
                library.opcode,
                library.index,
                library.value,
                self.columns,
                self._constants[:n_genes],
                self._G[:n_genes],
            )
            if self.units.shape[1] and self.rules[CONSTANT] == 0:
                allowed_frames(
                    self._genes,
                    self._lengths,
                    self._first,
                    n,
                    self.alphabet.opcode,
                    self.units,
                    self.rules,
                    unit,
                    self._allowed,
                )
            else:
                self._allowed[:] = True
            self._allowed &= frames
            if not target.power_allowed:
                self._allowed[:, 1:] = False
            score_frames(
                self._G[:n_genes],
                self._first,
                self._kind,
                self._sign,
                n,
                self._allowed,
                split,
                intercept,
                target.weight,
                target.log_weight,
                target.power_basis,
                target.power_residual,
                target.sum_residual,
                target.ones,
                raw,
                target.total,
                error[rows],
                frame[rows],
            )
        return error, frame
