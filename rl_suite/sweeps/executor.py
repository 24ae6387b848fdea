"""The executors by name, and a map over items that runs on any of them."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

from rl_suite.errors import UserError
from rl_suite.loading import require_counts, require_known
from rl_suite.sweeps.contract import Executor, Item, JobError, Outcome, Value
from rl_suite.sweeps.processes import Processes
from rl_suite.sweeps.ray_tasks import RayTasks
from rl_suite.sweeps.serial import Serial

EXECUTORS = ("serial", "processes", "ray")
MOST_NAMED = 20  # failed jobs in the message of an error


def make_executor(name: str, workers: int | None = None, threads: int = 1, gpus: float = 0.0) -> Executor:
    """The executor of this name.

    Args:
        name: ``serial`` (one after the other, here), ``processes`` (of this machine) or ``ray`` (of a cluster).
        workers: jobs at the same time; as many as there are cores by default.
        threads: of numpy, torch and numba in each job.
        gpus: that a job of ``ray`` occupies.

    Raises:
        UserError: there is no such executor, it cannot have so many workers, or its extra is not installed.
    """
    require_known(name, EXECUTORS, "executor")
    if workers is not None:
        require_counts(workers=workers)
    if workers is not None and (workers < 1 or (name == "serial" and workers > 1)):
        raise UserError(f"executor={name} cannot have {workers} workers")
    if name == "ray":
        return RayTasks(workers, threads, gpus)
    return Serial() if name == "serial" else Processes(workers, threads)


def run_jobs(
    function: Callable[[Item], Value], items: Iterable[Item], executor: str = "serial", workers: int | None = None
) -> Generator[Outcome[Value], None, None]:
    """Outcomes of ``function`` on every item, in the order in which the jobs end.

    Close the iterator (``contextlib.closing``) to stop early. What an executor promises stands in
    :mod:`rl_suite.sweeps.contract`.
    """
    return make_executor(executor, workers).run(function, items)


def map_jobs(
    function: Callable[[Item], Value], items: Iterable[Item], executor: str = "serial", workers: int | None = None
) -> list[Value]:
    """``[function(item) for item in items]`` on any executor, in the order of the items.

    With ``processes`` and ``ray`` the function must be importable by its name, and a script that calls this needs
    its ``if __name__ == "__main__"``.

    Args:
        function: of one item; it may be called twice for the same item.
        items: what it is called with, drawn as workers become free.
        executor: see :func:`make_executor`.
        workers: jobs at the same time; as many as there are cores by default.

    Raises:
        JobError: jobs failed; all others were done first. The first traceback is in the message.

    >>> map_jobs(abs, [-2, 1, -3])
    [2, 1, 3]
    """
    values: dict[int, Value | None] = {}
    failed: list[Outcome[Value]] = []
    with closing(run_jobs(function, items, executor, workers)) as outcomes:
        for outcome in outcomes:
            if outcome.error is None:
                values[outcome.index] = outcome.value
            else:
                failed.append(outcome)
    if failed:
        failed.sort(key=lambda outcome: outcome.index)
        named = [f"job {outcome.index}: {outcome.error}" for outcome in failed[:MOST_NAMED]]
        more = [f"and {len(failed) - MOST_NAMED} more"] if len(failed) > MOST_NAMED else []
        trace = next((outcome.trace for outcome in failed if outcome.trace), "")
        raise JobError("\n".join([f"{len(failed)} of {len(failed) + len(values)} jobs failed", *named, *more, trace]))
    return [values[index] for index in range(len(values))]  # type: ignore[misc]  # None where the function returns it
