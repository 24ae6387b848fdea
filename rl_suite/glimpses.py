"""Pictures for TensorBoard while a run goes on: a few of them, so that one sees an agent get better."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_suite.charts import pictures_of

Picture = NDArray[np.uint8]  # (H, W, 3)
GLIMPSES = 5  # of a whole run
MOMENTS = 4  # of an episode side by side
TAG = "glimpse"


class Glimpses:
    """Decides when a look is due, out of the steps alone, so that a resumed run looks when the whole one would.

    Args:
        total: steps of the whole run.
        every: steps between the moments at which a look is possible.
    """

    def __init__(self, total: int, every: int):
        self.total, self.every = total, every

    def due(self, step: int) -> bool:
        """Whether this moment is the first of all, or the first in its fifth of the run.

        >>> [step for step in range(5, 101, 5) if Glimpses(100, 5).due(step)]
        [5, 20, 40, 60, 80, 100]
        """
        moment = step // self.every
        return moment == 1 or self._part(moment) > self._part(moment - 1)

    def _part(self, moment: int) -> int:
        return moment * self.every * GLIMPSES // self.total


def drawn(draw: Callable[[Path], None]) -> Iterator[tuple[str, Picture]]:
    """Names for TensorBoard and pixels of the pictures (.png) that ``draw`` writes into a folder."""
    with tempfile.TemporaryDirectory(prefix="rl_suite-") as folder:
        draw(Path(folder))
        for name, pixels in pictures_of(Path(folder)):
            yield f"{TAG}/{name}", pixels


def strip(pictures: Sequence[Picture]) -> Picture:
    """Moments of an episode side by side, from its first to its last.

    >>> strip([np.full((1, 1, 3), shade, np.uint8) for shade in range(10)])[0, :, 0].tolist()
    [0, 3, 6, 9]
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(MOMENTS, len(pictures))).round().astype(int))
    return np.concatenate([pictures[i] for i in chosen], axis=1)
