"""N-way k-shot episodes from an image set: episode i is a pure function of (seed, i).

Three things go wrong elsewhere and cannot here: labels are 0..n-1 in the order in which the classes were drawn, so
that a label says nothing about the class; a class is never drawn twice in one episode; and the images of a class are
drawn without replacement, so that support and query never share one.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.meta_learning.checks import whole_number
from rl_suite.meta_learning.data.draws import Bits, below, distinct, fractions, random_bits
from rl_suite.meta_learning.data.images import ImageSet, as_floats
from rl_suite.meta_learning.data.jitter import Jitter
from rl_suite.meta_learning.tasks import Task

Indices = NDArray[np.int64]

KIND_SLOTS = 2  # whether the episode stays within one group, and which


class Drawn(NamedTuple):
    """Which classes and images a batch of episodes is made of."""

    classes: Indices  # (B, n_way)
    images: Indices  # (B, n_way, k_shot + k_query), places in the image set


class _ClassTable(NamedTuple):
    """Classes and images of a set as rectangular tables for vectorised draws."""

    first_image: Indices  # (n_classes,) place of a class's first image in ``order``
    images_of: Indices  # (n_classes,)
    order: Indices  # (N,) images sorted by class
    groups: Indices  # (n_groups, largest group) classes of the groups that can fill an episode
    sizes: Indices  # (n_groups,)


@dataclass(frozen=True)
class EpisodeSource:
    """Episodes of an image set; a ``TaskSource``.

    Raises:
        UserError: fewer classes than ``n_way``, or a class with fewer than ``k_shot + k_query`` images.
    """

    data: ImageSet
    n_way: int
    k_shot: int
    k_query: int
    seed: int
    within: float = 0.0
    """Share of the episodes whose classes all come from one group. Groups smaller than ``n_way`` are left out of
    these; the others are equally likely."""
    jitter: Jitter | None = None
    """Changes every image of support and query independently."""
    _table: _ClassTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("n_way", "k_shot", "k_query"):
            whole_number(getattr(self, name), 0, name)
        if self.n_way < 2 or self.k_shot < 1 or self.k_query < 1:
            raise UserError("an episode needs at least 2 classes, 1 support and 1 query image of each")
        if self.n_way > self.data.n_classes:
            raise UserError(f"{self.n_way}-way episodes need {self.n_way} classes; the data has {self.data.n_classes}")
        if not 0 <= self.within <= 1:
            raise UserError(f"within must be a probability, not {self.within}")
        object.__setattr__(self, "_table", self._tabulate())

    def task(self, index: int) -> Task:
        """Episode ``index``: support_x (n*k, C, H, W) class by class, support_y (n*k,), and the query likewise."""
        batch = self.batch(index, 1)
        return Task(*(part[0] for part in batch))

    def batch(self, start: int, size: int) -> Task:
        """Episodes ``start`` to ``start + size - 1`` stacked: every part has a leading axis (size, ...)."""
        drawn = self.draw(start, size)
        images = torch.from_numpy(drawn.images).reshape(-1)
        pixels = as_floats(self.data.images.index_select(0, images))
        if self.jitter is not None:
            uniform = torch.from_numpy(fractions(self._bits(start, size, images.numel() // size * self.jitter.numbers)))
            pixels = self.jitter(pixels, uniform.reshape(-1, self.jitter.numbers))
        shape = self.data.shape
        per_class = pixels.reshape(size, self.n_way, self.k_shot + self.k_query, *shape)
        labels = torch.arange(self.n_way)
        return Task(
            per_class[:, :, : self.k_shot].reshape(size, -1, *shape),
            labels.repeat_interleave(self.k_shot).repeat(size, 1),
            per_class[:, :, self.k_shot :].reshape(size, -1, *shape),
            labels.repeat_interleave(self.k_query).repeat(size, 1),
        )

    def draw(self, start: int, size: int) -> Drawn:
        """The classes and images of episodes ``start`` to ``start + size - 1``, without their pixels."""
        per_class = self.k_shot + self.k_query
        bits = self._bits(start, size, KIND_SLOTS + self.n_way * (1 + per_class), stream=0)
        classes = self._draw_classes(bits[:, : KIND_SLOTS + self.n_way])
        flat = classes.reshape(-1)
        rest = bits[:, KIND_SLOTS + self.n_way :].reshape(len(flat), per_class)
        places = distinct(rest, self._table.images_of[flat]) + self._table.first_image[flat][:, None]
        return Drawn(classes, self._table.order[places].reshape(size, self.n_way, per_class))

    def without_jitter(self) -> "EpisodeSource":
        """The same episodes with their images as they are."""
        return replace(self, jitter=None)

    def _bits(self, start: int, size: int, slots: int, stream: int = 1) -> Bits:
        """Random bits (size, slots); the two streams (which images, how they are changed) are independent."""
        return random_bits(2 * self.seed + stream, np.arange(start, start + size), slots)

    def _draw_classes(self, bits: Bits) -> Indices:
        """(B, n_way) distinct classes, of all or of one group."""
        kind, rest = bits[:, :KIND_SLOTS], bits[:, KIND_SLOTS:]
        anywhere = distinct(rest, np.full(len(bits), self.data.n_classes))
        if not self.within:
            return anywhere
        group = below(kind[:, 1], len(self._table.sizes))
        inside = np.take_along_axis(self._table.groups[group], distinct(rest, self._table.sizes[group]), axis=1)
        return np.where((fractions(kind[:, 0]) < self.within)[:, None], inside, anywhere)

    def _tabulate(self) -> _ClassTable:
        classes = self.data.classes.numpy()
        images_of = np.bincount(classes, minlength=self.data.n_classes)
        least = int(images_of.argmin())
        if images_of[least] < self.k_shot + self.k_query:
            raise UserError(
                f"class {self.data.names[least]!r} has {images_of[least]} images; {self.k_shot} support"
                f" + {self.k_query} query images need {self.k_shot + self.k_query}"
            )
        names = sorted(set(self.data.groups))
        members = [np.flatnonzero([group == name for group in self.data.groups]) for name in names]
        members = [m for m in members if len(m) >= self.n_way]
        if self.within and not members:
            raise UserError(
                f"no group has {self.n_way} classes, so no episode can stay within one; draw fewer, or set within to 0"
            )
        groups = np.zeros((len(members), max(map(len, members), default=0)), dtype=np.int64)
        for row, m in zip(groups, members, strict=True):
            row[: len(m)] = m
        first = np.concatenate([[0], np.cumsum(images_of)[:-1]])
        sizes = np.array([len(m) for m in members], dtype=np.int64)
        return _ClassTable(first, images_of, np.argsort(classes, kind="stable"), groups, sizes)
