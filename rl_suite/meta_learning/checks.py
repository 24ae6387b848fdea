"""What may go wrong with a task, a model or a loss, said in one line."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

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


def require_task(task: Task, where: str) -> None:
    """Raise a ``UserError`` unless a task, or a stack of them, holds tensors, and some examples in each."""
    for name, part in zip(Task._fields, task, strict=True):
        if not isinstance(part, Tensor):
            raise UserError(
                f"{where}: {name} must be a tensor, not {type(part).__name__}; rl_suite.meta_learning.tasks.as_task "
                "makes a task of arrays"
            )
        if part.numel() == 0:
            raise UserError(f"{where}: {name} is empty")


def require_model(model: Any) -> None:
    """Raise a ``UserError`` unless something is a module whose parameters all exist."""
    if not isinstance(model, nn.Module):
        raise UserError(f"the model must be an nn.Module, not {model!r}")
    for name, value in model.named_parameters():
        if isinstance(value, UninitializedParameter):
            raise UserError(f"{name} has no shape yet; call the lazy module once on an example before it is learned")


def whole_number(value: Any, least: int, name: str) -> int:
    """A number of steps; raises a ``UserError`` where it is none, or below ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UserError(f"{name} must be a whole number, not {value!r}") from None
    if number < least:
        raise UserError(f"{name} must be at least {least}, not {number}")
    return number


def one_number(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """The same loss, which raises a ``UserError`` where it returns anything but one number with a graph."""

    def checked(outputs: Tensor, targets: Tensor) -> Tensor:
        value: Any = loss(outputs, targets)
        if not isinstance(value, Tensor):
            raise UserError(f"the loss must be a tensor that gradients go through, not {type(value).__name__}")
        if value.numel() != 1:
            raise UserError(f"the loss must be one number, not {tuple(value.shape)}; take its mean or its sum")
        return value.reshape(())

    return checked


@contextmanager
def readable_errors() -> Iterator[None]:
    """Say what to do about labels that the outputs do not have, and inputs that do not fit the model."""
    try:
        yield
    except IndexError as error:
        if "out of bounds" not in str(error):
            raise
        raise UserError(
            f"labels must be 0 ... outputs - 1 ({error}); rl_suite.meta_learning.tasks.local_labels numbers them anew"
        ) from None
    except RuntimeError as error:
        said = str(error).splitlines()[0] if str(error) else ""
        if re.search(r"dtype|scalar type|Input type", said):
            raise UserError(f"inputs and weights differ in type ({said}); .float() makes both single") from None
        if re.search(r"shapes? cannot be multiplied|to have \d+ channels|size mismatch", said):
            raise UserError(f"inputs do not fit the model ({said})") from None
        raise
