"""Windows of learning histories, as a causal transformer reads them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.in_context.model import Layout, Steps
from rl_suite.distillation.histories import Histories


class Windows:
    """Draws training windows; the batch of step t depends on the seed and on t alone, so that training resumes exactly.

    Args:
        histories: what to read.
        n_actions: number of actions; it also stands for "no previous action".
        window: steps of a window (``context_length``); at most the length of the longest history. Shorter ones fill
            the front of their windows, and what follows them has no labels.
        from_start: fraction of the windows that begin with the history; the others begin anywhere.
        permute_actions: rename the actions of every window at random (bandits: no arm is special).
        layout: that of the model; "decisions" makes transitions.
        shuffle: deal the steps of every window anew; for transitions whose labels do not depend on what came before.
        seed: of all batches.
    """

    def __init__(
        self,
        histories: Histories,
        n_actions: int,
        window: int,
        from_start: float,
        permute_actions: bool,
        layout: Layout,
        seed: int,
        shuffle: bool = False,
    ):
        if not 2 <= window <= histories.n_steps:
            raise ValueError(f"a window of {window} steps does not fit into histories of {histories.n_steps} steps")
        self.window, self.from_start, self.permute_actions = window, from_start, permute_actions
        self.n_actions, self.layout, self.seed, self.shuffle = n_actions, layout, seed, shuffle
        if shuffle and layout != "decisions":
            raise ValueError("only transitions can be shuffled: a history has an order")
        self.observations, self.labels = histories.observations, histories.labels
        if layout == "history":
            self.actions = _shifted(histories.actions, n_actions)
            self.rewards = _shifted(histories.rewards, 0)
        else:
            self.actions, self.rewards = histories.actions, histories.rewards
        self.steps = histories.steps
        self.first = histories.first
        self.rewarded = rewards_before(histories.rewards, histories.first)
        self.episode = np.cumsum(histories.first, axis=1) - 1

    def batch(self, step: int, size: int) -> tuple[Steps, Tensor]:
        """``size`` windows: steps (B, T) and labels (B, T) or (B, T, A)."""
        rng = np.random.default_rng([self.seed, step])
        rows = rng.integers(len(self.actions), size=(size, 1))
        last = np.maximum(self.steps[rows] - self.window, 0)  # (B, 1) where the latest window of a history begins
        offsets = rng.integers(last + 1)
        offsets[rng.random((size, 1)) < self.from_start] = 0
        columns = np.tile(np.arange(self.window), (size, 1))
        if self.shuffle:
            columns = rng.permuted(columns, axis=1)
            padding = columns >= self.steps[rows]  # stays behind what happened, where no label looks
            columns = np.take_along_axis(columns, padding.argsort(axis=1, kind="stable"), axis=1)
        at = rows, offsets + columns  # (B, 1), (B, T)
        actions, labels = self.actions[at].astype(np.int64), self.labels[at]
        if self.permute_actions:
            actions, labels = self._rename(actions, labels, rng)
        steps = Steps(
            torch.from_numpy(self.observations[at]),
            torch.from_numpy(actions),
            torch.from_numpy(self.rewards[at]).float(),
            torch.from_numpy(self.first[at]),
            torch.from_numpy(self.rewarded[at]),
            torch.from_numpy(self.episode[at]),
        )
        targets = torch.from_numpy(labels)
        return steps, targets.float() if targets.ndim == 3 else targets.long()

    def _rename(
        self, actions: NDArray[np.int64], labels: NDArray[np.generic], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.generic]]:
        """Give the actions of each window new numbers; "none" keeps its own."""
        old = rng.permuted(np.tile(np.arange(self.n_actions), (len(actions), 1)), axis=1)  # new -> old
        new = np.argsort(old, axis=1)  # old -> new
        every = np.arange(len(actions))[:, None]
        padded = np.append(new, np.full((len(actions), 1), self.n_actions), axis=1)
        if labels.ndim == 3:
            return padded[every, actions], np.take_along_axis(labels, old[:, None, :], axis=2)
        missing = np.append(new, np.full((len(actions), 1), -1), axis=1)  # label -1 reads the last column
        return padded[every, actions], missing[every, labels]


def rewards_before(rewards: NDArray[np.generic], first: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """How many rewards other than 0 each episode had brought before each step, (N, T), at most 255.

    >>> rewards_before(np.array([[1.0, 0.0, 1.0, 1.0]]), np.array([[True, False, False, True]])).tolist()
    [[0, 1, 1, 0]]
    """
    paid = np.cumsum(rewards != 0, axis=1)
    before = np.concatenate([np.zeros((len(paid), 1), dtype=paid.dtype), paid[:, :-1]], axis=1)
    at_start = np.maximum.accumulate(np.where(first, before, 0), axis=1)  # cumulative counts never fall
    counts: NDArray[np.uint8] = np.minimum(before - at_start, 255).astype(np.uint8)
    return counts


def _shifted(values: NDArray[np.generic], none: int) -> NDArray[np.generic]:
    """What happened one step earlier; ``none`` before the first step."""
    shifted = np.roll(values, 1, axis=1)
    shifted[:, 0] = none
    return shifted
