"""What every executor promises: each item gets one outcome, and no job takes the others with it.

* A job is ``function(item)``. It may be called again for the same item (its worker died, or it was interrupted), so it
  must be idempotent; what it has done lies in its files or in what it returns, never in the process.
* An error of a job is its outcome; it is not tried again, because it would fail again. A worker that dies is replaced,
  and its job starts over at most ``retries`` times.
* Items are drawn as workers become free and outcomes are handed out as they come: the memory of the driver does not
  grow with their number.
* Closing the iterator, or Ctrl-C, ends the jobs that run (SIGTERM, which a run takes at its next safe point) and
  starts no further one. A second Ctrl-C kills them.
"""

import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from rl_suite.errors import UserError

Item = TypeVar("Item")
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""They are read when numpy, torch and numba are imported, so a worker must be started with them."""
RETRIES = 2
"""How often a job whose worker died starts over: a job that kills its workers must end, too."""


@dataclass(frozen=True)
class Outcome(Generic[Value_co]):
    """What became of one item."""

    index: int
    """Its place among the items."""
    value: Value_co | None = None
    """What the function returned."""
    error: str | None = None
    """One line if it failed."""
    trace: str = ""
    """Where an unexpected error came from; empty for one that the user can mend."""
    attempts: int = 1
    """How many workers began it."""


class Executor(Protocol):
    """Runs jobs; see the promises of this module."""

    def run(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Outcome[Value], None, None]:
        """Call ``function`` on every item; yields outcomes in the order in which the jobs end."""


class InterruptedJobError(Exception):
    """A job raises it to say: a signal stopped me, my state is saved, call me again."""


class JobError(Exception):
    """Jobs failed; the message names each."""


class Caught:
    """Keeps what a job raises, because it is the outcome of the job and no error of whoever runs it.

    A context manager; Ctrl-C and interrupted jobs pass through it.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self.trace = ""

    def __enter__(self) -> "Caught":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception | SystemExit) or isinstance(error, InterruptedJobError):
            return False
        if isinstance(error, UserError):
            self.error = str(error)
        else:
            self.error = f"{type(error).__name__}: {error}".rstrip(": ")
            self.trace = "".join(traceback.format_exception(error))
        return True


class Report(NamedTuple):
    """What a worker sends back."""

    value: Any
    error: str | None
    trace: str = ""
    again: bool = False
    """Whether the job wants to start over."""


def perform(function: Callable[[Any], Any], item: Any) -> Report:
    """Do one job, whatever it raises."""
    with Caught() as caught:
        try:
            return Report(function(item), None)
        except InterruptedJobError:
            return Report(None, "a signal stopped it", again=True)
    return Report(None, caught.error, caught.trace)
