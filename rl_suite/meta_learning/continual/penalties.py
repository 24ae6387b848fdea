"""Penalties that hold a network where earlier tasks need it; each works alone on a loop of your own.

::

    ewc = EWC(model, strength=100.0)
    for task in tasks:
        for x, y in task:
            loss = F.cross_entropy(model(x), y) + ewc.penalty()  # 0 in the first task
            ...
        ewc.consolidate(task_x)  # here the task is over: remember where the weights are, and which of them matter
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.fisher import (
    Diagonal,
    LossFunction,
    classifier_fisher,
    loss_fisher,
    trainable,
)

STRENGTH = 1000.0  # lambda of EWC where none is given, as in the documents


class QuadraticPenalty:
    """``strength / 2 * sum of importance * (parameter - anchor)^2`` over all tasks that are over.

    The tasks' parabolas are held as their sum, which is one parabola and a constant: memory does not grow, and
    nothing is approximated.
    """

    def __init__(self, model: nn.Module, strength: float):
        if strength < 0:
            raise UserError(f"the strength of a penalty must not be negative, not {strength}")
        self.model, self.strength = model, strength
        self.importance: Diagonal = {}  # sum over tasks
        self.anchor: Diagonal = {}  # mean over tasks, weighted by importance
        self.constant = 0.0  # what the sum of parabolas is at its lowest point

    def penalty(self) -> Tensor:
        """A scalar to add to the loss; 0 as long as nothing was consolidated."""
        total = torch.zeros((), device=next(self.model.parameters()).device)
        if not self.importance:
            return total
        for name, parameter in trainable(self.model).items():
            total = total + (self.importance[name] * (parameter - self.anchor[name]).square()).sum()
        return self.strength / 2 * (total + self.constant)

    def remember(self, importance: Diagonal) -> None:
        """Add a parabola around the parameters as they are now.

        Raises:
            UserError: an importance is not finite; nothing is remembered.
        """
        _require_finite(importance)
        here = _copied(self.model)
        if not self.importance:
            self.importance, self.anchor = dict(importance), here
            return
        for name, added in importance.items():
            before, distance = self.importance[name], here[name] - self.anchor[name]
            total = before + added
            part = torch.where(total > 0, added / total.clamp(min=torch.finfo(total.dtype).tiny), 1.0)
            self.constant += float((before * part * distance.square()).sum())
            self.anchor[name] = self.anchor[name] + part * distance
            self.importance[name] = total

    def state_dict(self) -> dict[str, Any]:
        """Everything that was consolidated."""
        return {"importance": self.importance, "anchor": self.anchor, "constant": self.constant}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.importance, self.anchor = dict(state["importance"]), dict(state["anchor"])
        self.constant = float(state["constant"])


def _require_finite(importance: Diagonal) -> None:
    for name, value in importance.items():
        if not bool(value.isfinite().all()):
            raise UserError(f"the importance of {name} is not finite: the examples hold NaN, or the model does")


class EWC(QuadraticPenalty):
    """Elastic weight consolidation: weights are held where, and as far as, an earlier task needs them.

    Importance is the diagonal of the Fisher information, from the gradient of every single example.

    Args:
        model: classifier x -> logits, or any model together with ``loss_fn``.
        strength: lambda of the paper.
        samples: examples of a task that the Fisher information is taken from; None: all.
        loss_fn: mean loss of (predictions, targets) for a model that is no classifier; then
            ``consolidate`` needs targets.

    References:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks", equation 3.
    """

    def __init__(
        self,
        model: nn.Module,
        strength: float = STRENGTH,
        samples: int | None = None,
        loss_fn: LossFunction | None = None,
    ):
        super().__init__(model, strength)
        if samples is not None and samples < 1:
            raise UserError(f"samples must be at least 1, not {samples}")
        self.samples, self.loss_fn = samples, loss_fn

    def consolidate(
        self, x: Tensor, y: Tensor | None = None, select: Callable[[Tensor], Tensor] | None = None
    ) -> Diagonal:
        """A task is over: keep the parameters and how much each of them matters to it.

        Args:
            x: examples of the task (n, ...).
            y: labels (n,), for the empirical Fisher; without them the model's own probabilities are used.
            select: picks the logits (C,) that compete with each other, such as the outputs of this task.

        Returns:
            The importance of every parameter in this task.
        """
        x, y = x[: self.samples], None if y is None else y[: self.samples]
        if self.loss_fn is None:
            fisher = classifier_fisher(self.model, x, y, select)
        elif y is None:
            raise UserError("the Fisher information of a loss needs targets: consolidate(x, y)")
        else:
            fisher = loss_fisher(self.model, x, y, self.loss_fn)
        self.remember(fisher)
        return fisher


class OnlineEWC(EWC):
    """EWC with one running importance and one anchor: memory does not grow with the number of tasks.

    References:
        Schwarz et al. 2018, "Progress & Compress", section 3 (gamma is ``decay``).
    """

    def __init__(
        self,
        model: nn.Module,
        strength: float = STRENGTH,
        samples: int | None = None,
        loss_fn: LossFunction | None = None,
        decay: float = 1.0,
    ):
        super().__init__(model, strength, samples, loss_fn)
        if not 0 <= decay <= 1:
            raise UserError(f"decay must lie between 0 and 1, not {decay}")
        self.decay = decay

    def remember(self, importance: Diagonal) -> None:
        """Add to the running importance, and move the anchor to the present parameters; raises as for plain EWC."""
        _require_finite(importance)
        for name, older in self.importance.items():
            importance = {**importance, name: self.decay * older + importance[name]}
        self.importance, self.anchor = dict(importance), _copied(self.model)


class SynapticIntelligence(QuadraticPenalty):
    """Weights are held by how much each of them lowered the loss on its way through the earlier tasks.

    Tell it about every step of the optimizer, and when a task is over::

        loss = task_loss + si.penalty()
        loss.backward()
        si.before_step(); optimizer.step(); si.after_step()
        ...
        si.consolidate()

    Args:
        model: any module.
        strength: c of the paper.
        damping: xi of the paper; keeps the division by a small movement finite.

    References:
        Zenke, Poole and Ganguli 2017, "Continual Learning Through Synaptic Intelligence", equations 3-5.
    """

    def __init__(self, model: nn.Module, strength: float = 1.0, damping: float = 0.1):
        super().__init__(model, 2 * strength)  # the paper's penalty is c * sum, without the half
        if damping <= 0:
            raise UserError(f"damping must be above 0, not {damping}")
        self.damping = damping
        self.path = _zeros(model)  # omega: what each parameter has contributed in this task so far
        self._start = _copied(model)
        self._gradient: Diagonal = {}
        self._before: Diagonal = {}

    def before_step(self) -> None:
        """After ``loss.backward()``: the gradient of the task's own loss, without that of the penalty."""
        self._before = _copied(self.model)
        self._gradient = {}
        for name, parameter in trainable(self.model).items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
            if self.importance:
                gradient -= self.strength * self.importance[name] * (self._before[name] - self.anchor[name])
            self._gradient[name] = gradient

    def after_step(self) -> None:
        """After ``optimizer.step()``: add what the movement has brought, to first order."""
        for name, parameter in trainable(self.model).items():
            self.path[name] -= self._gradient[name] * (parameter.detach() - self._before[name])

    def consolidate(self) -> Diagonal:
        """A task is over: its importance is added to that of the earlier tasks, and the anchor moves here."""
        total = _zeros(self.model)
        for name, parameter in trainable(self.model).items():
            moved = parameter.detach() - self._start[name]
            total[name] = (self.path[name] / (moved.square() + self.damping)).clamp(min=0)
        for name, older in self.importance.items():
            total[name] += older
        self.importance, self.anchor = total, _copied(self.model)
        self.path, self._start = _zeros(self.model), _copied(self.model)
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on, between two steps."""
        return {**super().state_dict(), "path": self.path, "start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.path, self._start = dict(state["path"]), dict(state["start"])


class Distillation:
    """Learning without forgetting: on the new task's inputs the network keeps answering as it did before.

    Args:
        model: classifier x -> logits.
        temperature: both answers are softened by it.

    References:
        Li and Hoiem 2016, "Learning without Forgetting"; Hinton et al. 2015 for the factor temperature^2.
    """

    def __init__(self, model: nn.Module, temperature: float = 2.0):
        if temperature <= 0:
            raise UserError(f"temperature must be above 0, not {temperature}")
        self.model, self.temperature = model, temperature
        self.teacher: nn.Module | None = None

    def consolidate(self) -> None:
        """A task is over: remember how the network answers now."""
        self.teacher = copy.deepcopy(self.model).eval().requires_grad_(False)

    def penalty(self, x: Tensor, heads: Sequence[Iterable[int]] | None = None) -> Tensor:
        """Mean over heads of ``T^2 KL(before, now)`` on inputs x (n, ...); 0 before the first task has ended.

        Args:
            x: inputs of the present task.
            heads: outputs of each earlier task, each softened on its own; None: all outputs are one head.
        """
        if self.teacher is None:
            return torch.zeros((), device=x.device)
        with torch.no_grad():
            before = self.teacher(x) / self.temperature
        now = self.model(x) / self.temperature
        columns = [list(head) for head in heads] if heads is not None else [list(range(now.shape[-1]))]
        losses = [
            F.kl_div(
                torch.log_softmax(now[:, head], dim=-1),
                torch.log_softmax(before[:, head], dim=-1),
                reduction="batchmean",
                log_target=True,
            )
            for head in columns
        ]
        return self.temperature**2 * torch.stack(losses).mean()

    def state_dict(self) -> dict[str, Any]:
        """The remembered network's parameters and buffers."""
        return {"teacher": None if self.teacher is None else self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.teacher = None
        if state["teacher"] is not None:
            self.consolidate()
            self.teacher.load_state_dict(state["teacher"])  # type: ignore[attr-defined]


LwF = Distillation


def _copied(model: nn.Module) -> Diagonal:
    return {name: parameter.detach().clone() for name, parameter in trainable(model).items()}


def _zeros(model: nn.Module) -> Diagonal:
    return {name: torch.zeros_like(parameter) for name, parameter in trainable(model).items()}
