"""A toy world of padded graphs, for the tests of graph policies."""

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from envs.spaces import HybridBox


class PointTheWay(gym.Env):
    """Random trees whose third node feature grows along a hidden direction.

    Per node: choose option 0 where the feature is positive and 1 where it is not (option 2 is forbidden), and
    say the feature's sign with the value. Per graph: a plain Box (2,) that should point along the direction.
    The reward is in [0, 1] per step, about 0.5 for acting at random.
    """

    def __init__(self, max_nodes=12, per_node=True):
        self.max_nodes, self.per_node = max_nodes, per_node
        self.max_edges = max_nodes + 3
        parts = {
            "x": spaces.Box(-np.inf, np.inf, (max_nodes, 5), np.float32),
            "edge_index": spaces.Box(0, max_nodes - 1, (2, self.max_edges), np.int16),
            "edge_attr": spaces.Box(-np.inf, np.inf, (self.max_edges, 3), np.float32),
            "graph": spaces.Box(-np.inf, np.inf, (2,), np.float32),
            "num_nodes": spaces.Box(0, max_nodes, (1,), np.int16),
            "num_edges": spaces.Box(0, self.max_edges, (1,), np.int16),
            "node_mask": spaces.MultiBinary(max_nodes),
        }
        if per_node:
            parts["action_mask"] = spaces.MultiBinary(max_nodes * 3)
        self.observation_space = spaces.Dict(parts)
        self.action_space = HybridBox([3], 1, max_nodes) if per_node else spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        if self.per_node:
            choices, values = self.action_space.split(action)
            signal = self.signal
            right = choices[: len(signal), 0] == (signal <= 0)
            reward = 0.5 * right.mean() + 0.25 * (1 + (values[: len(signal), 0] * np.sign(signal)).mean())
        else:
            reward = 0.5 + 0.5 * float(action @ self.direction) / np.sqrt(2)
        self.t += 1
        return self._draw(), float(reward), False, self.t >= 8, {}

    def _draw(self):
        rng, p = self.np_random, self.max_nodes
        n = int(rng.integers(3, p + 1))
        angle = rng.uniform(-np.pi, np.pi)
        self.direction = np.array([np.cos(angle), np.sin(angle)])
        position = rng.normal(size=(n, 2))
        position -= position.mean(0)
        self.signal = position @ self.direction
        observation = {key: np.zeros(space.shape, space.dtype) for key, space in self.observation_space.items()}
        observation["x"][:n] = np.column_stack([position, self.signal, rng.normal(size=(n, 2))])
        edges = np.array([[rng.integers(0, i), i] for i in range(1, n)]).T
        offset = position[edges[1]] - position[edges[0]]
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        observation["edge_index"][:, : n - 1] = edges
        observation["edge_attr"][: n - 1] = np.concatenate([length, offset / length], axis=1)
        observation["graph"][:] = n / p, length.mean()
        observation["num_nodes"][:], observation["num_edges"][:] = n, n - 1
        observation["node_mask"][:n] = 1
        if self.per_node:
            mask = np.zeros((p, 3), np.int8)
            mask[:n, :2] = 1
            observation["action_mask"][:] = mask.flatten()
        return observation


def observations(n, seed=0, **kwargs):
    """A batch of n first observations as tensors."""
    world = PointTheWay(**kwargs)
    rows = [world.reset(seed=seed + i)[0] for i in range(n)]
    return {key: torch.as_tensor(np.stack([row[key] for row in rows])) for key in rows[0]}


def shuffled(observation, order):
    """The same graphs with their nodes in another order: row i of the result is row ``order[i]``."""
    inverse = torch.argsort(order)
    result = dict(observation)
    for key in ("x", "node_mask"):
        result[key] = observation[key][:, order]
    result["edge_index"] = inverse[observation["edge_index"].long()].to(torch.int16)
    if "action_mask" in observation:
        result["action_mask"] = observation["action_mask"].view(len(order) and -1, len(order), 3)[:, order].flatten(1)
    return result
