"""Checkpoints: what goes in comes out, damage is seen, old files survive."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_suite.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint, write_atomically
from rl_suite.errors import UserError
from rl_suite.seeding import get_random_state, seed_everything, set_random_state

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
content = st.recursive(plain, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3))


@given(value=content)
@settings(max_examples=50, deadline=None)
def test_plain_values_round_trip(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("c") / "x.ckpt"
    save_checkpoint(path, {"value": value})
    assert load_checkpoint(path)["value"] == value


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays_keep_dtype_shape_and_bits(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)
    save_checkpoint(tmp_path / "x.ckpt", {"array": array, "tensor": torch.arange(3), "pair": (1, [2, array])})
    loaded = load_checkpoint(tmp_path / "x.ckpt")
    assert loaded["array"].dtype == array.dtype
    assert loaded["array"].shape == shape
    assert np.array_equal(loaded["array"], array)
    assert torch.equal(loaded["tensor"], torch.arange(3))
    assert loaded["pair"][0] == 1


def test_random_states_round_trip_through_a_file(tmp_path: Path) -> None:
    seed_everything(3)
    np.random.standard_normal()  # noqa: NPY002  leaves a cached Gaussian behind
    save_checkpoint(tmp_path / "x.ckpt", get_random_state())
    expected = (torch.rand(2), np.random.standard_normal(3))  # noqa: NPY002
    seed_everything(4)
    set_random_state(load_checkpoint(tmp_path / "x.ckpt"))
    assert torch.equal(torch.rand(2), expected[0])
    assert np.array_equal(np.random.standard_normal(3), expected[1])  # noqa: NPY002


@pytest.mark.parametrize("kind", ["truncated", "flipped", "empty", "text", "other format", "missing"])
def test_damage_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.ckpt"
    save_checkpoint(path, {"a": torch.zeros(100)})
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[:-50])
    elif kind == "flipped":
        path.write_bytes(data[:-600] + bytes([data[-600] ^ 1]) + data[-599:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello")
    elif kind == "other format":
        path.write_bytes(data.replace(b"checkpoint 1", b"checkpoint 9", 1))
    else:
        path.unlink()
    with pytest.raises(UserError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.ckpt"
    save_checkpoint(path, {"a": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, {"a": 2})
    monkeypatch.undo()
    assert load_checkpoint(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_place_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "x.ckpt", b"")


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot be saved"):
        save_checkpoint(tmp_path / "x.ckpt", {"a": object()})
    with pytest.raises(TypeError, match="object arrays"):
        save_checkpoint(tmp_path / "x.ckpt", {"a": np.array([None])})


def test_folder_keeps_the_last_two_and_the_best(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(UserError, match="no checkpoint yet"):
        folder.for_evaluation()
    for step in (5, 1000, 20):
        folder.save(step, {"step": step})
    assert [path.name for path in folder.steps()] == ["step_000000000020.ckpt", "step_000000001000.ckpt"]
    assert load_checkpoint(folder.for_evaluation())["step"] == 1000
    folder.save_best({"step": 5})
    assert load_checkpoint(folder.for_evaluation())["step"] == 5


def test_single_precision_numbers_keep_their_type(tmp_path):
    save_checkpoint(tmp_path / "a.ckpt", {"returns": [np.float32(0.1), 0.1]})
    single, double = load_checkpoint(tmp_path / "a.ckpt")["returns"]
    assert (type(single), type(double)) == (np.float32, float)
    assert single == np.float32(0.1)
