"""How much memory there is, so that what does not fit is refused in one line before anything is allocated."""

import os
import sys
from pathlib import Path

from rl_suite.errors import UserError


def available_bytes() -> int:
    """What this process may still take: the machine's free memory and its own limit, whichever is less.

    Without end on Windows, which has neither of the questions that are asked here.
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return free if limit == resource.RLIM_INFINITY else min(free, limit)


def require_memory(needed: int, what: str) -> None:
    """Raise a ``UserError`` that says how many GB ``what`` needs if there are not so many."""
    available = available_bytes()
    if needed > available:
        raise UserError(f"{what} needs {needed / 1e9:.3g} GB of memory, and {available / 1e9:.3g} GB are free")
