"""An optimiser that adapts its own learning rate while it trains."""

import math
from collections import deque
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from rl_suite.arguments import require_flag, require_kind, require_number, require_whole
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.loading import BRIEF, require_known
from rl_suite.meta_learning.tuning.prodigy import Prodigy
from rl_suite.meta_learning.tuning.schedules import SCHEDULES, WINDOW, Plateau, Schedule, factor_at, trend

Adaptation = Literal["hypergradient", "prodigy"]
ADAPTATIONS = ("hypergradient", "prodigy")
BASES: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
RATES = {"adam": 1e-3, "adamw": 1e-3, "sgd": 1e-2}
META_RATE = 0.02  # largest relative change of the learning rate per step
STEADY, MEMORY = 0.25, 20.0  # mean cosine over so many steps; at a good rate it is below 0.1, at a hundredth 0.2 to 0.6
HASTE = 3.0  # times the change of the rate per step where steps go on pointing the same way
RESCUE = 0.1  # factor on the learning rate after a step that led to a loss that is no number
BLOWN = 10.0
MOST_RESCUES = 20  # in a row
KEPT_NUMBERS = ("modifier", "alignment", "steadiness", "step_count", "rescues", "_rescues_in_a_row", "_first", "_best")
COUNTS = ("step_count", "rescues", "_rescues_in_a_row")
NUMBERS = {"lr", "weight_decay", "momentum", "dampening", "eps"}  # arguments of bases that are one number each
KEPT = 2 * WINDOW  # losses and gradient norms that are remembered


class AdaptiveOptimizer:
    """Any ``torch.optim`` optimiser with a learning rate that adapts.

    ``"hypergradient"`` (Baydin et al. 2018, arXiv:1703.04782, in a multiplicative form): where a gradient points as the
    step before it went, that step was too short. Before every step, rate *= exp(meta_learning_rate * cosine between the
    two); ``HASTE`` times as fast while it stays high, until a first rescue. ``"prodigy"`` estimates the rate from the
    distance travelled and needs none (:class:`Prodigy`; Adam's form only).

    Where loss or gradients are no numbers, or the loss is ``BLOWN`` times as far above the first as that is from the
    best (or from 0), the parameters of the best loss come back and the rate is divided by ten.

    Args:
        model: what is trained.
        base_optimizer: ``"adam"``, ``"adamw"``, ``"sgd"``, or a class of ``torch.optim``.
        use_meta_learning: whether the rate adapts; otherwise the base alone, with its schedule.
        meta_learning_rate: how fast, for hypergradients; 0.02 by default.
        adaptation: how.
        schedule: a factor over time: ``"constant"``, ``"cosine"``, ``"step"``, ``"exponential"`` or ``"plateau"``.
        total_steps: length of the schedule.
        **optimizer_kwargs: those of the base, ``lr`` among them.
    """

    def __init__(
        self,
        model: nn.Module,
        base_optimizer: str | type[torch.optim.Optimizer] = "adam",
        use_meta_learning: bool = True,
        meta_learning_rate: float | None = None,
        adaptation: Adaptation = "hypergradient",
        schedule: Schedule = "constant",
        total_steps: int | None = None,
        **optimizer_kwargs: Any,
    ):
        require_kind("model", model, nn.Module)
        require_flag("use_meta_learning", use_meta_learning)
        require_known(schedule, SCHEDULES, "schedule")
        require_known(adaptation, ADAPTATIONS, "adaptation")
        if total_steps is not None:
            require_whole("total_steps", total_steps, 1)
        factor_at(schedule, 0, total_steps)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise UserError("the model has no parameter to train")
        self.method = adaptation if use_meta_learning else "none"
        if meta_learning_rate is not None and self.method != "hypergradient":
            raise UserError("meta_learning_rate is read by hypergradients only")
        self.meta_rate = META_RATE
        if meta_learning_rate is not None:
            self.meta_rate = require_number("meta_learning_rate", meta_learning_rate, most=1.0, above=0.0)
        self.schedule, self.total_steps = schedule, total_steps
        self.optimizer = self._make(base_optimizer, optimizer_kwargs)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.modifier, self.alignment, self.steadiness = 1.0, 0.0, 0.0
        self.plateau = Plateau()
        self.step_count = self.rescues = self._rescues_in_a_row = 0
        self.losses: deque[float] = deque(maxlen=KEPT)
        self.norms: deque[float] = deque(maxlen=KEPT)
        self._good: list[Tensor] | None = None  # parameters of the best loss, or the last ones where none is told
        self._first = self._best = math.nan
        self._direction: list[Tensor] | None = None
        self._fresh = False
        for parameter in self.parameters:
            parameter.register_post_accumulate_grad_hook(self._mark)  # type: ignore[no-untyped-call]

    def _make(self, base: str | type[torch.optim.Optimizer], kwargs: dict[str, Any]) -> torch.optim.Optimizer:
        if isinstance(base, str):
            require_known(base, BASES, "base optimizer")
        if self.method == "prodigy":
            if base not in ("adam", "adamw", torch.optim.Adam, torch.optim.AdamW) or "lr" in kwargs:
                raise UserError("prodigy is a form of Adam without a learning rate: give neither 'sgd' nor lr")
            base = Prodigy
        elif isinstance(base, str):
            kwargs = {"lr": RATES[base], **kwargs}
            base = BASES[base]
        if not isinstance(base, type) or not issubclass(base, torch.optim.Optimizer):
            raise UserError(f"base_optimizer must be {', '.join(BASES)} or a class of torch.optim, not {base!r}")
        if issubclass(base, (torch.optim.LBFGS, torch.optim.SparseAdam)):
            raise UserError(f"{base.__name__} takes no step from plain gradients; choose Adam, SGD or another one")
        numbers = {
            name: require_number(f"{base.__name__}: {name}", kwargs[name], 0.0) for name in NUMBERS & kwargs.keys()
        }
        try:
            return base(self.parameters, **{**kwargs, **numbers})
        except (TypeError, ValueError, LookupError, RuntimeError) as error:
            raise UserError(f"{base.__name__}: {error}") from None

    def _mark(self, parameter: Tensor) -> None:
        self._fresh = True

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        self._fresh = False

    def step(self, loss: float | Tensor | None = None) -> None:
        """One step with the gradients of ``loss.backward()``.

        Args:
            loss: its value, for statistics, plateaus and the check that it is a number.

        Raises:
            UserError: no gradients were computed since the last step.
            NonFiniteError: the loss or the gradients are no numbers, and smaller steps did not help.
        """
        if not self._fresh:
            raise UserError("no gradients since the last step: call loss.backward() before step()")
        self._fresh = False
        value = None if loss is None else _plain(loss)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.detach() for p in self.parameters]
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        if not math.isfinite(norm) or (value is not None and self._is_blown(value)):
            self._take_back()
            return
        self._rescues_in_a_row = 0
        self.norms.append(norm)
        if value is not None:
            self._see(value)
        if self.method == "hypergradient" and self._direction is not None:
            self.alignment = _cosine(gradients, self._direction)
            haste = HASTE if self.steadiness > STEADY and not self.rescues else 1.0  # too high once: carefully
            self.modifier *= math.exp(haste * self.meta_rate * self.alignment)
            self.steadiness += (self.alignment - self.steadiness) / MEMORY
        factor = self.modifier * factor_at(self.schedule, self.step_count, self.total_steps) * self.plateau.factor
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor
        before = [p.detach().clone() for p in self.parameters] if self.method != "none" else []
        if value is None or value <= self._best:
            self._good = before
        self.optimizer.step()
        if self.method == "hypergradient":
            self._direction = [b - p.detach() for b, p in zip(before, self.parameters, strict=True)]
        self.step_count += 1

    def _see(self, value: float) -> None:
        self.losses.append(value)
        self._first = value if math.isnan(self._first) else self._first
        self._best = value if math.isnan(self._best) else min(self._best, value)
        if self.schedule == "plateau" and self.step_count % WINDOW == WINDOW - 1:
            self.plateau.see(float(np.mean(list(self.losses)[-WINDOW:])))

    def _is_blown(self, value: float) -> bool:
        if math.isnan(self._first) or not math.isfinite(value) or self.method == "none":
            return not math.isfinite(value)
        return value > self._first + BLOWN * max(abs(self._first), self._first - self._best)

    def _take_back(self) -> None:
        """Back to where it was good; the next steps are a tenth as long, and begin without momentum."""
        self._rescues_in_a_row += 1
        if self._good is None or self.method == "none" or self._rescues_in_a_row > MOST_RESCUES:
            raise NonFiniteError(f"step {self.step_count}: the loss or a gradient is NaN or infinite; lower the rate")
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self._good, strict=True):
                parameter.copy_(value)
        self.optimizer.state.clear()
        self.modifier *= RESCUE
        self._direction, self.steadiness = None, 0.0
        self.rescues += 1

    @property
    def current_lr(self) -> float:
        """Of the first group; for Prodigy its factor times the estimated distance."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]) * float(group.get("d", 1.0))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the base, so that what trains with an optimiser of torch trains with this one."""
        return self.optimizer.param_groups

    @property
    def converged(self) -> bool:
        """Whether the last losses show no change any more (:func:`trend`)."""
        return bool(trend(list(self.losses))["converged"])

    def get_optimization_stats(self) -> dict[str, Any]:
        """Where it stands: steps, rate, losses and their trend, gradient norms, what adaptation did."""
        losses, norms = list(self.losses), list(self.norms)
        return {
            "step_count": self.step_count,
            "current_lr": self.current_lr,
            "loss_stats": {**_summary(losses), **trend(losses)},
            "gradient_stats": _summary(norms),
            "meta_learning": {
                "method": self.method,
                "lr_modifier": self.modifier,
                "alignment": self.alignment,
                "rescues": self.rescues,
            },
        }

    def save_state(self) -> dict[str, Any]:
        """Everything that the next steps depend on, as tensors and plain values."""
        tensors = {"good": self._good, "direction": self._direction}
        return {
            "optimizer": self.optimizer.state_dict(),
            **{name: None if value is None else [t.clone() for t in value] for name, value in tensors.items()},
            **{name: getattr(self, name) for name in KEPT_NUMBERS},
            "plateau": [self.plateau.factor, self.plateau.best, self.plateau.waited],
            "losses": list(self.losses),
            "norms": list(self.norms),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`save_state` of an optimiser that was built alike.

        Raises:
            UserError: it is something else, or of another model; nothing is taken over then.
        """
        try:
            tensors = {name: self._fitting(state[name]) for name in ("good", "direction")}
            numbers = {name: float(state[name]) for name in KEPT_NUMBERS}
            factor, best, waited = map(float, state["plateau"])
            losses, norms = (deque(map(float, state[name]), KEPT) for name in ("losses", "norms"))
            self.optimizer.load_state_dict(state["optimizer"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            said = f"{type(error).__name__}: {str(error)[:120]}"
            raise UserError(f"not a state that save_state of such an optimiser returned ({said})") from None
        self._good, self._direction = tensors["good"], tensors["direction"]
        for name, number in numbers.items():
            setattr(self, name, int(number) if name in COUNTS else number)
        self.plateau.factor, self.plateau.best, self.plateau.waited = factor, best, int(waited)
        self.losses, self.norms = losses, norms

    def _fitting(self, tensors: list[Tensor] | None) -> list[Tensor] | None:
        """Tensors of the shapes of the parameters, or none."""
        if tensors is not None and [t.shape for t in tensors] != [p.shape for p in self.parameters]:
            raise ValueError("tensors of other shapes")
        return tensors


def _plain(loss: float | Tensor) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise UserError(f"a loss is one number, not {BRIEF.repr(loss)}") from None


def _cosine(a: list[Tensor], b: list[Tensor]) -> float:
    dot = sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))
    sizes = [math.sqrt(sum(float(x.square().sum()) for x in part)) for part in (a, b)]
    return dot / (sizes[0] * sizes[1]) if all(sizes) else 0.0


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"last": values[-1], "mean": float(np.mean(values)), "std": float(np.std(values)), "min": min(values)}
