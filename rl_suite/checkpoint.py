"""Checkpoints without pickle: one file, checked by its hash, replaced in one motion.

A file is one line of JSON (format, SHA-256 and size of the rest) followed by what ``torch.save``
writes for nested dicts of tensors and plain values. Reading uses ``weights_only=True``, so a file
from a stranger can hold wrong numbers but cannot run code.
"""

import hashlib
import io
import json
import os
import pickle
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl_suite.errors import UserError
from rl_suite.reading import parse_json, read_bytes

FORMAT = "rl_suite checkpoint 1"
ARRAY = "__ndarray__"
SINGLE = "__float32__"
BIG = "__int__"  # torch's safe reader takes integers up to 64 bits; generator states have 128


def write_atomically(path: Path, payload: bytes) -> None:
    """Write a whole file or nothing: temporary file in the same folder, fsync, rename.

    The temporary name cannot be guessed, so no link of that name can wait there; the rename replaces a link.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")  # not mkstemp's, which only its owner may read
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; free the disk or choose runs_dir=...") from None


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


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Save nested dicts, lists and tuples of tensors, arrays and plain values.

    Raises:
        UserError: the folder is not writable or the disk is full; an older file stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(_encode(content), buffer)
    payload = buffer.getvalue()
    header = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), "size": len(payload)}
    write_atomically(path, json.dumps(header).encode() + b"\n" + payload)


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; arrays come back as arrays, tensors on ``device``.

    Raises:
        UserError: no such file, not a checkpoint, truncated, or changed since it was written.
    """
    line, _, payload = read_bytes(path).partition(b"\n")
    header = parse_json(line)
    if not isinstance(header, dict) or "format" not in header:
        raise UserError(f"{path}: not a checkpoint of this suite")
    if header["format"] != FORMAT:
        raise UserError(f"{path}: written as {header['format']!r}, this program reads {FORMAT!r}")
    if header.get("size") != len(payload) or header.get("sha256") != hashlib.sha256(payload).hexdigest():
        raise UserError(f"{path}: truncated or corrupt checkpoint; delete it to go on from the one before")
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
        raise UserError(f"{path}: not a checkpoint of this suite: its content is none that save_checkpoint wrote")
    return content


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
        return sorted(self.path.glob("step_*.ckpt"))

    def save(self, step: int, content: Mapping[str, Any]) -> Path:
        """Save under the number of steps, then delete all but the last ``keep``."""
        path = self.path / f"step_{step:012d}.ckpt"
        save_checkpoint(path, content)
        for old in self.steps()[: -self.keep]:
            old.unlink()
        return path

    def save_best(self, content: Mapping[str, Any]) -> Path:
        """Replace the best checkpoint."""
        save_checkpoint(self.best_path, content)
        return self.best_path

    def latest(self) -> Path | None:
        """The newest numbered checkpoint, if any."""
        return self.steps()[-1] if self.steps() else None

    def for_evaluation(self) -> Path:
        """The best checkpoint, or the newest where none was chosen yet."""
        path = self.best_path if self.best_path.exists() else self.latest()
        if path is None:
            raise UserError(f"{self.path}: no checkpoint yet; train first")
        return path
