"""Outer steps of which every process takes its share of the tasks (``torchrun``); alone, nothing is different."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from rl_suite.data_parallel import Team, current
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.engine import Combine, Evaluation, Objective, evaluate, mean_over_tasks
from rl_suite.meta_learning.rules import Weights
from rl_suite.meta_learning.tasks import Tasks, TaskSource, count_tasks


def tasks_of_step(source: TaskSource, step: int, size: int) -> Tasks:
    """This process's share of the ``size`` tasks of an outer step; raises ``UserError`` if there are too few."""
    part = current().rows(slice(step * size, (step + 1) * size))
    return source.batch(part.start, part.stop - part.start)


def evaluate_together(
    objective: Objective, parameters: Weights, tasks: Tasks, *, combine: Combine = mean_over_tasks, **how: Any
) -> Evaluation:
    """As :func:`rl_suite.meta_learning.engine.evaluate`, with value, average and gradients over all processes' tasks.

    ``losses`` are those of this process's tasks.

    Raises:
        UserError: the combination is no mean, so that no process knows its gradient from its own tasks.
        NonFiniteError: the loss of another process's task is not finite; of one's own, the caller can say more.
    """
    team = current()
    if team.size > 1 and combine is not mean_over_tasks:
        raise UserError("inequality, entropy and learned weights of tasks need all tasks in one process; no torchrun")
    found = evaluate(objective, parameters, tasks, combine=combine, **how)
    gradients, (value,) = mean_over_team(team, found.gradients, [float(found.value)], tasks)
    if team.size == 1:
        return found
    mean = found.value.new_tensor(value)
    if bool(found.losses.isfinite().all()) and not bool(mean.isfinite()):
        raise NonFiniteError("the query loss of a task of another process is not finite")
    return replace(found, value=mean, average=mean, gradients=gradients)


def mean_over_team(
    team: Team, gradients: Mapping[str, Tensor], values: Sequence[float], tasks: Tasks
) -> tuple[dict[str, Tensor], list[float]]:
    """Means over the tasks of all processes, out of those over each process's own ``tasks``."""
    return team.mean(gradients, values, float(count_tasks(tasks)))
