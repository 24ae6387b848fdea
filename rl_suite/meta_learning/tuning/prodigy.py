"""A learning rate found while training: Prodigy (Mishchenko and Defazio 2023, arXiv:2306.06101, algorithm 4)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

FIRST_DISTANCE = 1e-6  # d_0 of the paper: any number well below the distance to a solution


class Prodigy(torch.optim.Optimizer):
    """Adam whose steps are as long as an estimate d of the distance to the solution, which only grows.

    Args:
        params: what is trained.
        lr: a factor on the estimate; 1 is the method, schedules multiply it.
        betas: of the running means of gradients and squares.
        eps: in the denominator, times d.
        weight_decay: decoupled, as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "d": FIRST_DISTANCE, "r": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; every parameter group has an estimate of its own."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            self._step(group)
        return loss

    def _step(self, group: dict[str, Any]) -> None:
        (first, second), d, lr = group["betas"], group["d"], group["lr"]
        slow = math.sqrt(second)
        moved, size = 0.0, 0.0
        trained = [p for p in group["params"] if p.grad is not None]
        for p in trained:
            state, g = self.state[p], p.grad
            if not state:
                state["start"] = p.clone()
                state |= {name: torch.zeros_like(p) for name in ("mean", "square", "sum")}
            state["mean"].mul_(first).add_(g, alpha=(1 - first) * d)
            state["square"].mul_(second).addcmul_(g, g, value=(1 - second) * d * d)
            state["sum"].mul_(slow).add_(g, alpha=(1 - slow) * lr * d * d)
            moved += float((g * (state["start"] - p)).sum())
            size += float(state["sum"].abs().sum())
        group["r"] = slow * group["r"] + (1 - slow) * lr * d * d * moved
        for p in trained:
            state = self.state[p]
            if group["weight_decay"]:
                p.mul_(1 - lr * d * group["weight_decay"])
            p.addcdiv_(state["mean"], state["square"].sqrt().add_(d * group["eps"]), value=-lr * d)
        if size > 0:
            group["d"] = max(d, group["r"] / size)
