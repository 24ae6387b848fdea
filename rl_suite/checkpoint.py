"""Checkpoints without pickle: one file, checked by its hash, replaced in one motion.

A file is one line of JSON (format, SHA-256 and size of the rest, sizes of the run's logs) followed by what
``torch.save`` writes for nested dicts of tensors and plain values. Reading uses ``weights_only=True``, so a file
from a stranger can hold wrong numbers but cannot run code.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import pickle
import re
import secrets
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from rl_suite.errors import DamagedError, UserError
from rl_suite.finite import require_finite_tensors
from rl_suite.loading import BRIEF
from rl_suite.portable import CAREFULLY, WINDOWS, lock
from rl_suite.progress import tell
from rl_suite.reading import parse_json, read_bytes

FORMAT = "rl_suite checkpoint 1"
ARRAY = "__ndarray__"
SINGLE = "__float32__"
BIG = "__int__"  # torch's safe reader takes integers up to 64 bits; generator states have 128
NUMBERED = re.compile(r"step_\d{12,18}\.ckpt", re.ASCII)
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}")  # what ``write_atomically`` calls a file that is not whole yet


def write_atomically(path: Path, payload: bytes) -> None:
    """Write a whole file or nothing: temporary file in the same folder, fsync, rename, fsync of the folder.

    The temporary name cannot be guessed, so no link of that name can wait there; the rename replaces a link. While it
    is written it is locked, so that :func:`remove_leftovers` knows it from one that a killed process left.
    """
    require_writable_name(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # not mkstemp's, which only its owner may read
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CAREFULLY, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                with contextlib.suppress(OSError):  # a file system without locks
                    lock(descriptor)
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
                if not WINDOWS:
                    temporary.replace(path)  # while it is locked, so that nobody takes it for a leftover
            if WINDOWS:
                temporary.replace(path)
            _sync_folder(path.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from None


def require_writable_name(path: Path) -> None:
    """Raise a ``UserError`` unless a file may stand there: the rename would replace a device or a pipe as well."""
    if not path.name or "\0" in str(path):
        raise UserError(f"{str(path)!r}: names no file")
    with contextlib.suppress(OSError):  # nothing there yet, or what the writing itself will tell
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
            raise UserError(f"{path}: cannot be written: it is {kind}, which is not replaced")


def cannot_write(path: Path, error: OSError) -> UserError:
    """The one line for a full disk, a folder without permission and their like."""
    return UserError(f"{path}: cannot be written: {error.strerror}; free the disk or choose runs_dir=...")


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a loss of power; Windows cannot open folders."""
    if WINDOWS:
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # one may write into it, not read it
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half-written below ``folder``; files that are being written stay."""
    for place, _, names in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, names):
            with contextlib.suppress(OSError):  # it is being written, went meanwhile, or is not ours to delete
                descriptor = os.open(Path(place) / name, os.O_RDONLY | CAREFULLY)
                try:
                    lock(descriptor)
                    if not WINDOWS:
                        (Path(place) / name).unlink()
                finally:
                    os.close(descriptor)
                if WINDOWS:
                    (Path(place) / name).unlink()


def _encode(value: Any) -> Any:
    """Arrays become tensors; only tensors, plain values, dicts, lists and tuples are left."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            raise TypeError("object arrays cannot be saved")
        return {ARRAY: torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape).clone()}
    if isinstance(value, np.float32):  # a mean of such is not that of Python's floats, bit for bit
        return {SINGLE: float(value)}
    if isinstance(value, np.generic):
        return _encode(value.item())
    if isinstance(value, bool | float | str | type(None) | torch.Tensor):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else {BIG: str(value)}
    if isinstance(value, Mapping):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_encode(item) for item in value)
    raise TypeError(f"{type(value).__name__} cannot be saved in a checkpoint")


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return _decode(value[ARRAY]).numpy()
        if value.keys() == {SINGLE}:
            return np.float32(value[SINGLE])
        if value.keys() == {BIG}:
            return int(value[BIG])
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_decode(item) for item in value)
    if isinstance(value, torch.Tensor) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError("a tensor that claims more than the file holds")  # a copy of it would fill the memory
    return value


def save_checkpoint(path: Path, content: Mapping[str, Any], logs: Mapping[str, int] | None = None) -> None:
    """Save nested dicts, lists and tuples of tensors, arrays and plain values.

    Args:
        path: where.
        content: what.
        logs: sizes of what the run has logged so far, by file name (``rl_suite.logs``); they stand in the first line.

    Raises:
        UserError: the folder is not writable or the disk is full; an older file stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(_encode(content), buffer)
    payload = buffer.getvalue()
    header: dict[str, Any] = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), "size": len(payload)}
    if logs is not None:
        header["logs"] = dict(logs)
    write_atomically(path, json.dumps(header).encode() + b"\n" + payload)


class Saved(NamedTuple):
    """A checkpoint as it was read."""

    path: Path
    content: dict[str, Any]
    logs: dict[str, int] | None
    """Sizes of the run's logs at that time; None where they are not known."""

    @property
    def step(self) -> int:
        """The number of steps in the name of a numbered checkpoint."""
        return int(self.path.stem.removeprefix("step_"))


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The content of a checkpoint; raises as :func:`read_checkpoint` does."""
    return read_checkpoint(path, device).content


def read_checkpoint(path: Path, device: str = "cpu") -> Saved:
    """Read what :func:`save_checkpoint` wrote; arrays come back as arrays, tensors on ``device``.

    Raises:
        DamagedError: truncated, or changed since it was written.
        UserError: no such file, or written by another program.
    """
    line, _, payload = read_bytes(path).partition(b"\n")
    header = parse_json(line)
    if not isinstance(header, dict) or "format" not in header:
        raise DamagedError(f"{path}: not a checkpoint of this suite")
    if header["format"] != FORMAT:
        raise UserError(f"{path}: written as {BRIEF.repr(header['format'])}, this program reads {FORMAT!r}")
    if header.get("size") != len(payload) or header.get("sha256") != hashlib.sha256(payload).hexdigest():
        raise DamagedError(f"{path}: truncated or corrupt checkpoint")
    try:
        content = _decode(_load(payload, device))
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        zipfile.BadZipFile,
    ):
        content = None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: not a checkpoint of this suite: its content is none that save_checkpoint wrote")
    logs = header.get("logs")
    known = isinstance(logs, dict) and all(isinstance(size, int) and size >= 0 for size in logs.values())
    return Saved(path, content, logs if known else None)


def _load(payload: bytes, device: str) -> Any:
    """Tensors and plain values, as ``torch.save`` writes them: never compressed, so they cannot grow on reading."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(payload) for entry in entries):
        raise ValueError("compressed entries")
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)


class CheckpointFolder:
    """Numbered checkpoints of one run: the last ``keep`` and the best."""

    def __init__(self, path: Path, keep: int = 2):
        self.path, self.keep = path, keep

    @property
    def best_path(self) -> Path:
        """Where the best checkpoint is, or would be."""
        return self.path / "best.ckpt"

    def steps(self) -> list[Path]:
        """Numbered checkpoints, oldest first."""
        return sorted(path for path in self.path.glob("step_*.ckpt") if NUMBERED.fullmatch(path.name))

    def save(self, step: int, content: Mapping[str, Any], logs: Mapping[str, int] | None = None) -> Path:
        """Save under the number of steps, then delete all but the last ``keep``.

        Raises:
            NonFiniteError: a tensor of it holds NaN or infinity; nothing is written.
            UserError: the disk is full, or the folder cannot be written.
        """
        require_finite_tensors(content, f"at step {step}")
        path = self.path / f"step_{step:012d}.ckpt"
        save_checkpoint(path, content, logs)
        self._forget_old()
        return path

    def forget_after(self, saved: Saved) -> None:
        """Delete the damaged checkpoints after the one that a run goes on from; they would outlive better ones.

        Old ones go too: a kill between the writing of the last checkpoint and their deletion would have left them.
        """
        for path in self.steps():
            if path.name > saved.path.name:
                path.unlink()
        self._forget_old()

    def _forget_old(self) -> None:
        for old in self.steps()[: -self.keep]:
            old.unlink()

    def save_best(self, content: Mapping[str, Any]) -> Path:
        """Replace the best checkpoint; raises as :meth:`save` does."""
        require_finite_tensors(content, "of the best checkpoint")
        save_checkpoint(self.best_path, content)
        return self.best_path

    def latest(self) -> Path | None:
        """The newest numbered checkpoint, if any."""
        return self.steps()[-1] if self.steps() else None

    def read_latest(self, device: str = "cpu") -> Saved | None:
        """The newest numbered checkpoint that is whole; of damaged ones a line is said. None if there is none yet.

        Raises:
            UserError: all of them are damaged, or the newest was written by another program.
        """
        damaged: list[UserError] = []
        tried: set[Path] = set()
        while left := [path for path in self.steps() if path not in tried]:
            path = left[-1]
            tried.add(path)
            try:
                saved = read_checkpoint(path, device)
            except DamagedError as error:
                damaged.append(error)
                continue
            except UserError:
                if os.path.lexists(path):
                    raise
                continue  # the run that is being written has deleted it: list them again
            for reason in damaged:
                tell(f"{reason}; {path.name} is used instead")
            return saved
        if damaged:
            raise UserError(f"{damaged[0]}; no earlier one is whole: delete them to start afresh")
        return None

    def for_evaluation(self) -> Path:
        """The best checkpoint, or the newest where none was chosen yet."""
        path = self.best_path if self.best_path.exists() else self.latest()
        if path is None:
            raise UserError(f"{self.path}: no checkpoint yet; train first")
        return path

    def read_for_evaluation(self, device: str = "cpu") -> Saved:
        """The best checkpoint, or the newest whole one where none was chosen yet; a run may be writing to the folder.

        Raises:
            UserError: there is none, or the best is damaged.
        """
        if self.best_path.exists():
            return read_checkpoint(self.best_path, device)
        saved = self.read_latest(device)
        if saved is None:
            raise UserError(f"{self.path}: no checkpoint yet; train first")
        return saved
