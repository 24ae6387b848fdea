"""What Windows does differently about files: locks, links and files that are open.

Linux and macOS have ``flock`` and every flag of :func:`os.open` that is used here. Windows has locks of its own, no
flags against links and pipes, and does not rename a file that is open.
"""

import os
import sys

WINDOWS = sys.platform == "win32"
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
"""Refuse a link; where there is no such flag, ask :meth:`pathlib.Path.is_symlink` first."""
CAREFULLY: int = NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""Flags of :func:`os.open` for files of strangers: no links, no waiting for pipes, nothing for child processes."""

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> None:
        """Lock an open file until it is closed; raises ``BlockingIOError`` if another process holds it."""
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, "locked by another process") from None
else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Lock an open file until it is closed; raises ``BlockingIOError`` if another process holds it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
