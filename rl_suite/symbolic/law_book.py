"""The laws of a search: what is offered is fitted and priced, and the archive keeps what is good."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from envs.symbolic.unit_algebra import program_unit
from envs.symbolic.units import Units
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.forms.inputs import Inputs
from rl_suite.symbolic.landscape import Landscape
from rl_suite.symbolic.laws.archive import Archive
from rl_suite.symbolic.laws.constraints import Allowed
from rl_suite.symbolic.laws.pieces import Piece, binary, number
from rl_suite.symbolic.laws.polish import Polisher

CLOSE_PRICE = 20.0  # bits; a law whose unfinished price is further behind the best is kept as it is
LONGEST = 4  # times the length of a program: a law that is written with more tokens is not kept


class LawBook:
    """Prices laws of data, and keeps the good ones.

    Args:
        data: the scaled observations, with the weights that their rows have now.
        output: the tokens of finished laws.
        inputs: what programs read.
        land: of the search, for the units of frames.
        allowed: which laws may be kept; None: all.
        max_length: tokens of a program.
    """

    def __init__(
        self, data: Data, output: Library, inputs: Inputs, land: Landscape, allowed: Allowed | None, max_length: int
    ):
        self.output, self.inputs, self.land, self._longest = output, inputs, land, LONGEST * max_length
        self.archive = Archive(allowed)
        self.weigh(data)

    def weigh(self, data: Data) -> None:
        """Price by these observations from now on; laws that are kept are not priced again."""
        self.data = data
        self.polisher = Polisher(data.X, data.y, data.sets, weights=data.weights)

    def offer(self, pieces: Sequence[Piece], evaluations: int) -> bool:
        """Finish a form and keep it if it is good.

        Args:
            pieces: the laws of each dataset, or one for all.
            evaluations: programs measured so far.

        Returns:
            Whether it is the law of least price.
        """
        pieces = self._balanced(pieces)
        laws = [piece.law(self.output) for piece in pieces]
        if len(laws) < len(self.polisher.rows):
            laws = laws * len(self.polisher.rows)
        program = laws[0].program
        if len(program) > self._longest or not self.units_agree(program):
            return False
        if len(laws) > 1:  # constants of one dataset say nothing about the others
            laws = [law for law, _ in self.polisher.fit(*laws)]
        draft = self.polisher.priced(*laws)
        if not math.isfinite(draft.nmse):
            return False
        best = self.archive.best
        if best is None or draft.bits < best.bits + CLOSE_PRICE:
            draft = self.polisher.finish(*laws)
        return self.archive.add(draft, evaluations)

    def units_agree(self, program: NDArray[np.int16]) -> bool:
        """Whether a law has the unit of the target; its constants are pure numbers."""
        if self.data.units is None:
            return True
        known, missing = self._missing(program, self.data.units)
        return known == 0 or (known == 1 and not missing.any())

    def _missing(self, program: NDArray[np.int16], units: Units) -> tuple[int, NDArray[np.int64]]:
        """Whether the unit of a law is known (1), any (0) or none (-1), and what it lacks to the target's, (U,)."""
        unit = np.zeros(len(units.base), np.int64)
        tokens = units.of_tokens(self.output)
        wild = self.land.dimensions.wild_constants
        known = program_unit(program, len(program), self.output.opcode, tokens, wild, unit)
        return known, self.land.target_units["identity"] - unit

    def _balanced(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """A law whose number has the unit that constants of nature have, with these: G for 6.67e-11."""
        if self.data.units is None or self.inputs.varying.all():
            return pieces
        known, missing = self._missing(pieces[0].law(self.output).program, self.data.units)
        if known != 1 or not missing.any():
            return pieces
        factor = self.inputs.same_with_unit(missing)
        if factor is None:
            return pieces
        size = float(factor.law(self.output).predict(self.data.X[:1])[0])
        return [binary("mul", factor, binary("mul", number(1.0 / size), piece)) for piece in pieces]
