"""Progress that a person can read: a live bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rl_suite.loading import CONTROL

SECONDS_BETWEEN_LINES = 10.0  # where there is no terminal
SECONDS_IF_VERBOSE = 1.0
FORMAT = "%(levelname)s %(name)s: %(message)s"

_quiet = False


def be_quiet() -> None:
    """From now on this process shows no progress: results, notes and errors only."""
    global _quiet
    _quiet = True


def be_verbose() -> None:
    """From now on progress is said every second where there is no terminal, and what this project logs is shown."""
    global SECONDS_BETWEEN_LINES
    SECONDS_BETWEEN_LINES = SECONDS_IF_VERBOSE
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(FORMAT))
    for package in ("envs", "agents", "rl_suite"):
        logging.getLogger(package).addHandler(handler)
        logging.getLogger(package).setLevel(logging.INFO)


def is_quiet() -> bool:
    """Whether nobody wants to see how far it is."""
    return _quiet


def left(seconds: float, done: float, total: float) -> str:
    """How long the rest will take, at the speed so far.

    >>> left(30.0, 1, 4), left(60.0, 1, 100), left(5.0, 0, 4), left(5.0, 4, 4)
    ('90 s left', '1:39 h left', '', '')
    """
    if not 0 < done < total:
        return ""
    rest = seconds * (total - done) / done
    return f"{rest:.0f} s left" if rest < 600 else f"{int(rest // 3600)}:{int(rest % 3600 // 60):02d} h left"


def tell(line: str) -> None:
    """Say one line beside the results, on standard error; control characters of files do not reach the terminal."""
    sys.stderr.write(CONTROL.sub("?", line) + "\n")


class ProgressBar:
    """Shows ``done`` of ``total`` with a few figures; use as a context manager.

    Args:
        what: the work, one or two words.
        total: how much there is, in the unit of ``update``.
        console: where to write; standard error by default, so that results can be piped.
    """

    def __init__(self, what: str, total: int, console: Console | None = None):
        self.what, self.total = what, total
        self.console = console or Console(file=sys.stderr)
        self.live = self.console.is_terminal and not is_quiet()
        self._last_line = time.monotonic()
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
        )
        self._task = self._progress.add_task(what, total=total, figures="")

    def update(self, done: int, **figures: float | str) -> None:
        """Show that ``done`` of ``total`` is finished, with named figures beside it."""
        text = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
        if self.live:
            self._progress.update(self._task, completed=done, figures=text)
            return
        now = time.monotonic()
        if is_quiet():
            return
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            spent = now - self._started
            parts = (f"{self.what} {done}/{self.total}", f"{spent:.0f} s", left(spent, done, self.total), text)
            line = "  ".join(filter(None, parts))
            self.console.print(line, highlight=False, markup=False, emoji=False)

    def __enter__(self) -> "ProgressBar":
        if self.live:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._progress.stop()


def after(tell: Callable[[int], None], before: int) -> Callable[[int], None]:
    """``tell`` for a part of the work that begins when ``before`` is done already.

    >>> after(print, 10)(3)
    13
    """
    return lambda done: tell(before + done)
