"""A policy that knows which task it is in: a few episodes of the task are the query over what it sees.

The episodes become one vector, the task's embedding. Together with the node that is decided on it asks, by attention,
what matters among the nodes written so far and among the columns and rows of the task's data.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.meta.attention import TaskAttention, Weighting, attention_entropy, make_fusion
from agents.meta.nodes import FlatNodes, LinearActions, NodeTokens
from agents.meta.task_encoder import TaskEncoder

__all__ = ["EnhancedMetaLearningPolicy", "NodeTokens", "attention_entropy"]

N_SETS = 3  # nodes, columns, rows
FORBIDDEN = -1e8  # the logit of an action that is not allowed


HEADS = ("action_head", "value_head", "complexity_head", "convergence_head")


def as_tensor(values: Any, like: Tensor, name: str) -> Tensor:
    """Arrays and lists of numbers as tensors beside ``like``; a tensor stays what it is.

    Raises:
        ValueError: they are no numbers, or lists of different lengths.
    """
    if isinstance(values, Tensor):
        return values
    try:
        return torch.as_tensor(np.asarray(values, dtype=np.float32), device=like.device)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array or a tensor of numbers, not {type(values).__name__}") from None


class Seen(NamedTuple):
    """What the heads decide on."""

    fused: Tensor
    """(B, D)."""
    encoded: NodeTokens
    attention: Tensor
    """(B, heads, keys)."""


class EnhancedMetaLearningPolicy(nn.Module):
    """Logits over actions, a value, and two forecasts, given an observation and episodes of its task.

    A step of an episode is ``observation_dim`` numbers of the flat observation, the action one-hot and the reward:
    ``task_features`` numbers in all; of observations alone, the rest counts as 0. Without episodes the task is a
    learned vector, "unknown".

    Args:
        observation_dim: numbers of a flat observation; with an own encoder, those that episodes tell of each step.
        action_dim: number of actions.
        hidden_dim: D, the width of everything; even.
        num_attention_heads: must divide D.
        fusion_type: how task and what it found are put together: "attention", "gating" or "bilinear".
        use_hierarchical_encoding: see :class:`agents.meta.task_encoder.TaskEncoder`.
        observation_encoder: module from observations to :class:`NodeTokens` of width D; None: flat observations
            (B, observation_dim) are cut into at most 16 nodes.
        action_head: module (fused (B, D), tokens) -> logits (B, action_dim); None: a linear one.
        weighting: "uniform" puts the mean of all tokens in the place of attention.

    Raises:
        ValueError: sizes that do not fit together, or an unknown fusion.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dim: int = 256,
        num_attention_heads: int = 4,
        fusion_type: str = "attention",
        use_hierarchical_encoding: bool = True,
        *,
        observation_encoder: nn.Module | None = None,
        action_head: nn.Module | None = None,
        weighting: Weighting = "learned",
    ):
        super().__init__()
        sizes = (observation_dim, action_dim, hidden_dim, num_attention_heads)
        if not all(isinstance(size, int | np.integer) for size in sizes) or min(sizes) < 1:
            raise ValueError(
                "observation_dim, action_dim, hidden_dim and num_attention_heads must be whole numbers of at least 1"
            )
        if use_hierarchical_encoding not in (True, False):
            raise ValueError(f"use_hierarchical_encoding must be True or False, not {use_hierarchical_encoding!r}")
        if hidden_dim % num_attention_heads or hidden_dim % 2:
            raise ValueError(f"hidden_dim {hidden_dim} must be even and a multiple of {num_attention_heads} heads")
        self.observation_dim, self.action_dim, self.hidden_dim = observation_dim, action_dim, hidden_dim
        self.fusion_type, self.use_hierarchical_encoding = fusion_type, use_hierarchical_encoding
        self.task_features = observation_dim + action_dim + 1
        self.observation_encoder = observation_encoder or FlatNodes(observation_dim, hidden_dim)
        self.task_encoder = TaskEncoder(self.task_features, hidden_dim, use_hierarchical_encoding)
        self.unknown_task = nn.Parameter(0.1 * torch.randn(hidden_dim))
        self.place = nn.Linear(hidden_dim, hidden_dim)
        self.task_attention = TaskAttention(hidden_dim, num_attention_heads, N_SETS, weighting)
        self.fusion = make_fusion(fusion_type, hidden_dim)
        self.trunk = nn.Sequential(nn.Linear(hidden_dim, hidden_dim), nn.GELU())
        self.action_head = action_head or LinearActions(hidden_dim, action_dim)
        self.value_head = nn.Linear(hidden_dim, 1)
        self.complexity_head = nn.Linear(hidden_dim, 1)
        self.convergence_head = nn.Linear(hidden_dim, 1)
        for head in (self.value_head, self.complexity_head, self.convergence_head):
            nn.init.normal_(head.weight, std=0.01 / hidden_dim**0.5)  # they begin with 0, so that errors begin small
            nn.init.zeros_(head.bias)

    def encode_task(self, task_trajectories: Tensor) -> dict[str, Tensor]:
        """Episodes (B, K, T, features) -> ``task_embedding`` (B, D).

        The hierarchical encoding adds ``local_features`` (B, K, T, D) and ``global_features`` (B, D). Episodes of
        different lengths end in steps of zeros. Tasks without a single step get the vector of an unknown task.

        Raises:
            ValueError: another shape.
        """
        task_trajectories = as_tensor(task_trajectories, self.unknown_task, "task_context")
        known = (self.observation_dim, self.task_features)
        if task_trajectories.ndim != 4 or task_trajectories.shape[3] not in known:
            raise ValueError(
                f"task_trajectories must be (batch, trajectories, steps, {self.task_features}) (observation, action "
                f"one-hot, reward) or (..., {self.observation_dim}) (observation), not {tuple(task_trajectories.shape)}"
            )
        n_tasks, n, length, features = task_trajectories.shape
        if not (n_tasks and n and length):
            return {"task_embedding": self.unknown_task.expand(n_tasks, -1)}
        encoded: dict[str, Tensor] = self.task_encoder(
            nn.functional.pad(task_trajectories.to(self.unknown_task.dtype), (0, self.task_features - features))
        )
        found = encoded.pop("found")[:, None]
        encoded["task_embedding"] = torch.where(found, encoded["task_embedding"], self.unknown_task)
        return encoded

    def forward(self, obs: Any, task_context: Tensor | None = None, return_attention: bool = False) -> dict[str, Any]:
        """``policy_logits`` (B, action_dim), ``value`` (B,) and ``auxiliary_outputs`` of a batch.

        Args:
            obs: what the observation encoder takes: (B, observation_dim), or anything else with a batch axis.
            task_context: episodes of each task (B, K, T, features), or (1, K, T, features) of the one task of all;
                None: the task is not known.
            return_attention: adds ``attention_weights`` (B, heads, keys); keys are nodes, columns and rows, in this
                order, and weights sum to 1.

        Returns:
            Also ``auxiliary_outputs``: ``predicted_complexity`` (B,) of the finished expression and
            ``predicted_convergence`` (B,), the steps that are left, both as shares of the most there can be.
        """
        seen = self.read(obs, self.embed(task_context))
        outputs = self.decide(seen)
        if return_attention:
            outputs["attention_weights"] = seen.attention
        return outputs

    def embed(self, task_context: Tensor | None) -> Tensor:
        """The task's embedding (B, D), or (1, D) of the unknown task."""
        if task_context is None:
            return self.unknown_task[None]
        return self.encode_task(task_context)["task_embedding"]

    def read(self, obs: Any, task: Tensor) -> Seen:
        """All but the heads: observations, and embeddings (B, D) or (1, D) of their tasks."""
        if isinstance(self.observation_encoder, FlatNodes):
            obs = as_tensor(obs, self.unknown_task, "observations")
        encoded: NodeTokens = self.observation_encoder(obs)
        current = encoded.current()
        if len(task) not in (1, len(current)):
            raise ValueError(f"{len(current)} observations need the context of one task or of each, not of {len(task)}")
        task = task.expand(len(current), -1)
        found, weights = self.task_attention(task + self.place(current), encoded.parts())
        return Seen(self.trunk(self.fusion(task, current + found)), encoded, weights)

    def decide(self, seen: Seen) -> dict[str, Any]:
        """The heads: what :meth:`forward` returns, without the attention."""
        return {
            "policy_logits": self.action_head(seen.fused, seen.encoded),
            "value": self.value_head(seen.fused)[:, 0],
            "auxiliary_outputs": {
                "predicted_complexity": self.complexity_head(seen.fused)[:, 0],
                "predicted_convergence": self.convergence_head(seen.fused)[:, 0],
            },
        }

    @torch.no_grad()
    def act(
        self,
        obs: Any,
        task_context: Tensor | None = None,
        action_mask: Tensor | NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[int, dict[str, float]]:
        """One action for one observation, with its ``value``, ``log_prob`` and ``attention_entropy`` (nats).

        Args:
            obs: one observation: (observation_dim,), or a batch of one.
            task_context: (1, K, T, features), (K, T, features), or None.
            action_mask: (action_dim,), True = allowed.
            deterministic: the most likely action instead of a sample.

        Raises:
            ValueError: more than one observation, no action is allowed, or the logits are not finite.
        """
        device = self.unknown_task.device
        if not isinstance(obs, Mapping):
            obs = as_tensor(obs, self.unknown_task, "observations")
            obs = obs[None] if obs.ndim == 1 else obs
        if task_context is not None:
            task_context = as_tensor(task_context, self.unknown_task, "task_context")
            task_context = task_context[None] if task_context.ndim == 3 else task_context
        outputs = self(obs, task_context, return_attention=True)
        logits = outputs["policy_logits"]
        if len(logits) != 1:
            raise ValueError(f"act decides on one observation, not on {len(logits)}")
        if not bool(logits.isfinite().all()):
            raise ValueError("the logits are not finite: the observation, the task context or the weights hold NaN")
        if action_mask is not None:
            allowed = torch.as_tensor(action_mask, dtype=torch.bool, device=device).reshape(-1)
            if len(allowed) != logits.shape[1]:
                raise ValueError(f"action_mask says something of {len(allowed)} actions; there are {logits.shape[1]}")
            if not bool(allowed.any()):
                raise ValueError("action_mask allows no action")
            logits = logits.masked_fill(~allowed, FORBIDDEN)
        log_p = torch.log_softmax(logits[0], 0)
        action = int(log_p.argmax() if deterministic else torch.multinomial(log_p.exp(), 1))
        return action, {
            "value": float(outputs["value"]),
            "log_prob": float(log_p[action]),
            "attention_entropy": float(attention_entropy(outputs["attention_weights"]).mean()),
        }

    @torch.no_grad()
    def get_attention_stats(self, obs: Any, task_context: Tensor | None = None) -> dict[str, Tensor]:
        """Where a batch looks.

        Returns:
            ``attention_weights`` (B, heads, keys); ``attention_entropy`` (B,) in nats, the mean of the heads, at most
            log(keys), lower where the policy is more focused; ``attention_max`` (B,) and ``attention_argmax`` (B,) of
            the weights averaged over heads.
        """
        weights = self(obs, task_context, return_attention=True)["attention_weights"]
        highest = weights.mean(1).max(1)
        return {
            "attention_weights": weights,
            "attention_entropy": attention_entropy(weights).mean(1),
            "attention_max": highest.values,
            "attention_argmax": highest.indices,
        }
