"""A person is never left without a word: what goes on silently says so after a moment.

On a terminal a spinner with the seconds so far, elsewhere one line. Kernels that are compiled meanwhile are named
as the reason, since that happens once: numba keeps them on disk.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from rl_suite.progress import is_quiet

QUIET = 1.5  # seconds; what is over by then needs no word
COMPILING = "compiling once what it computes with (about 20 s; kept on disk for the next start)"

_open: list["Wait"] = []


class Wait:
    """One wait of a person; ``say`` changes what it is for.

    Args:
        what: the work, without a full stop.
        console: where to write; what is standard error now, even while it is redirected.
    """

    def __init__(self, what: str, console: Console | None = None):
        self.what, self.console = what, console or Console(file=sys.stderr)
        self._lock = threading.Lock()
        self._over = False
        self._progress: Progress | None = None
        self._begun = time.monotonic()
        self._said = ""
        self._timer = threading.Timer(QUIET, self.show)
        self._timer.daemon = True

    def show(self) -> None:
        """Show it now; called by itself after ``QUIET`` seconds."""
        with self._lock:
            if self._over or is_quiet():
                return
            if not self.console.is_terminal:
                if self._said != self.what:
                    self.console.print(f"{self.what} ...", highlight=False, markup=False, soft_wrap=True)
                    self._said = self.what
            elif self._progress is None:
                columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
                self._progress = Progress(
                    *columns, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
                )
                self._progress.add_task(self.what, total=None)
                self._progress.start()

    def say(self, what: str) -> None:
        """From now on it is ``what`` that one waits for."""
        self.what = what
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], description=what)
        elif not self.console.is_terminal:
            self.show()

    def start(self) -> None:
        """Begin to count."""
        self._timer.start()

    def stop(self) -> None:
        """Take the spinner away."""
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._progress is not None:
                self._progress.stop()


@contextmanager
def waiting(what: str, console: Console | None = None) -> Iterator[None]:
    """Say what one waits for while the body runs, if that takes more than a moment; an inner wait says nothing."""
    if _open:
        yield
        return
    wait = Wait(what, console)
    _open.append(wait)
    wait.start()
    try:
        yield
    finally:
        _open.remove(wait)
        wait.stop()


def _notice(kernel: str) -> None:
    """A kernel is about to be compiled: said once, whether somebody waits already or not."""
    from envs.kernel_cache import listeners

    listeners.remove(_notice)
    if _open:
        _open[0].say(COMPILING)
    elif not is_quiet():
        sys.stderr.write(f"{COMPILING} ...\n")


def notice_compilation() -> None:
    """Let the first kernel that this process compiles say that it does."""
    from envs.kernel_cache import listeners  # numba, which --help need not wait for

    if _notice not in listeners:
        listeners.append(_notice)
