"""Jobs in worker processes of this machine; a worker that dies is replaced, and its job starts over."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from rl_suite.sweeps.contract import RETRIES, THREAD_VARIABLES, Caught, Item, Outcome, Report, Value, perform


def usable_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Task:
    """An item that waits or runs."""

    index: int
    item: Any
    attempts: int = 0


@dataclass
class _Worker:
    """A process, the pipe to it, and what it does at the moment."""

    process: SpawnProcess
    pipe: Connection
    task: _Task | None = None


class Processes:
    """A pool of spawned processes, each of which does one job at a time.

    They are spawned and not forked, because a fork of a process with threads (torch, numba, BLAS) may hang. So the
    function and the items must be picklable, and a script that calls this needs its ``if __name__ == "__main__"``.

    Args:
        workers: how many processes; as many as there are cores by default.
        threads: of numpy, torch and numba in each worker. More than cores / workers slows everything down.
        retries: how often a job whose worker died starts over.
    """

    def __init__(self, workers: int | None = None, threads: int = 1, retries: int = RETRIES):
        self.threads, self.retries = threads, retries
        self.workers = max(1, usable_cores() // threads) if workers is None else workers
        if min(self.workers, threads) < 1 or retries < 0:
            raise ValueError(f"{self.workers} workers with {threads} threads and {retries} retries cannot be")

    def run(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Outcome[Value], None, None]:
        """See :class:`rl_suite.sweeps.contract.Executor`."""
        waiting = (_Task(index, item) for index, item in enumerate(items))
        again: deque[_Task] = deque()
        pool: list[_Worker] = []
        try:
            while True:
                self._hand_out(function, pool, again, waiting)
                busy = [worker for worker in pool if worker.task is not None]
                if not busy:
                    return
                for pipe in wait([worker.pipe for worker in busy]):
                    worker = next(worker for worker in busy if worker.pipe is pipe)
                    outcome = self._read(worker, pool, again)
                    if outcome is not None:
                        yield outcome
        finally:
            _end(pool)

    def _hand_out(
        self, function: Callable[[Item], Value], pool: list[_Worker], again: deque[_Task], waiting: Iterator[_Task]
    ) -> None:
        """Give every idle worker a task, and start workers while there are fewer than there may be."""
        idle = [worker for worker in pool if worker.task is None]
        while idle or len(pool) < self.workers:
            task = again.popleft() if again else next(waiting, None)
            if task is None:
                return
            if idle:
                worker = idle.pop()
            else:
                worker = self._start(function)
                pool.append(worker)
            task.attempts += 1
            worker.task = task
            with suppress(BrokenPipeError, ConnectionResetError):  # it has died; reading from it says so
                worker.pipe.send(task.item)

    def _start(self, function: Callable[[Item], Value]) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(function, theirs), daemon=False)
        with _environment(dict.fromkeys(THREAD_VARIABLES, str(self.threads))):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def _read(self, worker: _Worker, pool: list[_Worker], again: deque[_Task]) -> Outcome[Any] | None:
        """What a worker has to say; None if its job is to start over."""
        task, worker.task = worker.task, None
        assert task is not None
        try:
            report: Report = worker.pipe.recv()
        except (EOFError, OSError):
            pool.remove(worker)
            worker.process.join()
            report = Report(None, f"its worker died ({_cause(worker.process.exitcode)})", again=True)
        if report.again and task.attempts <= self.retries:
            again.append(task)
            return None
        error = f"{report.error}, {task.attempts} times in all" if report.again else report.error
        return Outcome(task.index, report.value, error, report.trace, task.attempts)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        number = -exitcode
        known = number in set(signal.Signals)
        return f"signal {signal.Signals(number).name if known else number}"
    return f"exit code {exitcode}"


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables for a process that is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end(pool: list[_Worker]) -> None:
    """Ask busy workers to stop, let idle ones go, and wait; a second Ctrl-C kills them."""
    try:
        for worker in pool:
            worker.pipe.close()
            if worker.task is not None:
                worker.process.terminate()
        for worker in pool:
            worker.process.join()
    except KeyboardInterrupt:
        for worker in pool:
            worker.process.kill()
        raise


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does: jobs, until its pipe is closed."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the driver alone, which stops each worker once
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        with Caught() as sending:
            pipe.send(perform(function, item))
        if sending.error is not None:  # what it returned cannot be pickled, or nobody listens
            with suppress(OSError):
                pipe.send(Report(None, sending.error, sending.trace))


def _stop_with_parent() -> None:
    """Stop the job, as Ctrl-C would, when the driver is gone."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
