"""Penalties against forgetting for stock stable-baselines3 policies: nothing of SB3 is changed.

::

    model = PPO("MlpPolicy", first_world)
    memory = PolicyEWC(model.policy, strength=1000.0)
    model.learn(50_000)
    memory.consolidate(observations)              # those that the policy meets in the first world
    handle = add_to_gradients(model.policy.optimizer, memory.penalty)
    model.set_env(second_world)
    model.learn(50_000)

To every policy gradient step the penalty's gradient is added, after SB3 has clipped its own.

References:
    Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks" (section on Atari).
    Rolnick et al. 2019, "Experience Replay for Continual Learning" (CLEAR: cloning the behaviour on old states).
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.memory import MemoryBuffer
from rl_suite.meta_learning.continual.penalties import EWC


class PolicyMemory(Protocol):
    """Something that holds a policy where earlier worlds need it."""

    def consolidate(self, observations: Any) -> None:
        """A world is over: remember what the policy does on observations (n, ...) of it."""

    def penalty(self) -> Tensor:
        """A scalar; 0 before the first world is over."""

    def state_dict(self) -> dict[str, Any]:
        """All that was remembered."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""


class ActionLogits(nn.Module):
    """A policy over discrete actions as a classifier: preprocessed observations (n, d) -> logits (n, actions).

    It holds the parts of the policy that decide the action, and shares their parameters.

    Raises:
        UserError: the actions are not ``Discrete``.
    """

    def __init__(self, policy: ActorCriticPolicy):
        super().__init__()
        if not isinstance(policy.action_space, spaces.Discrete):
            raise UserError(f"continual policies need Discrete actions, not {policy.action_space}")
        self.features = policy.pi_features_extractor
        self.hidden = policy.mlp_extractor.policy_net
        self.actions = policy.action_net

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, actions)."""
        logits: Tensor = self.actions(self.hidden(self.features(x)))
        return logits


class PolicyEWC:
    """Elastic weight consolidation: importance is the Fisher information of the distribution over actions."""

    def __init__(self, policy: ActorCriticPolicy, strength: float, samples: int | None = None):
        self.policy, self.ewc = policy, EWC(ActionLogits(policy), strength, samples)

    def consolidate(self, observations: Any) -> None:
        """A world is over."""
        self.ewc.consolidate(preprocessed(self.policy, observations))

    def penalty(self) -> Tensor:
        """``strength / 2 * sum of F * (parameter - anchor)^2``."""
        return self.ewc.penalty()

    def state_dict(self) -> dict[str, Any]:
        """Importance and anchors."""
        return self.ewc.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.ewc.load_state_dict(state)


class PolicyReplay:
    """On remembered observations of earlier worlds the policy keeps the distribution over actions that it had there.

    Args:
        policy: whose behaviour is kept.
        strength: of the penalty, the mean divergence KL(then, now).
        capacity: observations that are remembered, of all worlds together.
        batch_size: observations per step.
        seed: of what is remembered and looked at.
    """

    def __init__(self, policy: ActorCriticPolicy, strength: float, capacity: int, batch_size: int, seed: int):
        self.policy, self.logits = policy, ActionLogits(policy)
        self.strength, self.batch_size = strength, batch_size
        self.memory = MemoryBuffer(capacity, "reservoir", seed)
        self._worlds = 0

    def consolidate(self, observations: Any) -> None:
        """A world is over."""
        x = preprocessed(self.policy, observations)
        with torch.no_grad():
            self.memory.add(x, self.logits(x), self._worlds)
        self._worlds += 1

    def penalty(self) -> Tensor:
        """``strength * KL(then, now)`` on a minibatch of what is remembered."""
        if not len(self.memory):
            return torch.zeros((), device=self.policy.device)
        old = self.memory.sample(self.batch_size)
        now = torch.log_softmax(self.logits(old.x.to(self.policy.device)), dim=-1)
        then = torch.log_softmax(old.y.to(self.policy.device), dim=-1)
        return self.strength * (then.exp() * (then - now)).sum(-1).mean()

    def state_dict(self) -> dict[str, Any]:
        """The memory."""
        return {"memory": self.memory.state_dict(), "worlds": self._worlds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state["memory"])
        self._worlds = int(state["worlds"])


def preprocessed(policy: ActorCriticPolicy, observations: Any) -> Tensor:
    """Observations (n, ...) as the policy's features extractor reads them: one-hot, scaled, as floats."""
    tensor = torch.as_tensor(np.asarray(observations), device=policy.device)
    ready = preprocess_obs(tensor, policy.observation_space, normalize_images=policy.normalize_images)
    if not isinstance(ready, Tensor):
        raise UserError("continual policies need one array as observation, not a Dict")
    return ready


def add_to_gradients(optimizer: torch.optim.Optimizer, penalty: Callable[[], Tensor]) -> RemovableHandle:
    """Before every step of ``optimizer`` add the gradient of ``penalty()``; returns a handle to end it."""
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]

    def hook(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        with torch.enable_grad():
            value = penalty()
            if not value.requires_grad:  # nothing is remembered yet
                return
            gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    return optimizer.register_step_pre_hook(hook)
