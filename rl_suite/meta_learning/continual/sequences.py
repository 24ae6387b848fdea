"""Sequences of classification tasks: the classes of a data set dealt out, or its pixels permuted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.outputs import Outputs, Scenario

Examples = tuple[Tensor, Tensor]  # x (n, ...) float32, y (n,) int64


@dataclass(frozen=True)
class Images:
    """A data set that is dealt out: training, validation and test examples never overlap."""

    name: str
    train: Examples
    validation: Examples
    test: Examples
    n_classes: int


@dataclass(frozen=True)
class TaskSequence:
    """Tasks in the order in which they are taught."""

    train: tuple[Examples, ...]
    validation: tuple[Examples, ...]
    test: tuple[Examples, ...]
    outputs: Outputs
    n_outputs: int

    def __len__(self) -> int:
        return len(self.train)


def split_tasks(images: Images, n_tasks: int, scenario: Scenario, seed: int) -> TaskSequence:
    """Deal the classes out to tasks, in an order drawn from ``seed``.

    In the "task" and "class" scenarios labels are class numbers; in the "domain" scenario they are places within the
    task (first or second class of a pair), so that all tasks share their outputs.

    Raises:
        UserError: the classes cannot be dealt out evenly.
    """
    if n_tasks < 2 or images.n_classes % n_tasks:
        raise UserError(f"{images.n_classes} classes cannot be dealt out evenly to {n_tasks} tasks (at least 2)")
    order = np.random.default_rng(seed).permutation(images.n_classes)
    groups = order.reshape(n_tasks, -1).tolist()
    shared = scenario == "domain"
    train, validation, test = (
        tuple(_of_classes(examples, group, shared) for group in groups)
        for examples in (images.train, images.validation, images.test)
    )
    n_outputs = images.n_classes // n_tasks if shared else images.n_classes
    return TaskSequence(train, validation, test, Outputs(scenario, groups), n_outputs)


def permuted_tasks(images: Images, n_tasks: int, seed: int) -> TaskSequence:
    """The same classes in every task, under another fixed permutation of the pixels: a "domain" scenario.

    The first task is the data set as it is.
    """
    if n_tasks < 2:
        raise UserError(f"a sequence has at least 2 tasks, not {n_tasks}")
    n_pixels = images.train[0][0].numel()
    rng = np.random.default_rng(seed)
    orders = [np.arange(n_pixels), *(rng.permutation(n_pixels) for _ in range(n_tasks - 1))]
    train, validation, test = (
        tuple((x.flatten(1)[:, torch.from_numpy(order)], y) for order in orders)
        for x, y in (images.train, images.validation, images.test)
    )
    return TaskSequence(train, validation, test, Outputs("domain"), images.n_classes)


def _of_classes(examples: Examples, classes: Sequence[int], shared: bool) -> Examples:
    x, y = examples
    group = torch.tensor(classes)
    rows = torch.isin(y, group)
    places = (y[rows][:, None] == group).int().argmax(1)  # which class of the task, (n,)
    return x[rows].flatten(1), places if shared else y[rows]
