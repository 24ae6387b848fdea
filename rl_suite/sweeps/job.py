"""One job of a sweep: the run of a configuration, with what it says in ``output.txt`` of its folder."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.job import is_done, run_job
from rl_suite.reading import open_to_append
from rl_suite.run import Run
from rl_suite.sweeps.contract import InterruptedJobError

OUTPUT = "output.txt"


def train(config: ExperimentConfig) -> None:
    """Begin the run, or finish what an earlier call has left; its state is in its folder alone.

    Raises:
        InterruptedJobError: a signal stopped it; it is saved.
        UserError: as :func:`rl_suite.job.run_job`.
    """
    with _said_in_folder(config):
        if not run_job(config):
            raise InterruptedJobError


def is_left(config: ExperimentConfig) -> bool:
    """Whether this run is still to be begun or finished, or its folder holds one of other settings."""
    return not is_done(Run(Run.place(config))) or Run.difference(config) is not None


@contextmanager
def _said_in_folder(config: ExperimentConfig) -> Iterator[None]:
    """Lines and progress go into the folder of the run; so does what ended it."""
    folder = Run.place(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: cannot be written: {getattr(error, 'strerror', error)}") from None
    with open_to_append(folder / OUTPUT) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            yield
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            raise
        except InterruptedJobError:
            raise
        except Exception:
            traceback.print_exc()
            raise
