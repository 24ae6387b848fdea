"""Model-agnostic meta-learning (Finn et al. 2017): weights from which a few gradient steps lead far."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.checks import (
    one_number,
    readable_errors,
    require_finite_path,
    require_finite_task,
    require_task,
    whole_number,
)
from rl_suite.meta_learning.engine import (
    Combine,
    InnerLoop,
    Mode,
    adapt,
    choose_task_axis,
    mean_over_tasks,
    over_tasks,
    require_stack,
    spread,
)
from rl_suite.meta_learning.functional import FunctionalModule
from rl_suite.meta_learning.learners.base import BaseMetaLearner
from rl_suite.meta_learning.learners.fairness import Fairness
from rl_suite.meta_learning.learners.losses import LossFunction, default_loss, default_losses
from rl_suite.meta_learning.learners.options import Options
from rl_suite.meta_learning.learners.shared_head import SharedHead
from rl_suite.meta_learning.rules import Rule, Weights, fixed_rate, sgd
from rl_suite.meta_learning.tasks import Task, Tasks, local_labels, unstack_tasks
from rl_suite.meta_learning.together import evaluate_together


class Encoded(NamedTuple):
    """Inputs of the part that is adapted; the first ``context`` of them are a support set to normalise by."""

    x: Tensor
    context: int = 0


class TransductiveWarning(UserWarning):
    """Queries are normalised by each other's statistics: a prediction depends on what else is asked."""


class MAML(BaseMetaLearner):
    """MAML around any module and any loss.

    Args:
        model: what is adapted. Meta-training changes its weights; adaptation never does.
        lr_inner: inner learning rate.
        lr_meta: outer learning rate, of Adam.
        num_inner_steps: inner steps of meta-training; an adaptation may take more.
        order: "second" differentiates through the inner gradients, "first" takes them as constants.
        options: see :class:`Options`.

    >>> maml = MAML(nn.Linear(1, 1), num_inner_steps=1)
    >>> weights = maml.adapt_to_task(torch.ones(4, 1), torch.zeros(4, 1))
    >>> maml.forward_with(torch.ones(2, 1), weights).shape
    torch.Size([2, 1])
    """

    rule: Rule = staticmethod(sgd)

    def __init__(
        self,
        model: nn.Module,
        lr_inner: float = 0.01,
        lr_meta: float = 0.001,
        num_inner_steps: int = 5,
        order: Literal["first", "second"] = "first",
        **options: Unpack[Options],
    ):
        super().__init__(model)
        require_known(order, ("first", "second"), "order")
        num_inner_steps = whole_number(num_inner_steps, 1, "num_inner_steps")
        if not lr_inner > 0 or not lr_meta > 0:
            raise UserError(f"lr_inner and lr_meta must be above 0, not {lr_inner} and {lr_meta}")
        self.lr_inner, self.lr_meta, self.num_inner_steps = lr_inner, lr_meta, num_inner_steps
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
        loss = options.get("loss", default_loss)
        self.loss = loss if loss is default_loss else one_number(loss)
        self.task_axis = options.get("task_axis", "auto")
        self.fairness = options.get("fairness", Fairness())
        self.gradient_clip = options.get("gradient_clip")
        self.function = FunctionalModule(model, options.get("batch_norm", "batch"), num_inner_steps)
        self.statistics = self.function.statistics
        self.shared = SharedHead(model) if options.get("shared_head") else None
        inner_clip, recompute = options.get("inner_clip"), options.get("recompute")
        names = self.adapted_names()
        if not names:
            raise UserError("the model has no parameter that is trained")
        self.loop = InnerLoop(num_inner_steps, self.rule, order, names, inner_clip, recompute)
        self.rates = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value) for name, value in self.initial_rates().items()}
        )
        self.optimizer = self.make_optimizer()
        self.outer_steps = 0
        self.test_steps = num_inner_steps
        """Inner steps of an adaptation that does not say how many."""
        self.warned = False
        self._cache: dict[str, Any] = {}

    # What variants write differently.

    def adapted_names(self) -> tuple[str, ...]:
        """The parameters that the inner loop adapts."""
        return tuple(name for name, value in self.model.named_parameters() if value.requires_grad)

    def initial_rates(self) -> dict[str, Tensor]:
        """Learned inner rates by name; none where the rate is fixed."""
        return {}

    def make_optimizer(self) -> torch.optim.Optimizer:
        """The outer optimizer."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], self.lr_meta, fused=True)

    def encode(self, weights: Weights, x: Tensor, step: int, mode: Mode, judged: bool, context: int = 0) -> Encoded:
        """What the adapted part sees of the inputs, computed once per task; ``context`` as in ``FunctionalModule``."""
        return Encoded(x, context)

    def apply_adapted(self, weights: Weights, encoded: Encoded, step: int, mode: Mode, judged: bool) -> Tensor:
        """Outputs of the adapted part."""
        call = self.function.forward_tasks if mode.stacked else self.function.forward
        return call(weights, encoded.x, step, judged, encoded.context)

    def outer_loss(self, losses: Callable[[int], Tensor], last: int) -> Tensor:
        """The query loss that counts, out of the losses after 0 ... ``last`` inner steps."""
        return losses(last)

    def combination(self) -> Combine:
        """How the objectives of the tasks of a batch become one."""
        return self._fair_mean if self.fairness.active else mean_over_tasks

    # Meta-training.

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """One outer step on a batch of tasks; under torchrun, on this process's share of it.

        Returns:
            ``meta_loss`` (what was minimised), ``avg_task_loss`` (mean query loss), ``gradient_norm``.

        Raises:
            UserError: labels that the outputs do not have, shapes that do not fit, or something that is not finite,
                with its name.
        """
        parameters = {name: value for name, value in self.named_parameters() if value.requires_grad}
        axis = self._axis(tasks)
        with readable_errors():
            found = evaluate_together(
                self._objective, parameters, tasks, combine=self.combination(), task_axis=axis, cache=self._cache
            )
        if not bool(found.losses.isfinite().all()):
            self._explain(tasks, found.losses)
        norm = self._descend(parameters, found.gradients)
        self.outer_steps += 1
        self._observe(tasks)
        return {"meta_loss": float(found.value), "avg_task_loss": float(found.average), "gradient_norm": norm}

    def _descend(self, parameters: Weights, gradients: Weights) -> float:
        """Clip the meta-gradient and let the optimizer step; returns its norm before."""
        gradients = self.shared.share(gradients) if self.shared is not None else gradients
        for name, parameter in parameters.items():
            parameter.grad = gradients.get(name)
        limit = math.inf if self.gradient_clip is None else self.gradient_clip
        norm = float(nn.utils.clip_grad_norm_(list(parameters.values()), limit))
        if not math.isfinite(norm):
            bad = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
            self.optimizer.zero_grad(set_to_none=True)
            raise NonFiniteError(
                f"outer step {self.outer_steps + 1}: the meta-gradient of {', '.join(bad[:1]) or 'all'} is not finite"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _objective(self, parameters: Weights, task: Task, mode: Mode) -> Tensor:
        """The outer loss of one task, or of each of a stack; with the initial loss beside it where fairness asks."""
        weights, rates = self._split(parameters)
        if mode.stacked:
            weights = spread(weights, len(task.support_x))
        last, loss = self.loop.steps, self._loss_of(mode)
        given, asked = self.encode_task(weights, task, last, mode, False)
        support, query = (given.x, task.support_y), (asked, task.query_y)
        path = adapt(loss, weights, support, self.loop, rates, mode=mode)
        value = self.outer_loss(lambda step: loss(path[step], query, step), last)
        if not self.fairness.active:
            return value
        before = self.apply_adapted(path[0], query[0], 0, mode, False)
        after = self.apply_adapted(path[-1], query[0], last, mode, False)
        of_task, of_loss = self.fairness.of_task, self.loss
        if mode.stacked:
            of_task, of_loss = vmap(of_task), self._stacked_loss
        if self.fairness.entropy > 0:
            value = value + of_task(before, after)
        return torch.stack([value, of_loss(before, query[1])], -1)

    def _fair_mean(self, parameters: Weights, losses: Tensor) -> Tensor:
        """Mean objective and inequality of the initial losses, out of (T, 2)."""
        inequality = self.fairness.over_tasks(losses[:, 1]) if self.fairness.inequality > 0 else 0.0
        return losses[:, 0].mean() + inequality

    def _adapted(
        self, x: Tensor, y: Tensor, loop: InnerLoop, judged: bool = False, differentiable: bool = False
    ) -> list[dict[str, Tensor]]:
        """Weights after every inner step on one support set."""
        weights, rates = self._split(dict(self.named_parameters()))
        support = self.encode(weights, x, 0, Mode(), judged).x, y
        return adapt(self._loss_of(Mode(), judged), weights, support, loop, rates, differentiable=differentiable)

    def _loss_of(self, mode: Mode, judged: bool = False) -> Callable[[Weights, Any, int], Tensor]:
        loss = self._stacked_loss if mode.stacked else self.loss

        def of(weights: Weights, data: tuple[Tensor | Encoded, Tensor], step: int) -> Tensor:
            encoded, targets = data
            encoded = encoded if isinstance(encoded, Encoded) else Encoded(encoded)
            value: Tensor = loss(self.apply_adapted(weights, encoded, step, mode, judged), targets)
            return value

        return of

    def encode_task(self, weights: Weights, task: Task, step: int, mode: Mode, judged: bool) -> tuple[Encoded, Encoded]:
        """Support set and queries; these with the support set before them where it says how they are normalised."""
        support = self.encode(weights, task.support_x, 0, mode, judged)
        if not self.function.by_support:
            return support, self.encode(weights, task.query_x, step, mode, judged)
        axis = 1 if mode.stacked else 0
        both = torch.cat([task.support_x, task.query_x], axis)
        return support, self.encode(weights, both, step, mode, judged, task.support_x.shape[axis])

    @property
    def _stacked_loss(self) -> LossFunction:
        """The loss on a stack of outputs (T, N, ...): (T,)."""
        stacked: LossFunction = default_losses if self.loss is default_loss else vmap(self.loss)
        return stacked

    def _split(self, parameters: Weights) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights of the model, and rates, out of this learner's parameters."""
        weights = self.function.weights
        weights.update({k.removeprefix("model."): v for k, v in parameters.items() if k.startswith("model.")})
        rates = {k.removeprefix("rates."): v for k, v in parameters.items() if k.startswith("rates.")}
        learned = {name.replace("/", "."): value for name, value in rates.items()}
        return weights, learned or fixed_rate(self.lr_inner)

    def _axis(self, tasks: Tasks) -> str:
        for i, task in enumerate([tasks] if isinstance(tasks, Task) else tasks):
            require_task(task, f"task {i}")
        return choose_task_axis(self.task_axis, tasks, small=self.function.small, draws=self.function.draws)

    def _observe(self, tasks: Tasks) -> None:
        """Let the statistics of every inner step follow those of the first task."""
        if self.function.batch_norm != "per_step" or not self.function.norms:
            return
        task = unstack_tasks(tasks)[0]
        path = self._adapted(task.support_x, task.support_y, self.loop)
        for step, now in enumerate(path):
            self.function.observe(now, task.support_x if step < self.loop.steps else task.query_x, step)

    def _explain(self, tasks: Tasks, losses: Tensor) -> None:
        """Say why the loss of a task is not finite: its data, an inner step, or the loss itself."""
        bad = int((~losses.reshape(len(losses), -1).isfinite().all(-1)).nonzero()[0])
        task, where = unstack_tasks(tasks)[bad], f"outer step {self.outer_steps + 1}, task {bad}"
        require_finite_task(task, where)
        require_finite_path(self._adapted(task.support_x, task.support_y, self.loop), where)
        raise NonFiniteError(f"{where}: the query loss is {losses[bad].tolist()}; lower the inner or the outer rate")

    # At work.

    def adapt_to_task(
        self, support_x: Tensor, support_y: Tensor, steps: int | None = None, differentiable: bool | None = None
    ) -> dict[str, Tensor]:
        """Weights by name after ``steps`` inner steps (default: ``test_steps``) on one support set.

        They are connected to the model's weights where ``order="second"``, or as ``differentiable`` says.

        Raises:
            UserError: labels without an output, or weights that are not finite, with step and name.
        """
        loop = self._loop(steps)
        if differentiable is None:
            differentiable = self.loop.order == "second" and torch.is_grad_enabled()
        support = Task(support_x, support_y, support_x, support_y)
        require_task(support, "the support set")
        require_finite_task(support, "the support set")
        with readable_errors():
            path = self._adapted(support_x, support_y, loop, judged=True, differentiable=differentiable)
        require_finite_path(path, "adaptation")
        return path[-1]

    def forward_with(
        self, x: Tensor, weights: Weights, steps: int | None = None, support_x: Tensor | None = None
    ) -> Tensor:
        """Outputs of the model with these weights.

        Args:
            x: inputs (N, ...).
            weights: as :meth:`adapt_to_task` gave them.
            steps: after how many inner steps, as in adapting.
            support_x: what the weights were adapted to; needed where ``batch_norm="support"`` normalises by it.
        """
        self._warn()
        steps, context = self._loop(steps).steps, 0
        if self.function.by_support:
            if support_x is None:
                raise UserError("batch_norm='support' normalises by the support set; give forward_with its support_x")
            x, context = torch.cat([support_x, x]), len(support_x)
        return self.function.forward(weights, x, steps, True, context)

    _forward_with_weights = forward_with

    def outputs(self, tasks: Tasks, steps: int | None = None) -> list[Tensor]:
        """Query outputs of every task after adaptation; nothing is learned."""
        return [along[-1] for along in self.outputs_along(tasks, steps, last_only=True)]

    def outputs_along(self, tasks: Tasks, steps: int | None = None, last_only: bool = False) -> list[list[Tensor]]:
        """Query outputs of every task after 0, 1, ..., ``steps`` inner steps."""
        self._warn()
        loop, axis = self._loop(steps), self._axis(tasks)
        weights, rates = self._split(dict(self.named_parameters()))
        mode = Mode(stacked=axis in ("vmap", "compile"))

        def one(task: Task) -> list[Tensor]:
            begin = spread(weights, len(task.support_x)) if mode.stacked else weights
            with torch.no_grad(), readable_errors():
                given, query = self.encode_task(begin, task, loop.steps, mode, True)
                support = given.x, task.support_y
                path = adapt(self._loss_of(mode, True), begin, support, loop, rates, differentiable=False, mode=mode)
                require_finite_path(path, "adaptation")
                chosen = [loop.steps] if last_only else range(loop.steps + 1)
                return [self.apply_adapted(path[step], query, step, mode, True) for step in chosen]

        if not mode.stacked:
            return over_tasks(one, tasks, axis)
        return [list(parts) for parts in zip(*(o.unbind() for o in one(require_stack(tasks, axis))), strict=True)]

    def predict(self, support_x: Tensor, support_y: Sequence[Any] | Tensor, query_x: Tensor) -> Any:
        """Labels of the queries, as they stand in ``support_y`` (any labels, in any order); or values.

        Returns:
            An array of labels for classification, or a tensor of outputs where ``support_y`` holds real numbers.
        """
        if isinstance(support_y, Tensor) and support_y.is_floating_point():
            task = Task(support_x, support_y, query_x, support_y[:1])
            return self.outputs([task])[0]
        labels, classes = local_labels(support_y)
        (logits,) = self.outputs([Task(support_x, labels, query_x, labels[:1])])
        return np.asarray(classes)[logits[:, : len(classes)].argmax(-1).numpy()]

    def _loop(self, steps: int | None) -> InnerLoop:
        return replace(self.loop, steps=self.test_steps if steps is None else whole_number(steps, 0, "steps"))

    def _warn(self) -> None:
        if self.function.transductive and not self.warned:
            self.warned = True
            warnings.warn(
                "batch_norm='batch': queries are normalised by each other's statistics (transductive); "
                "'per_step' or 'frozen' judge every query alone",
                TransductiveWarning,
                stacklevel=3,
            )

    # State.

    def get_meta_state(self) -> dict[str, Any]:
        """Weights, rates, statistics and optimizer."""
        return {
            "learner": self.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "outer_steps": self.outer_steps,
        }

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`get_meta_state` gave."""
        self.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.outer_steps = int(state["outer_steps"])
