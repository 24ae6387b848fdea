"""Images from folders and zip archives, read as data: everything is checked before it is unpacked or decoded.

An archive or a picture can claim to be far larger than it is. Names are never used as paths, sizes are checked
before memory is taken, only picture formats are decoded, and only pictures below a limit.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.pictures import decode

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
MAX_FILES = 200_000
MAX_FILE_BYTES = 32 * 2**20  # of one file, unpacked
MAX_TOTAL_BYTES = 2 * 2**30  # of all files, and of all decoded pictures
MAX_RATIO = 200  # unpacked to packed; deflate reaches 1000 on nothing but zeros


class Picture(NamedTuple):
    """One decoded picture and the folders that it stood in."""

    folders: tuple[str, ...]
    name: str
    pixels: NDArray[np.uint8]  # (H, W) or (H, W, 3)


def read_pictures(path: Path, colour: bool = False) -> Iterator[Picture]:
    """All pictures of a zip archive or below a folder, in the order of their names.

    Raises:
        UserError: no such file, damaged, a file that looks like a picture and is none, or beyond the limits above.
    """
    total = 0
    for name, content in _contents(path, SUFFIXES):
        place = PurePosixPath(name)
        pixels = decode(content, f"{path}: {name}", colour)
        total += pixels.nbytes
        if total > MAX_TOTAL_BYTES:
            raise UserError(f"{path}: its pictures take more than {MAX_TOTAL_BYTES >> 30} GiB; make them smaller")
        yield Picture(place.parts[:-1], place.name, pixels)


def read_files(path: Path, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """Contents of all files with these suffixes in a zip archive or below a folder, by name within it."""
    return dict(_contents(path, suffixes))


def _contents(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            yield from _of_folder(path, suffixes)
        elif path.exists() and not path.is_file():
            raise UserError(f"{path}: is no plain file, so it is not opened")
        else:
            yield from _of_zip(path, suffixes)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _of_folder(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Regular files below a folder; symbolic links are not followed."""
    files = sorted(_files_below(path, suffixes))
    _require_few(len(files), sum(file.stat().st_size for file in files), path)
    for file in files:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB, which is not read")
        yield file.relative_to(path).as_posix(), file.read_bytes()


def _of_zip(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and e.filename.lower().endswith(suffixes)]
            entries = sorted((e for e in entries if "__MACOSX" not in e.filename), key=lambda entry: entry.filename)
            _require_few(len(entries), sum(e.file_size for e in entries), path)
            for entry in entries:
                yield entry.filename, _unpack(archive, entry, path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
        raise UserError(f"{path}: not a zip archive, or a damaged one; download it again") from None


def _require_few(number: int, size: int, path: Path) -> None:
    if number > MAX_FILES:
        raise UserError(f"{path}: {number} files; at most {MAX_FILES} are read")
    if size > MAX_TOTAL_BYTES:
        raise UserError(f"{path}: its files would take more than {MAX_TOTAL_BYTES >> 30} GiB unpacked")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bytes:
    """The bytes of one entry, never more than it declares."""
    if entry.file_size > MAX_FILE_BYTES or entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        raise UserError(f"{path}: {entry.filename} claims to unpack to {entry.file_size} bytes, which is not read")
    if entry.flag_bits & 1:
        raise UserError(f"{path}: {entry.filename} is encrypted")
    with archive.open(entry) as file:
        return file.read(entry.file_size)


def _files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink() or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_below(entry, suffixes)
        elif entry.is_file() and entry.suffix.lower() in suffixes:
            yield entry
