"""One job after the other, in this process."""

from collections.abc import Callable, Generator, Iterable

from rl_suite.sweeps.contract import Item, Outcome, Value, perform


class Serial:
    """Needs nothing and hides nothing: a debugger stops in the job."""

    def run(self, function: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Outcome[Value], None, None]:
        """See :class:`rl_suite.sweeps.contract.Executor`.

        Raises:
            KeyboardInterrupt: a signal stopped a job, which can only have been meant for all of them.
        """
        for index, item in enumerate(items):
            report = perform(function, item)
            if report.again:
                raise KeyboardInterrupt
            yield Outcome(index, report.value, report.error, report.trace)
