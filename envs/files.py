"""Files from outside are data: plain files only, never larger than they may be, never a pickle.

Links are not followed, and pipes and devices are not opened for long enough to wait for them.
"""

import io
import math
import os
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

BROKEN = (ValueError, KeyError, TypeError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)

# no links, no waiting for pipes, nothing for child processes; Windows knows other flags
CAREFULLY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def read_plain(path: Path | str, most: int) -> bytes:
    """The content of a plain file of at most ``most`` bytes.

    Raises:
        ValueError: it is missing, a link, no plain file, or too large.
    """
    try:
        if not hasattr(os, "O_NOFOLLOW") and Path(path).is_symlink():
            raise OSError
        descriptor = os.open(path, os.O_RDONLY | CAREFULLY)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        why = "it is a link; name the file itself" if Path(path).is_symlink() else getattr(error, "strerror", error)
        raise ValueError(f"{path} cannot be read: {why}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} cannot be read: it is no plain file")
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > most:
            raise ValueError(f"{path} cannot be read: it has {status.st_size} bytes, more than {most}")
        return file.read()


def array_of(data: bytes) -> NDArray[Any]:
    """The array of an npy file; ``ValueError`` for anything else, and for a shape that its bytes do not fill."""
    try:
        _check_header(io.BytesIO(data), len(data))
        array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
        return array
    except BROKEN as error:
        raise ValueError(f"no array: {str(error)[:200]}") from None


def arrays_of(data: bytes, most: int) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file that take at most ``most`` bytes together; ``ValueError`` for anything else."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            for entry in entries:
                with archive.open(entry) as file:
                    _check_header(file, entry.file_size)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except BROKEN as error:
        raise ValueError(f"no file of arrays: {str(error)[:200]}") from None


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise a ``ValueError`` if an npy file of ``size`` bytes states a shape that needs more."""
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"an array {shape} of {dtype} in {size} bytes")
