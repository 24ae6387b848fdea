"""The meta-policy as stable-baselines3 takes it: ``MaskablePPO(AttentionMetaPolicy, env)``."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor

from agents.meta.attention import Weighting
from agents.meta_policy import EnhancedMetaLearningPolicy

CONTEXT = "task_context"
Masks = NDArray[np.bool_] | Tensor | None


class AttentionMetaPolicy(MaskableActorCriticPolicy):
    """:class:`EnhancedMetaLearningPolicy` with discrete actions in stable-baselines3's dress.

    Of a Dict observation, ``task_context`` (K, T, features) holds episodes of the task, zeros where there are none,
    and ``action_mask`` forbids actions wherever no other masks are given; without these entries, the task is unknown
    and everything is allowed. Everything but the context is the observation: flattened for the default
    encoder, as raw tensors for another.

    Args:
        observation_space, action_space, lr_schedule: of SB3; actions are Discrete.
        hidden_dim, num_attention_heads, fusion_type, use_hierarchical_encoding, weighting: of the policy.
        observation_encoder_class: called as ``cls(observation_space, action_space, hidden_dim)``; must be importable.
        action_head_class: called as ``cls(hidden_dim, action_dim)``; must be importable.
        **kwargs: of SB3's policies: ``optimizer_class``, ``optimizer_kwargs``, ``normalize_images``.
    """

    network: EnhancedMetaLearningPolicy

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        hidden_dim: int = 256,
        num_attention_heads: int = 4,
        fusion_type: str = "attention",
        use_hierarchical_encoding: bool = True,
        weighting: Weighting = "learned",
        **kwargs: Any,
    ):
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"AttentionMetaPolicy chooses among Discrete actions, not {action_space}")
        self.own_arguments: dict[str, Any] = {
            "hidden_dim": hidden_dim,
            "num_attention_heads": num_attention_heads,
            "fusion_type": fusion_type,
            "use_hierarchical_encoding": use_hierarchical_encoding,
            "weighting": weighting,
        }
        self.parts = {name: kwargs.pop(name, None) for name in ("observation_encoder_class", "action_head_class")}
        kwargs.update(features_extractor_class=FlattenExtractor, net_arch=[], ortho_init=False)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        space, n = self.observation_space, int(self.action_space.n)  # type: ignore[attr-defined]
        entries = dict(space.spaces) if isinstance(space, spaces.Dict) else {}
        context = entries.pop(CONTEXT, None)
        self.flat_space: spaces.Space[Any] = spaces.Dict(entries) if entries else space
        make_encoder, make_head = self.parts["observation_encoder_class"], self.parts["action_head_class"]
        observation_dim = get_flattened_obs_dim(self.flat_space)
        width = self.own_arguments["hidden_dim"]
        if context is not None:
            if context.shape is None or len(context.shape) != 3:
                raise ValueError(f"{CONTEXT} must be (trajectories, steps, features), not {context}")
            features = context.shape[2]
            if make_encoder is not None:
                observation_dim = features - n - 1
            if features not in (observation_dim, observation_dim + n + 1) or observation_dim < 1:
                raise ValueError(
                    f"{CONTEXT} has {features} features; {observation_dim} (observation) or "
                    f"{observation_dim + n + 1} (with the action one-hot and the reward) are needed"
                )
        self.network = EnhancedMetaLearningPolicy(
            observation_dim,
            n,
            observation_encoder=make_encoder(self.flat_space, self.action_space, width) if make_encoder else None,
            action_head=make_head(width, n) if make_head else None,
            **self.own_arguments,
        )
        self.optimizer = self.optimizer_class(self.network.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        for name in ("features_extractor_class", "features_extractor_kwargs", "net_arch", "ortho_init"):
            data.pop(name, None)  # they are fixed
        data.pop("activation_fn", None)
        return {**data, **self.own_arguments, **self.parts}

    def _outputs(self, obs: PyTorchObs, action_masks: Masks = None) -> tuple[MaskableDistribution, Tensor]:
        """The distribution of actions and the values (B, 1)."""
        entries = dict(obs) if isinstance(obs, dict) else {}
        context = entries.pop(CONTEXT, None)
        seen: Any = entries if entries else obs
        if self.parts["observation_encoder_class"] is None:
            seen = self._flatten(seen)
        outputs = self.network(seen, context)
        distribution = self.action_dist.proba_distribution(action_logits=outputs["policy_logits"])
        if action_masks is None and "action_mask" in entries:
            action_masks = entries["action_mask"] > 0
        if action_masks is not None:
            distribution.apply_masking(action_masks)
        return distribution, outputs["value"][:, None]

    def _flatten(self, seen: PyTorchObs) -> Tensor:
        """(B, observation_dim) as SB3's extractors see it: one-hot vectors for what is discrete."""
        ready = preprocess_obs(seen, self.flat_space, normalize_images=self.normalize_images)
        parts = [ready[key] for key in sorted(ready)] if isinstance(ready, dict) else [ready]
        return torch.cat([part.flatten(1) for part in parts], 1)

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B,), values (B, 1) and log-probabilities (B,)."""
        distribution, values = self._outputs(obs, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (B, 1), log-probabilities (B,) and entropies (B,) of given actions."""
        distribution, values = self._outputs(obs, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs, action_masks: Masks = None) -> MaskableDistribution:
        """The masked distribution of actions."""
        return self._outputs(obs, action_masks)[0]

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values (B, 1)."""
        return self._outputs(obs)[1]
