"""Two verbs: adapt weights to a task, and evaluate an objective over tasks. Written once, for every gradient learner.

A loss is a function of weights, not of a module: ``loss(weights, data, step)``, where ``step`` counts the inner steps
that the weights have made. Losses of classification, regression and policy gradients are the same to the engine.

The objective of :func:`evaluate` sees one task at a time, or a stack of them. The task axis says which:

* ``"loop"``: one task after the other; the memory of one task.
* ``"threads"``: one task per thread, the same numbers; on a CPU what pays for convolutions, because torch lets the
  interpreter go while it computes.
* ``"vmap"``: all tasks in one stack; what pays for small dense networks.
* ``"compile"``: the stack, traced and compiled: twice as fast again after a minute or two of compilation.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.recompute import recomputed
from rl_suite.meta_learning.rules import Rates, Rule, Weights, clip_gradients, sgd
from rl_suite.meta_learning.tasks import Task, Tasks, count_tasks, stack_tasks, unstack_tasks

Loss = Callable[[Weights, Any, int], Tensor]
"""(weights, data, inner steps made) -> () for one task, or (T,) for a stack."""
TaskAxis = Literal["auto", "loop", "threads", "vmap", "compile"]
TASK_AXES = ("auto", "loop", "threads", "vmap", "compile")
RECOMPUTE_FROM = 6  # second-order inner steps: below, all graphs fit beside one another; it costs a tenth of the time
Gradients = Sequence[Tensor | None]
Result = TypeVar("Result")


class Mode(NamedTuple):
    """How an objective is called."""

    stacked: bool = False
    """The tensors of the task have a leading task axis, and one loss per task is wanted."""
    traced: bool = False
    """The call is being compiled: gradients come from ``torch.func.grad``."""


Objective = Callable[[Weights, Task, Mode], Tensor]
"""(meta-parameters, task or stack, mode) -> () or (T,); or (M,) or (T, M) for M numbers per task."""


Combine = Callable[[Weights, Tensor], Tensor]
"""(meta-parameters, losses of all tasks) -> ()."""


def mean_over_tasks(parameters: Weights, losses: Tensor) -> Tensor:
    """The usual combination."""
    return losses.mean()


@dataclass(frozen=True)
class InnerLoop:
    """How weights are adapted."""

    steps: int
    rule: Rule = sgd
    order: Literal["first", "second"] = "first"
    """Whether the outer gradient goes through the inner gradients."""
    names: tuple[str, ...] | None = None
    """The parameters that are adapted; None: all that require gradients, or simply all where none does."""
    max_norm: float | None = None
    """Largest norm of a task's inner gradient; None: as it is."""
    recompute: bool | None = None
    """Forget the graph of every second-order step and compute it again on the way back; None: from six steps on."""


def spread(weights: Weights, n_tasks: int) -> dict[str, Tensor]:
    """The same weights for every task of a stack: (*shape) -> (T, *shape), without a copy."""
    return {name: value.expand(n_tasks, *value.shape) for name, value in weights.items()}


def adapt(
    loss: Loss,
    weights: Weights,
    data: Any,
    loop: InnerLoop,
    rates: Rates,
    *,
    differentiable: bool = True,
    mode: Mode = Mode(),  # noqa: B008
) -> list[dict[str, Tensor]]:
    """Weights after 0, 1, ..., ``loop.steps`` inner steps on the data of one task, or of a stack.

    Args:
        loss: what the steps descend.
        weights: where they begin; for a stack, see :func:`spread`.
        data: the support set, handed on to ``loss``; where it is a tuple of tensors, outer gradients reach them too.
        loop: how many steps of which rule.
        rates: the rule's learned or fixed rates.
        differentiable: whether outer gradients reach ``weights`` and ``rates``. Without, memory stays that of one
            step, however many there are.
        mode: what the objective was called with.
    """
    names = loop.names or tuple(name for name, v in weights.items() if v.requires_grad) or tuple(weights)
    second = loop.order == "second" and differentiable
    again = second and not mode.traced and (loop.steps >= RECOMPUTE_FROM if loop.recompute is None else loop.recompute)
    current, path = dict(weights), []
    with torch.enable_grad():
        if not differentiable:
            current = {name: value.detach() for name, value in current.items()}
            rates = {name: value.detach() for name, value in rates.items()}
        elif not mode.traced:  # weights of an earlier adaptation may come without a graph
            loose = [name for name in names if not current[name].requires_grad]
            current.update({name: current[name].detach().requires_grad_() for name in loose})
        for step in range(loop.steps):
            path.append(current)
            if not differentiable:
                current = {name: v.detach().requires_grad_(name in names) for name, v in current.items()}

            def move(w: Weights, r: Rates, d: Any, step: int = step) -> dict[str, Tensor]:
                gradients = _gradient(lambda part: loss({**w, **part}, d, step), w, names, second, mode)
                if loop.max_norm is not None:
                    gradients = clip_gradients(gradients, loop.max_norm, mode.stacked)
                return loop.rule(w, gradients, r, step)

            current = recomputed(move, current, rates, data) if again else move(current, rates, data)
    path.append(current if differentiable else {name: value.detach() for name, value in current.items()})
    return path


def _gradient(
    loss: Callable[[Weights], Tensor], weights: Weights, names: Sequence[str], second: bool, mode: Mode
) -> dict[str, Tensor]:
    """Gradients of the loss by name; parameters that the loss does not use have none."""
    part = {name: weights[name] for name in names}
    if mode.traced:
        traced: dict[str, Tensor] = torch.func.grad(lambda p: loss(p).sum())(part)
        return traced if second else {name: value.detach() for name, value in traced.items()}
    total = loss(part).sum()  # tasks of a stack share nothing, so the gradient of the sum is each task's own
    if not total.requires_grad:
        raise UserError("the inner loss depends on none of the weights that are to be adapted")
    found = torch.autograd.grad(total, list(part.values()), create_graph=second, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


@dataclass(frozen=True)
class Evaluation:
    """An objective over a batch of tasks."""

    losses: Tensor
    """(T,) one per task, or (T, M)."""
    value: Tensor
    """() their mean, or what ``combine`` made of them."""
    average: Tensor
    """() mean over tasks of the loss, or of the first of M."""
    gradients: dict[str, Tensor]
    """Of the value with respect to the meta-parameters that it depends on."""
    task_axis: str
    """How it was computed."""


def evaluate(
    objective: Objective,
    parameters: Weights,
    tasks: Tasks,
    *,
    combine: Combine = mean_over_tasks,
    task_axis: str = "loop",
    cache: dict[str, Any] | None = None,
) -> Evaluation:
    """The objective of every task, their combination, and its gradient.

    With tasks one at a time, the graph of a task is gone before the next begins. A combination that is not a sum over
    tasks, such as an inequality between them, then works out because its gradient is ``sum_i dJ/dL_i * dL_i``.

    Args:
        objective: see the module.
        parameters: the meta-parameters, by name.
        tasks: a batch, stacked or a list.
        combine: how losses, (T,) or (T, M), become one number; it may use the meta-parameters, too.
        task_axis: as :func:`choose_task_axis` gave it.
        cache: where the compiled objective is kept between calls (``"compile"`` only).
    """
    if task_axis in ("vmap", "compile"):
        return _evaluate_stack(objective, parameters, require_stack(tasks, task_axis), combine, task_axis, cache)

    leaves = list(parameters.values())

    def one(task: Task) -> tuple[Tensor, list[Gradients]]:
        with torch.enable_grad():
            loss = objective(parameters, task, Mode())
        return loss.detach(), [
            torch.autograd.grad(part, leaves, allow_unused=True, retain_graph=i + 1 < loss.numel())
            for i, part in enumerate(loss.reshape(-1))
        ]

    plain = combine is mean_over_tasks
    total: list[Tensor | None] = [None] * len(leaves)
    losses, kept = [], []
    for loss, found in over_tasks(one, tasks, task_axis):
        losses.append(loss)
        if plain:
            _add(total, found[0], 1 / count_tasks(tasks))
        else:
            kept.append(found)
    together = torch.stack(losses).requires_grad_()
    with torch.enable_grad():
        value = combine(parameters, together)
    if not plain:
        shares, *direct = torch.autograd.grad(value, [together, *leaves], allow_unused=True)
        _add(total, direct, 1.0)
        for share, found in zip(shares.reshape(len(kept), -1), kept, strict=True):
            for factor, gradients_of_part in zip(share, found, strict=True):
                _add(total, gradients_of_part, factor)
    gradients = {name: g for name, g in zip(parameters, total, strict=True) if g is not None}
    return _evaluation(together, value, gradients, task_axis)


def _evaluation(losses: Tensor, value: Tensor, gradients: dict[str, Tensor], task_axis: str) -> Evaluation:
    first = losses[:, 0] if losses.ndim == 2 else losses
    return Evaluation(losses.detach(), value.detach(), first.detach().mean(), gradients, task_axis)


def require_stack(tasks: Tasks, task_axis: str) -> Task:
    """The batch as one stack.

    Raises:
        UserError: the tasks have different shapes.
    """
    stacked = tasks if isinstance(tasks, Task) else stack_tasks(tasks)
    if not isinstance(stacked, Task):
        raise UserError(f"task_axis={task_axis!r} needs tasks of one shape; use 'loop' or 'auto'")
    return stacked


def _add(total: list[Tensor | None], found: Gradients, factor: float | Tensor) -> None:
    """``total += factor * found``, in the order of the tasks, so that threads change no bit."""
    for i, gradient in enumerate(found):
        if gradient is not None:
            before = total[i]
            total[i] = gradient * factor if before is None else before + gradient * factor


def _evaluate_stack(
    objective: Objective,
    parameters: Weights,
    tasks: Task,
    combine: Combine,
    task_axis: str,
    cache: dict[str, Any] | None,
) -> Evaluation:
    if task_axis == "compile":
        cache = {} if cache is None else cache
        if "compiled" not in cache:
            cache["compiled"] = torch.compile(_traceable(objective, combine))
        gradients, (value, losses) = cache["compiled"](dict(parameters), tasks)
        found = {name: gradient.detach() for name, gradient in gradients.items()}
        return _evaluation(losses, value, found, task_axis)
    with torch.enable_grad():
        losses = objective(parameters, tasks, Mode(stacked=True))
        value = combine(parameters, losses)
    parts = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(parameters, parts, strict=True) if g is not None}
    return _evaluation(losses, value, gradients, task_axis)


def _traceable(objective: Objective, combine: Combine) -> Callable[..., Any]:
    def total(parameters: Weights, tasks: Task) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        losses = objective(parameters, tasks, Mode(stacked=True, traced=True))
        value = combine(parameters, losses)
        return value, (value, losses)

    gradient: Callable[..., Any] = torch.func.grad(total, has_aux=True)
    return gradient


def over_tasks(work: Callable[[Task], Result], tasks: Tasks, task_axis: str) -> list[Result]:
    """``work`` on every single task, in order; one per thread where the axis says so."""
    single = unstack_tasks(tasks)
    if task_axis != "threads" or len(single) == 1:
        return [work(task) for task in single]
    return list(_pool(workers()).map(work, single))


def workers() -> int:
    """Threads that compute tasks: the cores of this process, shared by the threads of torch's own operations."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // torch.get_num_threads())


@lru_cache(maxsize=1)
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, "tasks")


def choose_task_axis(wanted: str, tasks: Tasks, *, small: bool, draws: bool) -> str:
    """What ``"auto"`` means for these tasks; other wishes are checked.

    Args:
        wanted: one of ``TASK_AXES``.
        tasks: the batch.
        small: whether the network has only small dense layers.
        draws: whether calls draw random numbers; threads would draw them in an order that no run repeats.
    """
    require_known(wanted, TASK_AXES, "task_axis")
    if wanted == "threads" and draws:
        raise UserError("task_axis='threads' cannot be repeated with dropout; use task_axis='loop'")
    if wanted != "auto":
        return wanted
    if count_tasks(tasks) == 1:
        return "loop"
    if small and (isinstance(tasks, Task) or isinstance(stack_tasks(tasks), Task)):
        return "vmap"
    first = unstack_tasks(tasks)[0]
    return "threads" if first.support_x.device.type == "cpu" and not draws and workers() > 1 else "loop"
