"""Reading files of a run folder or data set: plain files only, one line for whatever is wrong with them.

A folder may come from a stranger. Links in it are not followed, pipes and devices are not opened for long
enough to wait for them, and a file that does not fit into memory is refused before it is read.
"""

import errno
import io
import json
import math
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.memory import require_memory
from rl_suite.portable import CAREFULLY, NO_FOLLOW

MOST_TEXT = 1_000_000_000  # bytes of a text that is parsed; metrics of a long run are the largest


def read_bytes(path: Path, most: int | None = None, follow: bool = False) -> bytes:
    """The content of a plain file; ``follow`` for what the user has named, which may be a link.

    Raises:
        UserError: it is missing, a link, no plain file, larger than ``most`` bytes or than the free memory.
    """
    descriptor = _open(path, os.O_RDONLY, follow)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if most is not None and size > most:
            raise UserError(f"{path}: larger than {most} bytes, which it never should be")
        require_memory(size, str(path))
        return file.read()


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """A plain file of UTF-8 text; raises ``UserError`` as :func:`read_bytes` does."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def read_json(path: Path) -> dict[str, Any]:
    """A plain file that holds one JSON object; raises ``UserError`` otherwise."""
    content = parse_json(read_text(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: cut off, or not a JSON object; delete it")
    return content


def parse_json(text: str | bytes) -> Any:
    """What the text holds; None where it is no JSON, nested too deeply, or holds a number of thousands of digits."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parse_arrays(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file that was read as ``data``, without pickle and never larger than they state.

    Raises:
        UserError: no npz file, an array whose shape does not fit its bytes, or more than the free memory.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            require_memory(sum(entry.file_size for entry in archive.infolist()), str(path))
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    _check_header(file, entry.file_size)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a file of arrays: {str(error)[:200]}") from None


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise a ``ValueError`` if an npy file of ``size`` bytes states a shape that needs more."""
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array {shape} of {dtype} in {size} bytes")


def open_to_append(path: Path) -> TextIO:
    """Open a plain file for writing at its end; it is made if it is missing.

    Raises:
        UserError: it is a link or no plain file, or cannot be written.
    """
    return os.fdopen(_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8")


def is_plain_file(path: Path) -> bool:
    """Whether a file stands there that is neither link, folder, pipe nor device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def refuse_linked_folders(path: Path) -> None:
    """Raise a ``UserError`` if a folder below ``path`` is a link: reports would be written through it."""
    for place, folders, _ in os.walk(path):
        for name in folders:
            linked = Path(place) / name
            if linked.is_symlink():
                raise UserError(f"{linked}: is a link, which is not followed; move the folder itself there")


def _open(path: Path, flags: int, follow: bool = False) -> int:
    """Open a plain file without following a link and without waiting for the other end of a pipe."""
    try:
        if not (follow or NO_FOLLOW) and path.is_symlink():
            raise OSError(errno.ELOOP, "")
        descriptor = os.open(path, flags | (CAREFULLY & ~NO_FOLLOW if follow else CAREFULLY), 0o666)
    except OSError as error:
        why = (
            "is a link, which is not followed" if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}"
        )
        raise UserError(f"{path}: {why}") from None
    except ValueError as error:  # a null byte in the name
        raise UserError(f"{path}: {error}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: is no plain file, so it is not opened")
    return descriptor
