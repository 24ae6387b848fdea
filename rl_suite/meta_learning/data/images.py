"""Labelled images held as one tensor, with the class of every image and the group (alphabet) of every class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rl_suite.errors import UserError

MAX_BYTES = 4 * 2**30  # of one image set, augmented classes included
CHUNK = 512  # images resized at once
QUARTER_TURNS, SYMMETRIES = 4, 8  # of the square, without and with mirror images


@dataclass(frozen=True)
class ImageSet:
    """Images of many classes, each class a member of one group."""

    images: Tensor
    """(N, C, H, W): uint8 with 0..255, or finite float32 as it is."""
    classes: Tensor
    """Class of each image, int64 (N,), in [0, n_classes)."""
    names: tuple[str, ...]
    """Name of each class."""
    groups: tuple[str, ...]
    """Group of each class, such as its alphabet; one name for all where there are none."""

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or not len(self.images):
            raise UserError(f"images must be (N, C, H, W) with at least one image, not {tuple(self.images.shape)}")
        if self.classes.shape != (len(self.images),):
            raise UserError(f"{len(self.images)} images have {tuple(self.classes.shape)} labels; each needs one")
        if len(self.names) < 2:
            raise UserError("there is only one class; episodes need at least two")

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def only_groups(self, wanted: Sequence[str]) -> "ImageSet":
        """The classes of the named groups.

        Raises:
            UserError: a group that does not exist.
        """
        missing = sorted(set(wanted) - set(self.groups))
        if missing:
            raise UserError(f"no group {missing[0]!r}; there are: {', '.join(sorted(set(self.groups)))}")
        return self.only_classes([c for c, group in enumerate(self.groups) if group in wanted])

    def only_classes(self, wanted: Sequence[int]) -> "ImageSet":
        """The classes of these numbers, in this order; they are numbered afresh."""
        place = torch.full((self.n_classes,), -1)
        place[torch.as_tensor(wanted, dtype=torch.int64)] = torch.arange(len(wanted))
        kept = place[self.classes] >= 0
        names, groups = tuple(self.names[c] for c in wanted), tuple(self.groups[c] for c in wanted)
        return ImageSet(self.images[kept], place[self.classes[kept]], names, groups)

    def resized(self, size: int) -> "ImageSet":
        """Square images of ``size`` pixels: each pixel is the mean of the area that it covers."""
        _require_room(len(self.images) * self.shape[0] * size * size * self.images.element_size())
        return replace(self, images=resize(self.images, size))

    def with_symmetries(self, number: int) -> "ImageSet":
        """Turned (4) or turned and mirrored (8) images as classes, and as groups, of their own; 1 changes nothing.

        Santoro et al. 2016 turn characters to get more classes. A turned alphabet is an alphabet: an episode within
        one group never asks to tell a character from its own mirror image.
        """
        if number == 1:
            return self
        if number not in (QUARTER_TURNS, SYMMETRIES) or self.shape[1] != self.shape[2]:
            raise UserError(f"symmetries must be 1, 4 or 8 of square images, not {number} of {self.shape[1:]}")
        _require_room(number * self.images.nbytes)
        turned = [torch.rot90(self.images, turn % QUARTER_TURNS, (2, 3)) for turn in range(number)]
        images = torch.cat([image.flip(3) if turn >= QUARTER_TURNS else image for turn, image in enumerate(turned)])
        classes = torch.cat([self.classes + turn * self.n_classes for turn in range(number)])
        suffixes = [f" {90 * (turn % 4)}{' mirrored' if turn >= QUARTER_TURNS else ''}" for turn in range(number)]
        names = tuple(name + suffix for suffix in suffixes for name in self.names)
        groups = tuple(group + suffix for suffix in suffixes for group in self.groups)
        return ImageSet(images, classes, names, groups)

    def joined(self, other: "ImageSet") -> "ImageSet":
        """The classes of both; a class (group and name) that both hold is taken from the first."""
        known = set(zip(self.groups, self.names, strict=True))
        fresh = [c for c, key in enumerate(zip(other.groups, other.names, strict=True)) if key not in known]
        if not fresh:
            return self
        if other.shape != self.shape:
            raise UserError(f"images of {self.shape} and of {other.shape} cannot stand in one set; resize them")
        kept = other if len(fresh) == other.n_classes else other.only_classes(fresh)
        classes = torch.cat([self.classes, kept.classes + self.n_classes])
        return ImageSet(
            torch.cat([self.images, kept.images]), classes, self.names + kept.names, self.groups + kept.groups
        )


class IndexedDataset(Protocol):
    """A torch ``Dataset`` as far as it is read here."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_arrays(images: Any, labels: Sequence[Any] | Any, groups: Mapping[Any, str] | None = None) -> ImageSet:
    """An image set out of arrays.

    Args:
        images: (N, H, W), (N, H, W, 3) or (N, C, H, W); uint8, or floats, which are kept as they are; or a list of
            images of one size.
        labels: one of any kind (numbers, strings) for each image.
        groups: group of each label, if there are groups.

    Raises:
        UserError: mixed sizes, NaN, one class, labels missing.
    """
    tensor = as_images(images)
    labels = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    if len(labels) != len(tensor):
        raise UserError(f"{len(tensor)} images have {len(labels)} labels; each needs one")
    if any(label is None for label in labels):
        raise UserError("an image has the label None; leave unlabelled images out")
    numbers: dict[Any, int] = {}
    classes = torch.tensor([numbers.setdefault(label, len(numbers)) for label in labels])
    missing = [label for label in numbers if groups is not None and label not in groups]
    if missing:
        raise UserError(f"the label {missing[0]!r} has no group")
    of_class = tuple("" if groups is None else groups[label] for label in numbers)
    return ImageSet(tensor, classes, tuple(str(label) for label in numbers), of_class)


def from_dataset(dataset: IndexedDataset) -> ImageSet:
    """An image set out of your own torch ``Dataset`` of (image, label) pairs; every item is read once.

    Raises:
        UserError: items that are no pairs of an image (tensor, array or PIL image) and a label, mixed sizes, NaN.
    """
    images, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise UserError(f"item {index} of the dataset is no (image, label) pair")
        image, label = item
        images.append(image)
        labels.append(label.item() if isinstance(label, Tensor) and label.ndim == 0 else label)
    return from_arrays(images, labels)


def as_images(images: Any) -> Tensor:
    """Images of any common layout as (N, C, H, W), uint8 or float32.

    Raises:
        UserError: mixed sizes, another layout, NaN or infinite pixels.
    """
    if isinstance(images, list | tuple):
        arrays = [_numbers(i) for i in images]
        shapes = sorted({tuple(array.shape) for array in arrays})
        if len(shapes) != 1:
            raise UserError(f"images of mixed sizes ({', '.join(map(str, shapes[:3]))}); resize them to one")
        tensor = torch.stack(arrays)
    else:
        tensor = _numbers(images)
    if tensor.ndim == 3:
        tensor = tensor[:, None]
    elif tensor.ndim == 4 and tensor.shape[-1] in (1, 3) and tensor.shape[1] not in (1, 3):
        tensor = tensor.movedim(-1, 1)
    if tensor.ndim != 4 or 0 in tensor.shape:
        raise UserError(f"images must be (N, H, W), (N, H, W, 3) or (N, C, H, W), not {tuple(tensor.shape)}")
    if tensor.dtype == torch.bool:
        return tensor.to(torch.uint8) * 255
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise UserError(f"images must be uint8, bool or floats, not {tensor.dtype}")
    bad = (~torch.isfinite(tensor)).flatten(1).any(1).nonzero()
    if len(bad):
        raise UserError(f"image {int(bad[0])} holds NaN or infinite pixels")
    return tensor.to(torch.float32)


def _numbers(image: Any) -> Tensor:
    try:
        return image if isinstance(image, Tensor) else torch.tensor(np.asarray(image))
    except (TypeError, ValueError):
        raise UserError(f"images must be arrays of numbers, not {type(image).__name__}") from None


def as_floats(images: Tensor) -> Tensor:
    """Pixels as a network reads them: bytes become [0, 1], floats stay."""
    return images.to(torch.float32).div_(255) if images.dtype == torch.uint8 else images


def resize(images: Tensor, size: int) -> Tensor:
    """Square images of ``size`` pixels by the mean over areas; (N, C, H, W) -> (N, C, size, size), same dtype."""
    if images.shape[-2:] == (size, size):
        return images
    small = torch.empty(*images.shape[:2], size, size, dtype=images.dtype)
    for start in range(0, len(images), CHUNK):
        part = F.interpolate(images[start : start + CHUNK].to(torch.float32), size=(size, size), mode="area")
        small[start : start + CHUNK] = part.round() if images.dtype == torch.uint8 else part
    return small


def _require_room(needed: int) -> None:
    if needed > MAX_BYTES:
        raise UserError(f"the images would take {needed / 2**30:.1f} GiB; use smaller images or fewer symmetries")
