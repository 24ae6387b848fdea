"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015): 50 alphabets, 1,623 characters, 20 drawers of each.

Its pictures come in archives ``images_background.zip``, ``images_evaluation.zip`` (together everything) and
``images_background_small1.zip``, ``images_background_small2.zip`` (five alphabets each, which share Greek and Latin),
or in folders of the same names. Ink is white (255) on black here, so that what lies outside a picture is 0.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rl_suite.errors import UserError
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.framing import fit_drawings
from rl_suite.meta_learning.data.images import ImageSet, as_floats, as_images, from_dataset
from rl_suite.meta_learning.data.reading import Picture, read_pictures
from rl_suite.meta_learning.tasks import Task

PARTS = ("images_background", "images_evaluation", "images_background_small1", "images_background_small2")
FULL_PARTS = PARTS[:2]
SMALL_TRAINING, SMALL_TEST = PARTS[2], PARTS[3]
TORCHVISION_FOLDER = "omniglot-py"
DATA_VARIABLE = "RL_SUITE_DATA"
FULL_SIZE = 105  # pixels of a picture
INK = 255


@dataclass(frozen=True)
class Omniglot:
    """What was found, split by alphabet: no alphabet is in both."""

    train: ImageSet
    test: ImageSet
    source: str
    """What it was read from, for people."""


def find_folder(folder: Path | None = None) -> Path | None:
    """The folder that holds Omniglot: ``folder``, or below ``$RL_SUITE_DATA``, ``../shared/data`` or ``data``.

    Each may hold the parts itself or in ``omniglot`` or, as torchvision's download leaves them, ``omniglot-py``.
    """
    variable = os.environ.get(DATA_VARIABLE)
    places = [folder] if folder else [Path(variable)] if variable else []
    if folder is None:
        places += [Path("../shared/data"), Path("data")]
    for place in places:
        for candidate in (place, place / "omniglot", place / TORCHVISION_FOLDER):
            if _parts_in(candidate):
                return candidate
    return None


def load_omniglot(folder: Path | None = None, size: int = 28, framed: bool = False) -> Omniglot:
    """Omniglot split by alphabet, as square pictures of ``size`` pixels, ``framed``: cut to their ink.

    With both full parts, the background alphabets are for training and the evaluation alphabets for tests; with
    the small parts, those of small1 for training and those that only small2 has for tests.

    Raises:
        UserError: nothing found, a part missing, or a damaged archive.
    """
    place = find_folder(folder)
    if place is None:
        where = str(folder) if folder else f"${DATA_VARIABLE}, ../shared/data or data"
        raise UserError(f"no Omniglot in {where}; it needs {PARTS[2]}.zip and {PARTS[3]}.zip, or the two full parts")
    parts = _parts_in(place)
    first, second = FULL_PARTS if set(FULL_PARTS) <= set(parts) else (SMALL_TRAINING, SMALL_TEST)
    if first not in parts or second not in parts:
        raise UserError(f"{place}: holds only {', '.join(parts)}; both {first} and {second} are needed for a split")
    train, other = (image_set(read_pictures(parts[part]), size, str(parts[part]), framed) for part in (first, second))
    unseen = [group for group in dict.fromkeys(other.groups) if group not in train.groups]
    return Omniglot(train, other.only_groups(unseen), f"Omniglot: {first} for training, {second} for tests")


def image_set(pictures: Iterable[Picture], size: int, source: str, framed: bool = False) -> ImageSet:
    """Pictures in ``alphabet/character`` folders as an image set; a character is its innermost folder.

    Raises:
        UserError: no pictures, or pictures that stand in no folder of their own.
    """
    images: list[np.ndarray] = []
    owners: list[tuple[str, str]] = []
    for picture in pictures:
        if len(picture.folders) < 2:
            raise UserError(f"{source}: {picture.name} lies in no alphabet/character folder, so its class is unknown")
        owners.append((picture.folders[-2], picture.folders[-1]))
        images.append(picture.pixels)
    if not images:
        raise UserError(f"{source}: holds no pictures")
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    classes = torch.tensor([numbers[owner] for owner in owners])
    names, groups = tuple(f"{a}/{c}" for a, c in numbers), tuple(alphabet for alphabet, _ in numbers)
    return ImageSet(fit_drawings(INK - as_images(images), size, framed), classes, names, groups)


def _parts_in(folder: Path) -> dict[str, Path]:
    """The parts of Omniglot in a folder, as archives or as folders of the same name."""
    found = {}
    for part in PARTS:
        for place in (folder / part, folder / f"{part}.zip"):
            if place.exists():
                found[part] = place
                break
    return found


class CharacterDataset(Dataset):
    """Characters one by one, as the documents' ``OmniglotDataset`` gives them: ((20, 1, H, W) in [0, 1], index)."""

    def __init__(self, data: ImageSet):
        self.data = data

    def __len__(self) -> int:
        return self.data.n_classes

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return as_floats(self.data.images[self.data.classes == index]), index


def load_omniglot_dataset(root: str | Path | None = None, size: int = 28) -> tuple[CharacterDataset, CharacterDataset]:
    """Omniglot's characters for training and for tests, under the name that the documents use.

    Args:
        root: folder with Omniglot's parts; None: where :func:`find_folder` looks.
        size: pixels of a side, 105 as drawn.

    Raises:
        UserError: no Omniglot there.
    """
    found = load_omniglot(None if root is None else Path(root), size)
    return CharacterDataset(found.train), CharacterDataset(found.test)


class OmniglotTaskDataset(Dataset):
    """A torch ``Dataset`` of ``num_tasks`` episodes, under the name and with the arguments that the documents use.

    Item i is ``(support, support labels, query, query labels)`` and always the same episode, in any worker.

    Args:
        dataset: of characters (:func:`load_omniglot_dataset`), an ``ImageSet``, or your own of (image, label) pairs.
        n_way: classes of an episode.
        k_shot: support images of each; ``n_shot`` says the same.
        k_query: query images of each; ``num_query`` says the same.
        num_tasks: length.
        seed: of the episodes.
    """

    def __init__(
        self,
        dataset: "CharacterDataset | ImageSet | Dataset",
        n_way: int = 5,
        k_shot: int | None = None,
        k_query: int | None = None,
        num_tasks: int = 1000,
        *,
        n_shot: int | None = None,
        num_query: int | None = None,
        seed: int = 0,
    ):
        data = dataset.data if isinstance(dataset, CharacterDataset) else dataset
        images = data if isinstance(data, ImageSet) else from_dataset(data)  # type: ignore[arg-type]
        shots = _one_of("k_shot", k_shot, "n_shot", n_shot, 1)
        queries = _one_of("k_query", k_query, "num_query", num_query, 15)
        self.source = EpisodeSource(images, n_way, shots, queries, seed)
        self.num_tasks = num_tasks

    def __len__(self) -> int:
        return self.num_tasks

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < self.num_tasks:
            raise IndexError(f"episode {index} of {self.num_tasks}")
        return self.source.task(index)


def _one_of(name: str, value: int | None, other_name: str, other: int | None, default: int) -> int:
    """The value of an argument that has two spellings."""
    if value is not None and other is not None and value != other:
        raise UserError(f"{name}={value} and {other_name}={other} say different things; give one")
    return next((given for given in (value, other) if given is not None), default)
