"""Jobs as tasks of Ray, on this machine or on a cluster; those of workers and machines that die start over."""

import os
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_suite.errors import UserError
from rl_suite.sweeps.contract import RETRIES, THREAD_VARIABLES, Item, Outcome, Report, Value, perform

AHEAD = 2  # tasks handed over for each free place, so that none waits for the driver and the cluster sees the demand


@dataclass
class _Task:
    """An item that is handed over."""

    index: int
    item: Any
    attempts: int = 0


class RayTasks:
    """Uses the cluster that ``RAY_ADDRESS`` or an earlier ``ray.init`` names; starts one on this machine otherwise.

    All machines need this package in the same version, and, for runs, one file system. Jobs start in the working
    directory of the driver where a machine has it.

    Args:
        workers: jobs at the same time; as many as the cluster has room for by default.
        threads: cores that a job occupies, and its threads of numpy, torch and numba.
        gpus: GPUs that a job occupies; a fraction lets several share one.
        retries: how often a job whose worker or machine died starts over.
    """

    def __init__(self, workers: int | None = None, threads: int = 1, gpus: float = 0.0, retries: int = RETRIES):
        self.workers, self.threads, self.gpus, self.retries = workers, threads, gpus, retries
        try:
            import ray
        except ImportError:
            raise UserError("executor=ray needs the extra: pip install 'rl-suite[ray]'") from None
        self.ray = ray

    def run(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Outcome[Value], None, None]:
        """See :class:`rl_suite.sweeps.contract.Executor`.

        Raises:
            UserError: no cluster can be reached, or none of its machines has room for a job.
        """
        ray = self.ray
        own = not ray.is_initialized()
        if own:
            self._connect()
        try:
            yield from self._run(function, items)
        finally:
            if own:
                ray.shutdown()

    def _connect(self) -> None:
        if "RAY_ADDRESS" not in os.environ:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self.ray.init(log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            address = os.environ.get("RAY_ADDRESS", "this machine")
            raise UserError(f"no Ray cluster at {address}: {str(error).partition(chr(10))[0]}") from None

    def _room(self) -> int:
        """How many jobs the cluster can do at the same time; it may grow and shrink."""
        resources = self.ray.cluster_resources()
        room = int(resources.get("CPU", 0) // self.threads)
        return min(room, int(resources.get("GPU", 0) / self.gpus)) if self.gpus else room

    def _run(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Outcome[Value], None, None]:
        ray, waiting = self.ray, iter(enumerate(items))
        environment = {"env_vars": {**dict.fromkeys(THREAD_VARIABLES, str(self.threads)), "PYTHONPATH": _own_path()}}
        options = {"num_cpus": self.threads, "num_gpus": self.gpus, "max_retries": 0, "runtime_env": environment}
        remote = ray.remote(**options)(_work)
        where, command = Path.cwd(), list(sys.argv)
        shared = ray.put(function)  # once, however many jobs there are
        running: dict[Any, _Task] = {}

        def hand_over(task: _Task) -> None:
            task.attempts += 1
            running[remote.remote(shared, task.item, where, command)] = task

        try:
            while True:
                most = self.workers or max(1, AHEAD * self._room())
                while len(running) < most and (pair := next(waiting, None)) is not None:
                    hand_over(_Task(*pair))
                if not running:
                    return
                for reference in ray.wait(list(running))[0]:
                    task, report = running.pop(reference), self._read(reference)
                    if report.again and task.attempts <= self.retries:
                        hand_over(task)
                        continue
                    error = f"{report.error}, {task.attempts} times in all" if report.again else report.error
                    yield Outcome(task.index, report.value, error, report.trace, task.attempts)
        finally:
            self._end(list(running))

    def _read(self, reference: Any) -> Report:
        """What became of a task; one whose worker or machine died, or that lost its result, is to start over."""
        try:
            report: Report = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # of what it returned, which cannot be pickled
            return Report(None, f"{type(error.cause).__name__}: {error.cause}", str(error))
        except self.ray.exceptions.RayError as error:
            return Report(None, f"its worker died ({type(error).__name__})", again=True)
        return report

    def _end(self, references: list[Any]) -> None:
        """Ask tasks to stop and wait for them; a second Ctrl-C kills them."""
        try:
            for reference in references:
                self.ray.cancel(reference)
            if references:
                self.ray.wait(references, num_returns=len(references))
        except KeyboardInterrupt:
            for reference in references:
                self.ray.cancel(reference, force=True)
            raise


def _own_path() -> str:
    """Where Python looks for modules besides its own installation: what the driver can import, a worker can."""
    installed = (sys.prefix, sys.base_prefix)
    return os.pathsep.join(entry for entry in sys.path if entry and not entry.startswith(installed))


def _work(function: Callable[[Any], Any], item: Any, where: Path, command: list[str]) -> Report:
    """One job, in the working directory and under the command of the driver."""
    if where.is_dir():
        os.chdir(where)
    sys.argv[:] = command
    return perform(function, item)
