"""Hybrid actions for stock SB3: some discrete choices and some continuous values for each of many parts.

SB3 knows one number of actions per space and one distribution per policy. Here an action is a flat
vector of parts (see :class:`ActionLayout`), of which only the real ones count: a part is the whole
action of a small world, or one node of a padded graph. ``MaskedHybrid`` is the joint distribution,
``HybridPolicy`` an ``ActorCriticPolicy`` that uses it, so that ``PPO``, ``A2C`` and ``TRPO``
train it as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from agents.hybrid.distribution import LOG_STD_RANGE, ActionLayout, MaskedHybrid, Parts
from agents.hybrid.unfit import UnfitPolicyError

__all__ = ["LOG_STD_RANGE", "ActionLayout", "HybridDistribution", "HybridPolicy", "MaskedHybrid", "Parts"]


SWITCHES = ("ortho_init", "full_std", "use_expln", "squash_output", "share_features_extractor", "normalize_images")
OTHER_FAMILIES = {  # what an algorithm asks its policy for -> why a hybrid policy lacks it
    "lstm_actor": "has no memory, as RecurrentPPO needs it",
    "critic_target": "has no target networks, as SAC and TD3 need them",
    "actor_target": "has no target networks, as TD3 needs them",
    "quantile_net": "has no quantiles, as QR-DQN needs them",
}


class HybridDistribution(Distribution):
    """SB3's face of :class:`MaskedHybrid`; ``distribution`` is the torch distribution (TRPO reads it)."""

    distribution: MaskedHybrid

    def __init__(self, layout: ActionLayout):
        super().__init__()  # type: ignore[no-untyped-call]
        self.layout = layout

    def proba_distribution_net(self, latent_dim: int, log_std_init: float = 0.0) -> tuple[nn.Module, nn.Parameter]:
        """A linear layer to the parameters of all parts, and log standard deviations (n_parts * plain values,)."""
        layout = self.layout
        log_std = torch.full((layout.n_parts * len(layout.plain),), float(log_std_init))
        return nn.Linear(latent_dim, layout.n_parts * sum(layout.parameter_widths)), nn.Parameter(log_std)

    def proba_distribution(self, distribution: MaskedHybrid) -> "HybridDistribution":
        """Take over a finished distribution."""
        self.distribution = distribution
        return self

    def log_prob(self, actions: Tensor) -> Tensor:
        """Joint log-density (B,)."""
        return self.distribution.log_prob(actions)

    def entropy(self) -> Tensor:
        """Joint entropy (B,)."""
        return self.distribution.entropy()

    def sample(self) -> Tensor:
        """Flat actions (B, n)."""
        return self.distribution.sample()

    def mode(self) -> Tensor:
        """Most likely flat actions (B, n)."""
        return self.distribution.mode

    def actions_from_params(self, distribution: MaskedHybrid, deterministic: bool = False) -> Tensor:
        """Flat actions of a finished distribution."""
        return self.proba_distribution(distribution).get_actions(deterministic)

    def log_prob_from_params(self, distribution: MaskedHybrid) -> tuple[Tensor, Tensor]:
        """Sampled flat actions and their log-densities."""
        actions = self.actions_from_params(distribution)
        return actions, self.log_prob(actions)


class HybridPolicy(ActorCriticPolicy):
    """SB3 policy for hybrid actions with a fixed number of parts: ``PPO(HybridPolicy, env)``.

    A Dict observation may hold ``action_mask`` (n_parts * n_options entries, 1 = allowed, each choice with
    an allowed option) and ``part_mask`` (n_parts entries, 1 = real); both are used for masking and are
    ordinary inputs besides. Subclasses with other networks override ``_build`` and the three hooks
    ``latents``, ``hybrid_distribution`` and ``value``.

    Args:
        angles: which of the continuous values are angles in units of pi, hence wrap around.
        *args, **kwargs: of SB3's ActorCriticPolicy.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *args: Any,
        angles: Sequence[int] = (),
        **kwargs: Any,
    ):
        self.layout = ActionLayout.of(action_space, angles)
        if kwargs.get("use_sde"):
            raise ValueError("a hybrid policy has no state-dependent exploration: set use_sde=False")
        if kwargs.get("squash_output") and self.layout.nvec:
            raise ValueError("squash_output does nothing where actions hold choices: leave it false")
        for name in set(SWITCHES) & set(kwargs):
            if not isinstance(kwargs[name], bool | None):  # None: what a saved model has for unused ones
                raise ValueError(f"{name} must be true or false, not {str(kwargs[name])[:80]!r}")
        is_dict = isinstance(observation_space, spaces.Dict)
        kwargs.setdefault("features_extractor_class", CombinedExtractor if is_dict else FlattenExtractor)
        kwargs["squash_output"] = False
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        # Values live in [-1, 1]; a plain Box may have other bounds, then SB3 rescales on the way to the world.
        self._squash_output = not self.layout.nvec

    def __getattr__(self, name: str) -> Any:
        if name in OTHER_FAMILIES:
            raise UnfitPolicyError(f"{type(self).__name__} {OTHER_FAMILIES[name]}; use PPO, A2C or TRPO")
        return super().__getattr__(name)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # builds SB3's Gaussian head; ours replaces it before the optimizer is made anew
        self.action_net, self.log_std = HybridDistribution(self.layout).proba_distribution_net(
            self.mlp_extractor.latent_dim_pi, self.log_std_init
        )
        if self.ortho_init:
            self.init_weights(self.action_net, gain=0.01)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def latents(self, obs: PyTorchObs) -> tuple[Any, Any]:
        """What the actor and the critic read, from raw observations."""
        features = self.extract_features(obs)
        if self.share_features_extractor:
            latent_pi, latent_vf = self.mlp_extractor(features)
        else:
            latent_pi = self.mlp_extractor.forward_actor(features[0])
            latent_vf = self.mlp_extractor.forward_critic(features[1])
        return latent_pi, latent_vf

    def hybrid_distribution(self, latent_pi: Any, obs: PyTorchObs) -> MaskedHybrid:
        """The distribution of actions, from the actor's latent and the masks in the observation."""
        layout = self.layout
        batch = len(latent_pi)
        rows = self.action_net(latent_pi).view(batch * layout.n_parts, -1)
        logits, mean, vectors = torch.split(rows, layout.parameter_widths, dim=1)
        log_std = self.log_std.view(layout.n_parts, -1).repeat(batch, 1)
        vectors = vectors.reshape(len(rows), len(layout.angles), 2)
        allowed, parts = None, None
        if layout.n_options and isinstance(obs, dict) and "action_mask" in obs:
            allowed = obs["action_mask"].reshape(len(rows), layout.n_options) > 0
        if isinstance(obs, dict) and "part_mask" in obs:
            real = obs["part_mask"].reshape(batch, layout.n_parts) > 0
            parts, keep = Parts.of(real), real.flatten()
            logits, mean, log_std, vectors = logits[keep], mean[keep], log_std[keep], vectors[keep]
            allowed = None if allowed is None else allowed[keep]
        return MaskedHybrid(layout, logits, mean, log_std, parts, allowed, vectors)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "angles": self.layout.angles}

    def value(self, latent_vf: Any) -> Tensor:
        """Values (B, 1) from the critic's latent."""
        return self.value_net(latent_vf)  # type: ignore[no-any-return]

    def forward(self, obs: PyTorchObs, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B, n), values (B, 1) and log-densities (B,)."""
        latent_pi, latent_vf = self.latents(obs)
        distribution = self.hybrid_distribution(latent_pi, obs)
        actions = distribution.mode if deterministic else distribution.sample()
        return actions, self.value(latent_vf), distribution.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B, 1), log-densities (B,) and entropies (B,) of given actions."""
        latent_pi, latent_vf = self.latents(obs)
        distribution = self.hybrid_distribution(latent_pi, obs)
        return self.value(latent_vf), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> HybridDistribution:
        """The distribution of actions in SB3's dress."""
        distribution = self.hybrid_distribution(self.latents(obs)[0], obs)
        return HybridDistribution(self.layout).proba_distribution(distribution)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values (B, 1)."""
        return self.value(self.latents(obs)[1])
