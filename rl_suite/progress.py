"""Progress that a person can read: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rl_suite.loading import CONTROL

SECONDS_BETWEEN_LINES = 10.0


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
        self.live = self.console.is_terminal
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
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            line = f"{self.what} {done}/{self.total}  {now - self._started:.0f} s  {text}"
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
