"""Sinusoid regression: curves ``A sin(x - phase)`` of which a few points are given (Finn et al. 2017, section 5.1)."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rl_suite.meta_learning.tasks import Task

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)
SPLITS = ("train", "validation", "test")
CHUNK = 1024  # tasks that are drawn from one generator; task i is number i % CHUNK of generator i // CHUNK


@dataclass
class SinusoidTasks:
    """A ``TaskSource`` of sinusoids; amplitudes are uniform in [0.1, 5], phases in [0, pi], inputs in [-5, 5].

    >>> task = SinusoidTasks(shots=5, queries=10, seed=0).task(3)
    >>> task.support_x.shape, task.query_y.shape
    (torch.Size([5, 1]), torch.Size([10, 1]))
    """

    shots: int
    queries: int
    seed: int
    split: Literal["train", "validation", "test"] = "train"

    def __post_init__(self) -> None:
        self._chunk: tuple[int, Task] | None = None

    def task(self, index: int) -> Task:
        """The task of this number."""
        return Task(*(part[0] for part in self.batch(index, 1)))

    def batch(self, start: int, size: int) -> Task:
        """Tasks ``start`` ... as one stack: inputs and values (T, points, 1)."""
        parts, index, end = [], start, start + size
        while index < end:
            number, first = divmod(index, CHUNK)
            last = min(CHUNK, first + end - index)
            parts.append([part[first:last] for part in self._draw(number)])
            index += last - first
        return Task(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))

    def curves(self, index: int) -> tuple[float, float]:
        """Amplitude and phase of a task."""
        number, place = divmod(index, CHUNK)
        amplitude, phase = self._curves(np.random.default_rng(self._key(number)))
        return float(amplitude[place, 0, 0]), float(phase[place, 0, 0])

    def _key(self, number: int) -> tuple[int, int, int]:
        return self.seed, SPLITS.index(self.split), number

    @staticmethod
    def _curves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(*AMPLITUDES, (CHUNK, 1, 1)), rng.uniform(*PHASES, (CHUNK, 1, 1))

    def _draw(self, number: int) -> Task:
        """All tasks of one generator; the last ones are kept, because batches follow each other."""
        if self._chunk is None or self._chunk[0] != number:
            rng = np.random.default_rng(self._key(number))
            amplitude, phase = self._curves(rng)
            x = rng.uniform(*INPUTS, (CHUNK, self.shots + self.queries, 1))
            y = amplitude * np.sin(x - phase)
            inputs, values = _tensor(x), _tensor(y)
            k = self.shots
            self._chunk = number, Task(inputs[:, :k], values[:, :k], inputs[:, k:], values[:, k:])
        return self._chunk[1]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
