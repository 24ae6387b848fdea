"""Your own pictures: a folder with one folder per class, or a zip archive of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.data.draws import distinct, random_bits
from rl_suite.meta_learning.data.images import ImageSet, as_images, resize
from rl_suite.meta_learning.data.reading import read_pictures

SPLIT_SEED = 0  # which classes are held out never depends on the seed of a run


class Split(NamedTuple):
    """Classes for training and others for tests."""

    train: ImageSet
    test: ImageSet
    source: str


def load_image_folder(path: Path | str, size: int, colour: bool = False) -> ImageSet:
    """Pictures of ``path/class/*`` or ``path/group/class/*`` as squares of ``size`` pixels.

    Pictures may have any sizes; each is stretched to a square. A class is named after its folder.

    Raises:
        UserError: pictures that lie in no folder of their own, one class, or files that are no pictures.
    """
    path = Path(path)
    images: list[Tensor] = []
    owners: list[tuple[str, ...]] = []
    for picture in read_pictures(path, colour):
        if not picture.folders:
            raise UserError(f"{path}: {picture.name} lies in no class folder, so its class is unknown")
        owners.append(picture.folders[-2:])
        images.append(_square(picture.pixels, size))
    if not images:
        raise UserError(f"{path}: holds no pictures; it needs one folder per class")
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    classes = torch.tensor([numbers[owner] for owner in owners])
    groups = tuple(owner[0] if len(owner) == 2 else "" for owner in numbers)
    return ImageSet(torch.cat(images), classes, tuple("/".join(owner) for owner in numbers), groups)


def split_classes(data: ImageSet, test_share: float, source: str = "") -> Split:
    """Hold out whole groups if there are several, or else classes: about ``test_share`` of them, at least one.

    Raises:
        UserError: too few classes to leave two on either side.
    """
    kinds: Sequence[str] = sorted(set(data.groups))
    key = data.groups
    if len(kinds) < 2:
        kinds, key = data.names, data.names
    n = max(1, round(test_share * len(kinds)))
    order = distinct(random_bits(SPLIT_SEED, np.array([0]), len(kinds)), np.array([len(kinds)]))[0]
    held_out = {kinds[i] for i in order[:n]}
    sides = [[c for c in range(data.n_classes) if (key[c] in held_out) is out] for out in (False, True)]
    if min(map(len, sides)) < 2:
        raise UserError(f"{source or 'data'}: {data.n_classes} classes are too few to hold some out for tests")
    return Split(data.only_classes(sides[0]), data.only_classes(sides[1]), source)


def _square(pixels: NDArray[np.uint8], size: int) -> Tensor:
    """(1, C, size, size)."""
    return resize(as_images(pixels[None].copy()), size)
