"""What a task is: a few examples to adapt to, and further examples on which the adapted learner is judged.

A batch of tasks is either a ``Task`` whose tensors have a leading task axis (T, ...), or, where the
shapes differ, a list of tasks. :func:`unstack_tasks`, :func:`stack_tasks` and :func:`count_tasks` take both.
"""

import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rl_suite.errors import UserError


class Task(NamedTuple):
    """One task, or, with a leading task axis everywhere, a batch of tasks of the same shape."""

    support_x: Tensor  # (S, ...)
    support_y: Tensor  # (S,) class labels, or (S, ...) values
    query_x: Tensor  # (Q, ...)
    query_y: Tensor  # (Q,) or (Q, ...)


Tasks = Task | Sequence[Task]
"""A batch: a stacked ``Task``, or a list of single ones."""


class TaskSource(Protocol):
    """A distribution over tasks that can be indexed: task ``i`` is the same on every machine and in every worker.

    Whatever is random in a task is drawn from a generator seeded by ``(seed, index)``.
    """

    def task(self, index: int) -> Task:
        """The task of this number."""

    def batch(self, start: int, size: int) -> Tasks:
        """Tasks ``start`` ... ``start + size - 1``, stacked where their shapes agree."""


class TaskList:
    """A ``TaskSource`` out of tasks that are there; after the last one the first comes again."""

    def __init__(self, tasks: Iterable[Task]):
        self.tasks = list(tasks)
        if not self.tasks:
            raise UserError("a list of tasks must hold at least one")

    def task(self, index: int) -> Task:
        """The task of this number."""
        return self.tasks[index % len(self.tasks)]

    def batch(self, start: int, size: int) -> Tasks:
        """``size`` consecutive tasks, stacked where their shapes agree."""
        return stack_tasks([self.task(index) for index in range(start, start + size)])


def as_task(parts: Task | Mapping[str, Tensor] | Sequence[Tensor]) -> Task:
    """A task out of a mapping with its four names, or of four tensors in this order.

    Raises:
        UserError: parts are missing, or inputs and targets differ in number.
    """
    if isinstance(parts, Mapping):
        missing = [name for name in Task._fields if name not in parts]
        if missing:
            raise UserError(f"a task needs {', '.join(Task._fields)}; missing: {', '.join(missing)}")
        parts = [parts[name] for name in Task._fields]
    if len(parts) != len(Task._fields):
        raise UserError(f"a task is four tensors ({', '.join(Task._fields)}), not {len(parts)}")
    try:
        task = Task(*(torch.as_tensor(part) for part in parts))
    except (TypeError, ValueError) as error:
        raise UserError(f"the parts of a task must be numbers ({error}); local_labels numbers other labels") from None
    for name, x, y in (("support", task.support_x, task.support_y), ("query", task.query_x, task.query_y)):
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
            raise UserError(f"{name}: {tuple(x.shape)} inputs and {tuple(y.shape)} targets; give one target per input")
    return task


def stack_tasks(tasks: Sequence[Task]) -> Tasks:
    """Put tasks of equal shapes and types side by side, with a leading task axis; others stay a list."""
    if not tasks:
        raise UserError("a batch needs at least one task")
    kinds = {tuple((part.shape, part.dtype) for part in task) for task in tasks}
    if len(kinds) > 1:
        return list(tasks)
    return Task(*(torch.stack(parts) for parts in zip(*tasks, strict=True)))


def unstack_tasks(tasks: Tasks) -> list[Task]:
    """The single tasks of a batch, as views."""
    if isinstance(tasks, Task):
        return [Task(*parts) for parts in zip(*(part.unbind() for part in tasks), strict=True)]
    return list(tasks)


def count_tasks(tasks: Tasks) -> int:
    """How many tasks a batch holds (``len`` of a stacked one counts its four parts)."""
    return len(tasks.support_x) if isinstance(tasks, Task) else len(tasks)


def create_meta_batch(
    tasks: Sequence[Task | Mapping[str, Tensor] | Sequence[Tensor]],
    batch_size: int = 4,
    rng: np.random.Generator | None = None,
) -> Tasks:
    """Draw ``batch_size`` of the tasks; one is drawn twice only where there are fewer.

    Args:
        tasks: tasks, mappings with the names of a task's parts, or tuples of its four tensors.
        batch_size: how many to draw.
        rng: where the randomness comes from; without it, numpy's unseeded default.
    """
    if not tasks or batch_size < 1:
        raise UserError(f"cannot draw {batch_size} tasks out of {len(tasks)}")
    rng = rng or np.random.default_rng()
    chosen = rng.choice(len(tasks), batch_size, replace=len(tasks) < batch_size)
    return stack_tasks([as_task(tasks[int(i)]) for i in chosen])


def local_labels(labels: Tensor | Sequence[Hashable]) -> tuple[Tensor, list[Any]]:
    """Number the classes of one task 0, 1, ... in the order in which they appear; never sorted by class.

    Returns:
        The numbers (S,), and the label of each number.

    >>> local_labels(["cat", "dog", "cat"])
    (tensor([0, 1, 0]), ['cat', 'dog'])
    """
    plain = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    classes = list(dict.fromkeys(plain))
    place = {label: i for i, label in enumerate(classes)}
    return torch.tensor([place[label] for label in plain]), classes


def shuffled_supports(tasks: Tasks) -> list[Task]:
    """Tasks whose support targets are dealt anew; how, depends on the task alone."""
    dealt = []
    for task in unstack_tasks(tasks):
        rng = np.random.default_rng(zlib.crc32(task.support_x.contiguous().numpy().tobytes()))
        dealt.append(task._replace(support_y=task.support_y[torch.from_numpy(rng.permutation(len(task.support_y)))]))
    return dealt
