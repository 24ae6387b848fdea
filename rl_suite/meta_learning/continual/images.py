"""Data sets for sequences of tasks: scikit-learn's digits, and MNIST where it lies on disk."""

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.sequences import Examples, Images

DATA_VARIABLE = "RL_SUITE_DATA"  # environment variable that names the folder of data sets
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_FOLDERS = (Path("MNIST/raw"), Path("MNIST"), Path("mnist"))  # torchvision's first
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049  # of the idx format: unsigned bytes in three, in one dimension
MOST_EXAMPLES, SIDE = 70_000, 28  # of MNIST and its relatives
VALIDATION, TEST = 0.15, 0.25  # shares of the digits
SPLIT_SEED = 0  # which digits are for training, validation and test


def load_images(name: str, folder: Path | None = None) -> Images:
    """The data set "digits", or "mnist" from ``folder`` (by default the folder that RL_SUITE_DATA names).

    Raises:
        UserError: unknown, or MNIST is not there or damaged.
    """
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(find_mnist(folder))
    raise UserError(f"data set {name!r} is unknown; there are digits and mnist")


def digits() -> Images:
    """1,797 handwritten digits of 8 x 8 pixels (scikit-learn's copy of the UCI set), in [0, 1]."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels / 16.0, dtype=torch.float32)
    y = torch.tensor(labels, dtype=torch.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(y))
    n_test, n_validation = int(TEST * len(y)), int(VALIDATION * len(y))
    test, validation, train = np.split(order, [n_test, n_test + n_validation])
    parts = [(x[rows], y[rows]) for rows in map(torch.from_numpy, (train, validation, test))]
    return Images("digits", parts[0], parts[1], parts[2], n_classes=10)


def find_mnist(folder: Path | None = None) -> Path:
    """The folder with MNIST's four files, gzipped or not.

    Raises:
        UserError: it is not there.
    """
    given = os.environ.get(DATA_VARIABLE)
    places = [folder] if folder is not None else []
    if given:
        places += [Path(given) / inner for inner in MNIST_FOLDERS]
    for place in places:
        if all(_file(place, name) is not None for name in MNIST_FILES):
            return place
    raise UserError(
        "MNIST is not on this machine: put its four idx files into $RL_SUITE_DATA/MNIST/raw,"
        " as torchvision.datasets.MNIST(root, download=True) does, or use the digits"
    )


def mnist(folder: Path) -> Images:
    """MNIST (LeCun et al. 1998) out of its four idx files; the last 10,000 training images are for validation."""
    sets: list[Examples] = []
    for images, labels in (MNIST_FILES[:2], MNIST_FILES[2:]):
        pixels, classes = read_idx(_present(folder, images)), read_idx(_present(folder, labels))
        if pixels.ndim != 3 or classes.ndim != 1 or len(pixels) != len(classes):
            raise UserError(f"{folder}: {len(pixels)} images and {len(classes)} labels do not belong together")
        if not len(classes) or classes.max() > 9:
            raise UserError(f"{folder}: {labels} must hold the digits 0 to 9")
        sets.append((torch.from_numpy(pixels).float().div_(255), torch.from_numpy(classes).long()))
    (x, y), test = sets
    held_out = min(10_000, len(y) // 6)
    return Images("mnist", (x[:-held_out], y[:-held_out]), (x[-held_out:], y[-held_out:]), test, n_classes=10)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One file of the idx format: a head of big-endian numbers, then bytes. The size is checked before it is believed.

    Raises:
        UserError: no such file, or it is not what its head says.
    """
    most = 16 + MOST_EXAMPLES * SIDE * SIDE
    try:
        opener = gzip.open if path.suffix == ".gz" else Path.open
        with opener(path, "rb") as file:
            content: bytes = file.read(most + 1)  # a gzipped file could unfold to any size
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    magic = struct.unpack(">I", content[:4])[0] if len(content) >= 4 else 0
    dimensions = {IMAGES_MAGIC: 3, LABELS_MAGIC: 1}.get(magic)
    if dimensions is None or len(content) < 4 + 4 * dimensions:
        raise UserError(f"{path}: not an idx file of images or labels")
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    size = int(np.prod(shape, dtype=object))
    if shape[0] > MOST_EXAMPLES or size != len(content) - 4 - 4 * dimensions:
        raise UserError(f"{path}: damaged, its head promises {size} bytes and {len(content)} are there")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _present(folder: Path, name: str) -> Path:
    path = _file(folder, name)
    if path is None:
        raise UserError(f"{folder}: {name} is missing")
    return path
