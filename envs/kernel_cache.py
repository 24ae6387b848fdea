"""Keeps compiled kernels honest: none may be older than the sources it was made from.

Numba stores a compiled function beside its file and asks only whether that file has changed. A kernel also
contains the functions that it calls from other files, so after an edit there it would silently go on with
the old ones. Whatever is older than the newest source is therefore forgotten and compiled again.
"""

from pathlib import Path


def forget_stale_kernels(package: Path) -> int:
    """Delete numba's index files under ``package`` that are older than a source they may contain; returns how many.

    A kernel may contain functions of its own folder and of the folders above it, up to the package. An index
    that cannot be deleted belongs to somebody else, who keeps it up to date.
    """
    newest: dict[Path, int] = {}
    forgotten = 0
    for index in package.rglob("__pycache__/*.nbi"):
        folder = index.parent.parent
        try:
            if index.stat().st_mtime_ns < _newest_source(folder, package, newest):
                index.unlink()
                forgotten += 1
        except (FileNotFoundError, PermissionError):  # another process was faster, or the folder is read-only
            continue
    return forgotten


def _newest_source(folder: Path, package: Path, known: dict[Path, int]) -> int:
    """Time of the last change in a folder and those above it; ``known`` remembers the answers."""
    if folder not in known:
        above = 0 if folder == package else _newest_source(folder.parent, package, known)
        known[folder] = max([above, *(source.stat().st_mtime_ns for source in folder.glob("*.py"))])
    return known[folder]
