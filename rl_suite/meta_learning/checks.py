"""What may go wrong with a task, said in one line."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.tasks import Task


def require_finite_path(path: Sequence[Mapping[str, Tensor]], what: str) -> None:
    """Raise a ``NonFiniteError`` that names the first inner step and parameter that are not finite."""
    if all(bool(value.isfinite().all()) for value in path[-1].values()):
        return
    for step, weights in enumerate(path):
        for name, value in weights.items():
            if not bool(value.isfinite().all()):
                raise NonFiniteError(
                    f"{what}: {name} is not finite after inner step {step}; lower the inner learning rate"
                )


def require_finite_task(task: Task, where: str) -> None:
    """Raise a ``NonFiniteError`` that names the part of a task that is not finite."""
    for name, part in zip(Task._fields, task, strict=True):
        if part.is_floating_point() and not bool(part.isfinite().all()):
            raise NonFiniteError(f"{where}: {name} holds NaN or infinity")


@contextmanager
def readable_errors() -> Iterator[None]:
    """Say what to do about labels that the outputs do not have."""
    try:
        yield
    except IndexError as error:
        if "out of bounds" not in str(error):
            raise
        raise UserError(
            f"labels must be 0 ... outputs - 1 ({error}); rl_suite.meta_learning.tasks.local_labels numbers them anew"
        ) from None
