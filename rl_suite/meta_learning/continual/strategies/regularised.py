"""Strategies that add a penalty to the loss and keep no example."""

from typing import Any

from torch import Tensor, nn

from rl_suite.meta_learning.continual.fisher import LossFunction
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.penalties import (
    EWC,
    STRENGTH,
    Distillation,
    OnlineEWC,
    SynapticIntelligence,
)
from rl_suite.meta_learning.continual.strategies.naive import Naive, Stream

FISHER_SAMPLES = 200  # examples of a task; more change the importance little and cost as much as an epoch


class ElasticWeightConsolidation(Naive):
    """The loss plus :class:`EWC`'s penalty."""

    def __init__(
        self,
        model: nn.Module,
        outputs: Outputs,
        loss_fn: LossFunction,
        ewc_lambda: float = STRENGTH,
        fisher_samples: int | None = FISHER_SAMPLES,
    ):
        super().__init__(model, outputs, loss_fn)
        own_loss = None if self.classifies else loss_fn
        self.ewc: EWC = EWC(model, ewc_lambda, fisher_samples, own_loss)

    def loss(self, x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        """The task's loss and the penalty."""
        return super().loss(x, y, task) + self.ewc.penalty()

    def end_task(self, stream: Stream, task: int) -> None:
        """Take the Fisher information on the task's own examples."""
        x, y = stream.together()
        if self.classifies:
            self.ewc.consolidate(x, select=lambda logits: self.outputs.select(logits, task))
        else:
            self.ewc.consolidate(x, y)

    def state_dict(self) -> dict[str, Any]:
        """Importance and anchors."""
        return self.ewc.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.ewc.load_state_dict(state)


class OnlineElasticWeightConsolidation(ElasticWeightConsolidation):
    """The loss plus :class:`OnlineEWC`'s penalty."""

    def __init__(
        self,
        model: nn.Module,
        outputs: Outputs,
        loss_fn: LossFunction,
        ewc_lambda: float = STRENGTH,
        fisher_samples: int | None = FISHER_SAMPLES,
        decay: float = 1.0,
    ):
        super().__init__(model, outputs, loss_fn)
        self.ewc = OnlineEWC(model, ewc_lambda, fisher_samples, None if self.classifies else loss_fn, decay)


class Synapses(Naive):
    """The loss plus :class:`SynapticIntelligence`'s penalty."""

    def __init__(
        self,
        model: nn.Module,
        outputs: Outputs,
        loss_fn: LossFunction,
        si_strength: float = 1.0,
        damping: float = 0.1,
    ):
        super().__init__(model, outputs, loss_fn)
        self.si = SynapticIntelligence(model, si_strength, damping)

    def loss(self, x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        """The task's loss and the penalty."""
        return super().loss(x, y, task) + self.si.penalty()

    def before_step(self) -> None:
        """Note the gradient."""
        self.si.before_step()

    def after_step(self) -> None:
        """Note the movement."""
        self.si.after_step()

    def end_task(self, stream: Stream, task: int) -> None:
        """Add the task's importance."""
        self.si.consolidate()

    def state_dict(self) -> dict[str, Any]:
        """Importance, anchor and the path so far."""
        return self.si.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.si.load_state_dict(state)


class LearningWithoutForgetting(Naive):
    """The loss and :class:`Distillation`'s penalty, weighted as one task beside the earlier ones."""

    def __init__(self, model: nn.Module, outputs: Outputs, loss_fn: LossFunction, temperature: float = 2.0):
        super().__init__(model, outputs, loss_fn)
        self.distillation = Distillation(model, temperature)

    def loss(self, x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        """The present task's loss, and how far old answers have moved."""
        own = super().loss(x, y, task)
        if self.distillation.teacher is None:
            return own
        kept = self.distillation.penalty(x, self.outputs.earlier_heads(int(task[0])))
        return self.share() * own + (1 - self.share()) * kept

    def end_task(self, stream: Stream, task: int) -> None:
        """The network as it is now becomes the teacher."""
        self.distillation.consolidate()

    def state_dict(self) -> dict[str, Any]:
        """The teacher."""
        return self.distillation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.distillation.load_state_dict(state)
