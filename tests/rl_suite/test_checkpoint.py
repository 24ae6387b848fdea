"""Checkpoints: what goes in comes out, damage is seen, old files survive."""

import errno
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_suite import checkpoint
from rl_suite.checkpoint import CheckpointFolder, load_checkpoint, save_checkpoint, write_atomically
from rl_suite.errors import NonFiniteError, UserError
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


def test_a_damaged_newest_checkpoint_is_passed_over_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.read_latest() is None
    first, second = (folder.save(step, {"step": step}, {"metrics.jsonl": step}) for step in (1, 2))
    saved = folder.read_latest()
    assert saved is not None
    assert (saved.step, saved.content, saved.logs) == (2, {"step": 2}, {"metrics.jsonl": 2})
    assert not capsys.readouterr().err
    for damaged in (second.read_bytes()[:-1], b"", b"\0" * 500):
        second.write_bytes(damaged)
        for read in (folder.read_latest, folder.read_for_evaluation):
            saved = read()
            assert saved is not None
            assert saved.content == {"step": 1}
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert second.name in told
            assert f"{first.name} is used instead" in told
    first.write_bytes(b"")
    with pytest.raises(UserError, match="no earlier one is whole"):
        folder.read_latest()


def test_a_checkpoint_of_another_program_is_not_passed_over(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    newest = [folder.save(step, {"step": step}) for step in (1, 2)][-1]
    newest.write_bytes(newest.read_bytes().replace(b"checkpoint 1", b"checkpoint 9", 1))
    with pytest.raises(UserError, match="written as 'rl_suite checkpoint 9'"):
        folder.read_latest()


def test_a_damaged_checkpoint_does_not_outlive_those_after_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (10, 20):
        path = folder.save(step, {"step": step})
    path.write_bytes(b"")
    path.with_name("step_000000000030.ckpt").write_bytes(b"")
    saved = folder.read_latest()
    assert saved is not None
    folder.forget_after(saved)
    folder.save(15, {"step": 15})
    assert [path.name[-7:-5] for path in folder.steps()] == ["10", "15"]


def test_a_run_that_is_being_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, {"step": step})
    read = checkpoint.read_checkpoint

    def overtaken(path: Path, device: str = "cpu") -> checkpoint.Saved:
        """Training saves two more and deletes those that were listed, while evaluation wants to open one."""
        monkeypatch.setattr(checkpoint, "read_checkpoint", read)
        for step in (3, 4):
            folder.save(step, {"step": step})
        return read(path, device)

    monkeypatch.setattr(checkpoint, "read_checkpoint", overtaken)
    assert folder.read_for_evaluation().content == {"step": 4}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_saved(value: float, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    content = {"model": {"a": torch.ones(2), "b": [torch.tensor([1.0, value])]}, "worlds": np.array([math.inf])}
    for save in (lambda: folder.save(7, content), lambda: folder.save_best(content)):
        with pytest.raises(NonFiniteError, match=r"model\.b\.0 is not finite"):
            save()
    assert not list(tmp_path.iterdir())
    content["model"] = {"a": torch.full((2,), 3e38), "steps": torch.tensor(3)}
    assert folder.save(7, content).exists()


def test_names_that_are_no_step_are_no_checkpoints(tmp_path: Path) -> None:
    for name in ("step_x.ckpt", "step_1.ckpt", "step_00000000000١.ckpt", "step_000000000001.ckpt.bak"):
        (tmp_path / name).write_bytes(b"")
    assert CheckpointFolder(tmp_path).read_latest() is None


def test_single_precision_numbers_keep_their_type(tmp_path):
    save_checkpoint(tmp_path / "a.ckpt", {"returns": [np.float32(0.1), 0.1]})
    single, double = load_checkpoint(tmp_path / "a.ckpt")["returns"]
    assert (type(single), type(double)) == (np.float32, float)
    assert single == np.float32(0.1)


def test_an_old_checkpoint_that_a_kill_left_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2):
        folder.save(step, {"a": 1})

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_sync_folder", full)  # behind the rename, before old ones are deleted
        with pytest.raises(UserError, match="No space left"):
            folder.save(3, {"a": 1})
    saved = folder.read_latest()
    assert saved is not None
    assert saved.step == 3
    folder.forget_after(saved)
    assert [path.name for path in folder.steps()] == ["step_000000000002.ckpt", "step_000000000003.ckpt"]
