"""What the critic expects of each component of the reward, for stock SB3.

SB3 learns from the total reward alone. The critic of ``HybridActorCritic`` has a head per component whose sum
is the value; after every rollout this callback fits the heads to the returns of their own components (a ridge
regression on what the critic's hidden layer says), and logs them. The world must report the components in
``info`` at every step, which of our worlds ``make_vec_env(..., info_keys=...)`` makes happen.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor

from agents.actor_critic import HybridActorCritic

RIDGE = 1e-2  # pull towards the present heads, per sample
CHUNK = 1024  # observations encoded at once


class ComponentValueCallback(BaseCallback):
    """Fit and log one value per component of the reward.

    The names are those of the policy's ``reward_components``, which are also the keys in ``info``.
    """

    def _on_training_start(self) -> None:
        policy = self.model.policy
        if not isinstance(policy, HybridActorCritic):
            raise ValueError(f"{type(policy).__name__} has no values per component; HybridActorCritic has")
        self._names = policy.critic.components
        self._rewards: list[NDArray[np.float64]] = []
        self._bootstraps: list[NDArray[np.float64]] = []

    def _on_rollout_start(self) -> None:
        self._rewards, self._bootstraps = [], []

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        missing = [name for name in self._names if name not in infos[0]]
        if missing:
            raise ValueError(f"info has no {', '.join(missing)} at every step: name them in env.info_keys")
        self._rewards.append(np.array([[info[name] for name in self._names] for info in infos]))
        bootstrap = np.zeros((len(infos), len(self._names)))
        for row, info in enumerate(infos):
            if info.get("TimeLimit.truncated", False) and "terminal_observation" in info:
                observation, _ = self.model.policy.obs_to_tensor(info["terminal_observation"])
                bootstrap[row] = self._values(observation)[0]
        self._bootstraps.append(bootstrap)
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.model.rollout_buffer  # type: ignore[attr-defined]
        policy = self.model.policy
        assert isinstance(policy, HybridActorCritic)
        flat = {key: value.reshape(-1, *value.shape[2:]) for key, value in buffer.observations.items()}
        tokens, values = self._encode(flat)
        shape = (buffer.buffer_size, buffer.n_envs, len(self._names))
        last = self._values(obs_as_tensor(self.locals["new_obs"], policy.device))
        rewards = np.stack(self._rewards) + buffer.gamma * np.stack(self._bootstraps)
        dones = np.concatenate([buffer.episode_starts[1:], self.locals["dones"][None]])
        returns = lambda_returns(rewards, values.reshape(shape), last, dones, buffer.gamma, buffer.gae_lambda)
        wanted = torch.as_tensor(returns.reshape(-1, shape[2]), dtype=torch.float32, device=policy.device)
        policy.critic.fit_heads(tokens, wanted, RIDGE)
        for i, name in enumerate(self._names):
            self.logger.record(f"train/value_{name}", float(values[:, i].mean()))
            self.logger.record(f"rollout/{name}", float(np.stack(self._rewards)[..., i].mean()))

    @torch.no_grad()
    def _values(self, observations: Any) -> NDArray[np.float64]:
        policy = self.model.policy
        assert isinstance(policy, HybridActorCritic)
        latents, _ = policy.latents(observations)
        return policy.component_values(latents).cpu().double().numpy()

    @torch.no_grad()
    def _encode(self, flat: dict[str, NDArray[Any]]) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Graph tokens (n, D) and values (n, components) of many observations."""
        policy = self.model.policy
        assert isinstance(policy, HybridActorCritic)
        tokens = []
        for start in range(0, len(next(iter(flat.values()))), CHUNK):
            part = {key: value[start : start + CHUNK] for key, value in flat.items()}
            tokens.append(policy.latents(obs_as_tensor(part, policy.device))[0].tokens.graph)
        together = torch.cat(tokens)
        return together, policy.critic(together).cpu().double().numpy()


def lambda_returns(
    rewards: NDArray[np.float64],
    values: NDArray[np.float64],
    last_values: NDArray[np.float64],
    dones: NDArray[Any],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float64]:
    """TD(lambda) returns (T, B, C) of several components at once.

    Args:
        rewards, values: (T, B, C).
        last_values: (B, C) after the last step.
        dones: (T, B), whether an episode ended with the step.
        gamma, gae_lambda: as in generalised advantage estimation (Schulman et al. 2016).

    >>> ones = np.ones((2, 1, 1))
    >>> lambda_returns(ones, 0 * ones, np.full((1, 1), 4.0), np.zeros((2, 1)), 0.5, 1.0).ravel().tolist()
    [2.5, 3.0]
    """
    advantage, following = np.zeros_like(last_values), last_values
    returns = np.empty_like(rewards)
    for t in range(len(rewards) - 1, -1, -1):
        going_on = 1.0 - dones[t].astype(np.float64)[:, None]
        error = rewards[t] + gamma * going_on * following - values[t]
        advantage = error + gamma * gae_lambda * going_on * advantage
        returns[t], following = advantage + values[t], values[t]
    return returns
