"""NaN and infinity inside a model: found where they first are, and named."""

import re
from types import TracebackType
from typing import Any, Protocol

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.finite import bad_row, is_finite

DISTRIBUTION = re.compile(r"Expected (parameter \w+|value argument) \(Tensor.*?distribution (\w+)", re.DOTALL)
ADVICE = "lower the learning rate, or look for a division by zero in the policy"


class _Removable(Protocol):
    def remove(self) -> None: ...


class FiniteGuard:
    """While it is entered, a model stops at its first features, gradient or parameter that is not finite.

    Gradients are looked at as they are computed, before clipping spreads a NaN over all of them.

    Args:
        model: any algorithm of stable-baselines3.
        when: said in errors; the number of steps by default.

    Raises:
        NonFiniteError: with the step and the name of the parameter, or the row of the features.
    """

    def __init__(self, model: BaseAlgorithm, when: str = ""):
        self.model, self.when = model, when
        self._hooks: list[_Removable] = []

    def __enter__(self) -> "FiniteGuard":
        policy: Any = self.model.policy
        extractors: dict[int, nn.Module] = {
            id(module): module for module in policy.modules() if isinstance(module, BaseFeaturesExtractor)
        }
        own = getattr(policy, "features_extractor", None)
        if isinstance(own, nn.Module):
            extractors[id(own)] = own
        self._hooks += [module.register_forward_hook(self._look_at_features) for module in extractors.values()]
        watched = set()
        for name, parameter in policy.named_parameters():
            if parameter.requires_grad:
                watched.add(name)
                self._hooks.append(parameter.register_hook(self._gradient_hook(name)))
        optimizer = getattr(policy, "optimizer", None)
        if isinstance(optimizer, torch.optim.Optimizer):  # of parameters that thaw on the way

            def look(*arguments: Any) -> None:
                for name, parameter in policy.named_parameters():
                    if name not in watched and parameter.grad is not None:
                        self._look_at_gradient(name, parameter.grad)

            self._hooks.append(optimizer.register_step_pre_hook(look))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if isinstance(error, ValueError | RuntimeError | AssertionError) and not isinstance(error, UserError):
            self.check_parameters()
            found = DISTRIBUTION.match(str(error))
            if found:
                raise NonFiniteError(
                    f"{found[1]} of {found[2]}, from which actions are drawn, {self._is_bad()}"
                ) from None

    def check_parameters(self) -> None:
        """Raise a ``NonFiniteError`` if one of the parameters is not finite."""
        for name, parameter in self.model.policy.named_parameters():
            if not is_finite(parameter.detach()):
                raise NonFiniteError(f"parameter {name} {self._is_bad()}")

    def _is_bad(self) -> str:
        return f"is not finite {self._when()}: {ADVICE}"

    def _when(self) -> str:
        return self.when or f"at step {self.model.num_timesteps}"

    def _gradient_hook(self, name: str) -> Any:
        def look(gradient: Tensor) -> None:  # called for ``torch.autograd.grad`` too, with which TRPO computes its own
            self._look_at_gradient(name, gradient.detach())

        return look

    def _look_at_gradient(self, name: str, gradient: Tensor) -> None:
        if not is_finite(gradient):
            self.check_parameters()
            raise NonFiniteError(f"gradient of {name} {self._is_bad()}")

    def _look_at_features(self, module: nn.Module, inputs: Any, output: Any) -> None:
        found = bad_row(output)
        if found is None:
            return
        self.check_parameters()
        of = "row" if module.training else "environment"  # SB3 sets the mode: rows of a minibatch while it updates
        raise NonFiniteError(
            f"features{found[0]} of {of} {found[1]} are not finite {self._when()}: "
            f"{type(module).__name__} made them out of finite observations"
        )
