"""Spaces that stable-baselines3 can use as they are.

SB3 accepts neither Tuple nor Dict action spaces, but it accepts every subclass of ``Box``. A
``HybridBox`` therefore looks like a flat float32 Box and says in its attributes how to read it.
A ``WholeNumbers`` is a ``MultiDiscrete`` whose sizes add up to what ``torch.nn.LSTM`` takes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray


class _Sizes(np.ndarray):
    """An array of sizes that hands out Python's own integers one by one."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())


class WholeNumbers(spaces.MultiDiscrete):
    """A ``MultiDiscrete`` for recurrent policies: SB3 takes the sum of ``nvec`` for the width of its input.

    A sum of numpy's integers is one of numpy's, which ``torch.nn.LSTM`` refuses.

    >>> space = WholeNumbers([9, 9])
    >>> type(sum(space.nvec)), space == spaces.MultiDiscrete([9, 9])
    (<class 'int'>, True)
    """

    def __init__(
        self,
        nvec: NDArray[np.integer[Any]] | list[int],
        dtype: Any = np.int64,
        start: NDArray[np.integer[Any]] | list[int] | None = None,
    ):
        super().__init__(nvec, dtype=dtype, start=start)
        self.nvec = self.nvec.view(_Sizes)


class HybridBox(spaces.Box):
    """``n_parts`` parts, each with ``len(nvec)`` discrete choices and ``n_continuous`` values in [-1, 1].

    The flat vector has ``n_parts * (len(nvec) + n_continuous)`` entries: part after part, and within
    a part first the choices (whole numbers, choice ``j`` in ``0 .. nvec[j] - 1``), then the values.

    Args:
        nvec: number of options of each discrete choice of one part.
        n_continuous: number of continuous values of one part.
        n_parts: number of parts, such as the nodes of a padded graph.
        batch_shape: leading axes; only ``gymnasium.vector`` sets it.

    >>> space = HybridBox(nvec=[3], n_continuous=2, n_parts=2, seed=0)
    >>> space.shape
    (6,)
    >>> choices, values = space.split(np.array([2, 0.5, -1, 0, 0, 1], dtype=np.float32))
    >>> choices.tolist(), values.tolist()
    ([[2], [0]], [[0.5, -1.0], [0.0, 1.0]])
    """

    def __init__(
        self,
        nvec: Sequence[int],
        n_continuous: int,
        n_parts: int = 1,
        batch_shape: tuple[int, ...] = (),
        seed: int | np.random.Generator | None = None,
    ):
        self.nvec = np.asarray(nvec, dtype=np.int64)
        if self.nvec.ndim != 1 or (self.nvec < 1).any():
            raise ValueError(f"nvec must be a list of positive integers, not {nvec!r}")
        if n_continuous < 0 or n_parts < 1 or len(self.nvec) + n_continuous == 0:
            raise ValueError(f"a part needs at least one choice or value: nvec={nvec!r}, n_continuous={n_continuous}")
        self.n_continuous, self.n_parts, self.batch_shape = n_continuous, n_parts, tuple(batch_shape)
        part_low = np.concatenate([np.zeros(len(self.nvec)), -np.ones(n_continuous)])
        part_high = np.concatenate([self.nvec - 1.0, np.ones(n_continuous)])
        low = np.broadcast_to(np.tile(part_low, n_parts), (*self.batch_shape, n_parts * self.part_size))
        high = np.broadcast_to(np.tile(part_high, n_parts), (*self.batch_shape, n_parts * self.part_size))
        super().__init__(low.astype(np.float32), high.astype(np.float32), dtype=np.float32, seed=seed)

    @property
    def part_size(self) -> int:
        """Entries of one part."""
        return len(self.nvec) + self.n_continuous

    def split(self, action: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Read flat actions (..., n_parts * part_size) as choices (..., n_parts, k) and values (..., n_parts, c)."""
        parts = np.asarray(action).reshape(*np.shape(action)[:-1], self.n_parts, self.part_size)
        k = len(self.nvec)
        return np.rint(parts[..., :k]).astype(np.int64), parts[..., k:].astype(np.float32)

    def join(self, choices: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float32]:
        """The inverse of :meth:`split`."""
        parts = np.concatenate([np.asarray(choices, np.float32), np.asarray(values, np.float32)], axis=-1)
        return parts.reshape(*parts.shape[:-2], self.n_parts * self.part_size)

    def sample(self, mask: Any = None, probability: Any = None) -> NDArray[np.float32]:
        """A uniform random member: uniform choices and uniform values."""
        if mask is not None or probability is not None:
            raise ValueError("HybridBox.sample takes neither mask nor probability")
        lead = (*self.batch_shape, self.n_parts)
        choices = self.np_random.integers(0, self.nvec, size=(*lead, len(self.nvec)))
        values = self.np_random.uniform(-1.0, 1.0, size=(*lead, self.n_continuous))
        return self.join(choices, values)

    def contains(self, x: Any) -> bool:
        """Whether x is a member: shape, bounds, and whole numbers where choices stand."""
        if not super().contains(x):
            return False
        choices = np.asarray(x).reshape(*self.batch_shape, self.n_parts, self.part_size)[..., : len(self.nvec)]
        return bool((choices == np.rint(choices)).all())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HybridBox)
            and np.array_equal(self.nvec, other.nvec)
            and (self.n_continuous, self.n_parts, self.batch_shape)
            == (other.n_continuous, other.n_parts, other.batch_shape)
        )

    __hash__ = None  # type: ignore[assignment]  # as every Gymnasium space: mutable through seed()

    def __repr__(self) -> str:
        batch = f", batch_shape={self.batch_shape}" if self.batch_shape else ""
        return f"HybridBox(nvec={self.nvec.tolist()}, n_continuous={self.n_continuous}, n_parts={self.n_parts}{batch})"


@batch_space.register(HybridBox)
def _batch_hybrid(space: HybridBox, n: int = 1) -> HybridBox:
    return HybridBox(space.nvec.tolist(), space.n_continuous, space.n_parts, (n, *space.batch_shape))
