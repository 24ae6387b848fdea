"""Tasks dealt out of data sets, and the reading of MNIST's files."""

import gzip
import struct

import numpy as np
import pytest
import torch

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual import images
from rl_suite.meta_learning.continual.sequences import permuted_tasks, split_tasks


@pytest.fixture(scope="module")
def digits():
    return images.digits()


def test_digits_are_split_without_overlap(digits):
    parts = [digits.train, digits.validation, digits.test]
    assert sum(len(y) for _, y in parts) == 1797
    rows = torch.cat([x for x, _ in parts])
    assert len(rows.unique(dim=0)) == 1797
    assert rows.min() == 0
    assert rows.max() == 1


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_every_class_is_in_one_task(digits, scenario):
    sequence = split_tasks(digits, 5, scenario, seed=3)
    assert len(sequence) == 5
    assert sum(len(y) for _, y in sequence.test) == len(digits.test[1])
    for task, (_, y) in enumerate(sequence.train):
        own = [0, 1] if scenario == "domain" else sequence.outputs.classes[task]
        assert y.unique().tolist() == own
    assert sequence.n_outputs == (2 if scenario == "domain" else 10)
    again, other = (split_tasks(digits, 5, "task", seed=seed).outputs.classes for seed in (3, 4))
    assert again != other
    assert sorted(own for group in again for own in group) == list(range(10))


def test_permutations_are_fixed_and_differ(digits):
    sequence = permuted_tasks(digits, 3, seed=0)
    assert torch.equal(sequence.train[0][0], digits.train[0])
    for task in (1, 2):
        assert torch.equal(sequence.train[task][0].sort(1)[0], digits.train[0].sort(1)[0])
    assert not torch.equal(sequence.train[1][0], sequence.train[2][0])
    pixel = 36  # near the middle, where no two columns of pixels are alike
    places = [
        (part[1][0] == part[0][0][:, [pixel]]).all(0).nonzero().tolist() for part in (sequence.train, sequence.test)
    ]
    assert len(places[0]) == 1
    assert places[0] == places[1]


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_uneven_splits_are_refused(digits, n_tasks):
    with pytest.raises(UserError, match="evenly"):
        split_tasks(digits, n_tasks, "task", seed=0)


def write_mnist(folder, n=30, zipped=False):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in images.MNIST_FILES:
        if "images" in name:
            content = struct.pack(">4I", images.IMAGES_MAGIC, n, 28, 28) + rng.bytes(n * 784)
        else:
            content = struct.pack(">2I", images.LABELS_MAGIC, n) + bytes(i % 10 for i in range(n))
        (folder / f"{name}.gz").write_bytes(gzip.compress(content)) if zipped else (folder / name).write_bytes(content)


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_is_read_from_disk(tmp_path, monkeypatch, zipped):
    write_mnist(tmp_path / "MNIST" / "raw", zipped=zipped)
    monkeypatch.setenv(images.DATA_VARIABLE, str(tmp_path))
    found = images.load_images("mnist")
    assert found.train[0].shape == (25, 28, 28)
    assert found.validation[1].tolist() == [5, 6, 7, 8, 9]
    assert found.test[1][:3].tolist() == [0, 1, 2]
    assert found.train[0].max() <= 1


def test_without_mnist_one_line_says_where_it_belongs(monkeypatch):
    monkeypatch.delenv(images.DATA_VARIABLE, raising=False)
    with pytest.raises(UserError, match="MNIST/raw"):
        images.load_images("mnist")
    with pytest.raises(UserError, match="unknown"):
        images.load_images("cifar")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08\x03",
        struct.pack(">4I", 2051, 10, 28, 28) + b"short",
        struct.pack(">4I", 2051, 2**31, 2**31, 2**31),
        struct.pack(">4I", 2051, 1, 1, 1) + b"ab",
        struct.pack(">2I", 999, 1) + b"a",
        b"<html>not found</html>",
    ],
)
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"idx|damaged"):
        images.read_idx(path)
    broken = tmp_path / "labels.gz"
    broken.write_bytes(b"\x1f\x8b garbage")
    with pytest.raises(UserError, match="cannot be read"):
        images.read_idx(broken)


def test_images_and_labels_must_belong_together(tmp_path):
    write_mnist(tmp_path / "a")
    (tmp_path / "a" / images.MNIST_FILES[1]).write_bytes(struct.pack(">2I", images.LABELS_MAGIC, 1) + b"\1")
    with pytest.raises(UserError, match="belong together"):
        images.mnist(tmp_path / "a")
