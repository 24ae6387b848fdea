"""Toy worlds with hybrid actions, for the tests of the policies."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.spaces import HybridBox


class MatchParts(gym.Env):
    """Every part must choose the option that it is shown and answer with the value that it is shown.

    Reward per step in [0, 1] per real part: 0.5 for the right option, up to 0.5 for the value. The option
    ``forbidden`` of each part is masked; ``n_real`` parts (random if None) are real.
    """

    def __init__(self, n_parts=4, n_options=3, n_real=None, masked=True):
        self.n_parts, self.n_options, self.n_real, self.masked = n_parts, n_options, n_real, masked
        self.action_space = HybridBox([n_options], 1, n_parts)
        self.observation_space = spaces.Dict(
            {
                "shown": spaces.Box(-1.0, 1.0, (n_parts, n_options + 1), np.float32),
                "action_mask": spaces.MultiBinary(n_parts * n_options),
                "part_mask": spaces.MultiBinary(n_parts),
            }
        )
        self.violations = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action):
        choices, values = self.action_space.split(action)
        choices, values = choices[:, 0], values[:, 0]
        real = self.observation["part_mask"] > 0
        mask = self.observation["action_mask"].reshape(self.n_parts, self.n_options)
        self.violations += int((mask[np.arange(self.n_parts), choices] == 0)[real].sum())
        right = 0.5 * (choices == self.wanted) + 0.5 * (1.0 - np.abs(values - self.target) / 2.0)
        self.t += 1
        return self._draw(), float(right[real].mean()), False, self.t >= 16, {}

    def _draw(self):
        n_real = self.n_real or int(self.np_random.integers(1, self.n_parts + 1))
        forbidden = self.np_random.integers(0, self.n_options, self.n_parts)
        self.wanted = (forbidden + self.np_random.integers(1, self.n_options, self.n_parts)) % self.n_options
        self.target = self.np_random.uniform(-0.9, 0.9, self.n_parts)
        shown = np.concatenate([np.eye(self.n_options)[self.wanted], self.target[:, None]], axis=1)
        mask = np.ones((self.n_parts, self.n_options), np.int8)
        if self.masked:
            mask[np.arange(self.n_parts), forbidden] = 0
        part = (np.arange(self.n_parts) < n_real).astype(np.int8)
        self.observation = {"shown": shown.astype(np.float32), "action_mask": mask.reshape(-1), "part_mask": part}
        return {key: value.copy() for key, value in self.observation.items()}
