"""Every experiment is played through on tiny sizes before it begins.

What cannot be built, play, be measured or be written then says so in seconds, and not after an hour: the rehearsal
runs the same code as the experiment itself, to the end and its last file, in a scratch folder.
"""

import contextlib
import functools
import io
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from rl_suite.config import ExperimentConfig
from rl_suite.data_parallel import ALONE, acting_as
from rl_suite.errors import NothingFoundError, UserError
from rl_suite.run import Run
from rl_suite.waiting import waiting

ConfigT = TypeVar("ConfigT", bound=ExperimentConfig)
ModelT = TypeVar("ModelT", bound=BaseModel)
Train = Callable[[ConfigT, Run], None]
Shrink = Callable[[ConfigT], ConfigT]

# what libraries and worlds raise where settings do not go together
DO_NOT_FIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def rehearsed(shrink: Shrink[ConfigT]) -> Callable[[Train[ConfigT]], Train[ConfigT]]:
    """Let ``train(config, run)`` begin with a rehearsal on what ``shrink`` makes of the configuration.

    ``shrink`` refuses sizes for which there is no memory; it keeps all that could fail, and makes sizes tiny that only
    take time.
    """

    def decorate(train: Train[ConfigT]) -> Train[ConfigT]:
        @functools.wraps(train)
        def after_rehearsal(config: ConfigT, run: Run) -> None:
            rehearse(train, shrink(config))
            train(config, run)

        return after_rehearsal

    return decorate


def rehearse(train: Train[ConfigT], config: ConfigT) -> None:
    """Run ``train`` in a scratch folder, silently.

    Raises:
        UserError: it cannot be run with these settings. Python's development mode (``python -X dev``) shows where.
    """
    trying = "trying everything once on tiny sizes"
    with tempfile.TemporaryDirectory(prefix="rl_suite-") as folder, waiting(trying), _silence():
        scratch = config.model_copy(update={"runs_dir": Path(folder)})
        try:
            with Run.start(scratch) as run, acting_as(ALONE):
                train(scratch, run)
        except NothingFoundError:
            pass  # a search that was cut short
        except DO_NOT_FIT as error:
            if (isinstance(error, RuntimeError) and "allocate memory" in str(error)) or sys.flags.dev_mode:
                raise
            what = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{config.experiment} cannot be run with these settings: {what}") from error


def changed(model: ModelT, values: Mapping[str, Any]) -> ModelT:
    """A copy of nested settings with other values, by dotted key."""
    update: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = key.partition(".")
        if not rest:
            update[head] = value
        else:
            update[head] = changed(update.get(head, getattr(model, head)), {rest: value})
    return model.model_copy(update=update)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed: the experiment itself will say it again."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
