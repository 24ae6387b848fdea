"""The one-shot classification runs that come with Omniglot (Lake et al. 2015), in the format of ``all_runs.zip``.

::

    run01/class_labels.txt      one line per test image: "run01/test/item01.png run01/training/class15.png"
    run01/training/class01.png  one image of each class, all by one drawer
    run01/test/item01.png       images by another drawer
    run02/...
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.data.framing import fit_drawings
from rl_suite.meta_learning.data.images import as_images
from rl_suite.meta_learning.data.omniglot import INK, find_folder
from rl_suite.meta_learning.data.reading import read_files
from rl_suite.pictures import decode

LABELS = "class_labels.txt"
Key = tuple[str, str, str]  # run, folder, file
Pictures = list[NDArray[np.uint8]]


class OneShotRun(NamedTuple):
    """One run: which of the training images shows the same character?"""

    name: str
    support: Tensor  # (n, 1, H, W) uint8, ink 255
    query: Tensor  # (m, 1, H, W)
    answers: Tensor  # (m,) place of the right training image


def find_runs() -> Path | None:
    """The runs that lie beside Omniglot, as an archive or a folder, if they are there."""
    folder = find_folder()
    places = (
        () if folder is None else (folder / "all_runs.zip", folder / "all_runs", folder / "one-shot-classification")
    )
    return next((place for place in places if place.exists()), None)


def read_runs(path: Path, size: int, framed: bool = False) -> list[OneShotRun]:
    """All runs of a folder or a zip archive, as square images of ``size`` pixels, ``framed``: cut to their ink.

    What ``class_labels.txt`` names is looked up among the files that were read; no name is ever opened as a path.

    Raises:
        UserError: no runs, or labels that name a file that is not there.
    """
    files = read_files(path, (".png", ".txt"))
    pictures = {_key(name): content for name, content in files.items() if name.endswith(".png")}
    runs = []
    for name in sorted(files):
        if PurePosixPath(name).name == LABELS:
            run = PurePosixPath(name).parent.name
            training, test, answers = _run(files[name], pictures, f"{path}: {name}")
            support, query = (fit_drawings(INK - as_images(part), size, framed) for part in (training, test))
            runs.append(OneShotRun(run, support, query, answers))
    if not runs:
        raise UserError(f"{path}: holds no one-shot runs; each is a folder such as run01 with a {LABELS}")
    return runs


def _run(text: bytes, pictures: Mapping[Key, bytes], source: str) -> tuple[Pictures, Pictures, Tensor]:
    """Training pictures, test pictures, and the place of the right training picture for each test picture."""
    try:
        pairs = [line.split() for line in text.decode("ascii").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise UserError(f"{source}: not text") from None
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise UserError(f"{source}: each line must name a test image and a training image")
    keys = [(_key(test), _key(training)) for test, training in pairs]
    missing = [key for pair in keys for key in pair if key not in pictures]
    if missing:
        raise UserError(f"{source}: names {'/'.join(missing[0])}, which is not there")
    classes = sorted({key for key in pictures if key[:2] == keys[0][1][:2]})
    support = [decode(pictures[key], "/".join(key)) for key in classes]
    query = [decode(pictures[test], "/".join(test)) for test, _ in keys]
    strange = [training for _, training in keys if training not in classes]
    if strange:
        raise UserError(f"{source}: {'/'.join(strange[0])} is no training image of this run")
    answers = torch.tensor([classes.index(training) for _, training in keys])
    return support, query, answers


def _key(name: str) -> Key:
    """The last three parts of a name: archives differ in what stands before."""
    parts = ("", "", *PurePosixPath(name).parts)
    return parts[-3], parts[-2], parts[-1]
