"""The losses that gradient learners take where none is given."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from rl_suite.errors import UserError

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> ()."""


def default_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits (N, C) for integer labels (N,), else the mean squared error."""
    if not targets.is_floating_point():
        return F.cross_entropy(outputs, targets)
    if outputs.shape != targets.shape:
        raise UserError(f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} differ in shape")
    return F.mse_loss(outputs, targets)


def default_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """:func:`default_loss` of every task of a stack, (T, N, ...) -> (T,), without the cost of ``vmap``."""
    if not targets.is_floating_point():
        flat = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return flat.reshape(targets.shape).mean(1)
    if outputs.shape != targets.shape:
        raise UserError(f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} differ in shape")
    return (outputs - targets).square().flatten(1).mean(1)
