"""The laws of a search: what is offered is fitted and priced, and the archive keeps what is good."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from envs.symbolic.unit_algebra import program_unit
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.landscape import Landscape
from rl_suite.symbolic.laws.archive import Archive
from rl_suite.symbolic.laws.constraints import Allowed
from rl_suite.symbolic.laws.pieces import Piece
from rl_suite.symbolic.laws.polish import Polisher

CLOSE_PRICE = 20.0  # bits; a law whose unfinished price is further behind the best is kept as it is
LONGEST = 4  # times the length of a program: a law that is written with more tokens is not kept


class LawBook:
    """Prices laws of data, and keeps the good ones.

    Args:
        data: the scaled observations, with the weights that their rows have now.
        output: the tokens of finished laws.
        land: of the search, for the units of frames.
        allowed: which laws may be kept; None: all.
        max_length: tokens of a program.
    """

    def __init__(self, data: Data, output: Library, land: Landscape, allowed: Allowed | None, max_length: int):
        self.output, self.land, self._longest = output, land, LONGEST * max_length
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
        unit = np.zeros(len(self.data.units.base), np.int64)
        units = self.data.units.of_tokens(self.output)
        known = program_unit(
            program, len(program), self.output.opcode, units, self.land.dimensions.wild_constants, unit
        )
        return known == 0 or (known == 1 and bool((unit == self.land.target_units["identity"]).all()))
