"""The five moments at which a strategy against forgetting may act, and the one that does nothing at any of them.

A task begins, a loss is needed, before and after a step of the optimizer, a task ends. Every other strategy is a
subclass of ``Naive`` and writes only its difference.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from rl_suite.meta_learning.continual.fisher import LossFunction
from rl_suite.meta_learning.continual.outputs import Outputs

Batch = tuple[Tensor, Tensor, Tensor]  # x (n, ...), y (n, ...), task (n,) int64


class Stream(Protocol):
    """The examples of one task; every pass deals them anew."""

    def batches(self) -> Iterator[Batch]:
        """One pass over all examples."""

    def together(self) -> tuple[Tensor, Tensor]:
        """All examples at once."""


class Naive:
    """Fine-tuning: train on what comes, with nothing against forgetting."""

    def __init__(self, model: nn.Module, outputs: Outputs, loss_fn: LossFunction):
        self.model, self.outputs, self.loss_fn = model, outputs, loss_fn

    def forward(self, x: Tensor, task: int | Tensor) -> Tensor:
        """Logits in which only the outputs that compete count."""
        return self.outputs.mask(self.model(x), task)

    def begin_task(self, task: int) -> None:
        """Before the first step on a task."""

    def passes(self, stream: Stream) -> Iterable[Batch]:
        """The minibatches of one epoch."""
        return stream.batches()

    def loss(self, x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        """Loss of one minibatch (n, ...)."""
        return self.loss_fn(self.forward(x, task), y)

    def before_step(self) -> None:
        """Between ``loss.backward()`` and the optimizer's step."""

    def after_step(self) -> None:
        """After the optimizer's step."""

    def end_task(self, stream: Stream, task: int) -> None:
        """After the last step on a task."""

    def state_dict(self) -> dict[str, Any]:
        """What was remembered of earlier tasks, besides the model's parameters."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""

    def share(self) -> float:
        """Weight of the present task beside the earlier ones: each of the tasks so far counts the same."""
        return 1 / max(1, len(self.outputs.seen))

    @property
    def classifies(self) -> bool:
        """Whether the loss is that of a classifier."""
        return self.loss_fn is F.cross_entropy
