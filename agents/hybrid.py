"""Hybrid actions for stock SB3: some discrete choices and some continuous values for each of many parts.

SB3 knows one number of actions per space and one distribution per policy. Here an action is a flat
vector of parts (see :class:`ActionLayout`), of which only the real ones count: a part is the whole
action of a small world, or one node of a padded graph. ``MaskedHybrid`` is the joint distribution,
``HybridActorCriticPolicy`` an ``ActorCriticPolicy`` that uses it, so that ``PPO``, ``A2C`` and ``TRPO``
train it as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn
from torch.distributions import Distribution as TorchDistribution
from torch.distributions.kl import register_kl

from agents.circular import angle_entropy, angle_kl, angle_log_prob, angle_mode, sample_angle
from agents.segments import segment_sum
from agents.squashed import entropy_of_tanh_normal, log_prob_of_tanh_normal, normal_kl

FORBIDDEN_LOGIT = -1e8  # finite, so that a forbidden option adds exactly 0 to entropies and divergences
LOG_STD_RANGE = (-4.0, 1.0)  # outside, a squashed Gaussian is a spike or two spikes at the bounds


@dataclass(frozen=True)
class ActionLayout:
    """How to read a flat action: ``n_parts`` parts, in each first the choices, then the values.

    Attributes:
        nvec: number of options of each choice of one part.
        n_continuous: number of values of one part.
        n_parts: number of parts, real or padding.
        angles: which of the values are angles in units of pi; they wrap around from 1 to -1.
    """

    nvec: tuple[int, ...]
    n_continuous: int
    n_parts: int
    angles: tuple[int, ...] = ()

    @property
    def plain(self) -> list[int]:
        """Which of the values are no angles."""
        return [i for i in range(self.n_continuous) if i not in self.angles]

    @property
    def n_options(self) -> int:
        """Logits of one part."""
        return sum(self.nvec)

    @property
    def parameter_widths(self) -> list[int]:
        """Parameters of one part's distribution: logits, means of plain values, vectors of angles."""
        return [self.n_options, len(self.plain), 2 * len(self.angles)]

    @property
    def part_size(self) -> int:
        """Entries of one part in the flat action."""
        return len(self.nvec) + self.n_continuous

    @staticmethod
    def of(space: spaces.Space[Any], angles: Sequence[int] = ()) -> "ActionLayout":
        """Read the layout off a hybrid space (``nvec``, ``n_parts``, ``n_continuous``) or a bounded 1-D Box."""
        if all(hasattr(space, name) for name in ("nvec", "n_parts", "n_continuous")):
            nvec = tuple(int(n) for n in space.nvec)  # type: ignore[attr-defined]
            layout = ActionLayout(nvec, int(space.n_continuous), int(space.n_parts), tuple(angles))  # type: ignore[attr-defined]
        elif isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
            layout = ActionLayout((), int(space.shape[0]), 1, tuple(angles))
        else:
            raise ValueError(f"a hybrid policy needs a HybridBox or a bounded 1-D Box of actions, not {space}")
        if not set(angles) <= set(range(layout.n_continuous)) or len(set(angles)) < len(angles):
            raise ValueError(f"angles={tuple(angles)} must be distinct numbers below {layout.n_continuous}")
        return layout


@dataclass(frozen=True)
class Parts:
    """Which parts are real: graph (M,) and slot (M,) of each, and how many each of the B samples has.

    ``graph`` must be sorted. M is the number of real parts in the batch.
    """

    graph: Tensor
    slot: Tensor
    counts: Tensor

    @staticmethod
    def of(mask: Tensor) -> "Parts":
        """From a mask (B, P), True = real."""
        graph, slot = mask.nonzero(as_tuple=True)
        return Parts(graph, slot, mask.sum(dim=1))


class MaskedHybrid(TorchDistribution):
    """Categorical choices and tanh-squashed Gaussian values of all real parts, jointly; events are flat actions.

    Args:
        layout: how the flat action is laid out.
        logits: (M, n_options) for the choices of the real parts, choice after choice.
        mean, log_std: (M, number of plain values) of the Gaussians before squashing.
        parts: where the M rows belong; None when every part of every sample is real (M = B * n_parts).
        allowed: (M, n_options) bool, True = allowed; None when all are. Each choice needs an allowed option.
        vectors: (M, number of angles, 2), where the angles want to point (:mod:`agents.circular`).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  # torch's own convention

    def __init__(
        self,
        layout: ActionLayout,
        logits: Tensor,
        mean: Tensor,
        log_std: Tensor,
        parts: Parts | None = None,
        allowed: Tensor | None = None,
        vectors: Tensor | None = None,
    ):
        if allowed is not None:
            logits = logits.masked_fill(~allowed, FORBIDDEN_LOGIT)
        self.layout, self.parts, self.mean_before_squash = layout, parts, mean
        self.vectors = mean.new_zeros(len(mean), 0, 2) if vectors is None else vectors
        self.log_std = log_std.clamp(*LOG_STD_RANGE).expand_as(mean)
        self.log_probs = [choice.log_softmax(dim=-1) for choice in torch.split(logits, list(layout.nvec), dim=-1)]
        batch = len(mean) // layout.n_parts if parts is None else len(parts.counts)
        event = torch.Size([layout.n_parts * layout.part_size])
        super().__init__(torch.Size([batch]), event, validate_args=False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw flat actions (B, n_parts * part_size); padding is zero."""
        if tuple(sample_shape):
            raise ValueError("MaskedHybrid draws one sample per call")
        with torch.no_grad():
            choices = [torch.multinomial(log_probs.exp(), 1) for log_probs in self.log_probs]
            noise = torch.randn_like(self.mean_before_squash)
            plain = torch.tanh(self.mean_before_squash + self.log_std.exp() * noise)
            return self._flatten(choices, plain, sample_angle(self.vectors))

    @property
    def mode(self) -> Tensor:
        """Most likely choices, and values at the squashed mean; flat (B, n_parts * part_size)."""
        choices = [log_probs.argmax(dim=-1, keepdim=True) for log_probs in self.log_probs]
        return self._flatten(choices, torch.tanh(self.mean_before_squash), angle_mode(self.vectors))

    def log_prob(self, value: Tensor) -> Tensor:
        """Joint log-density (B,) of flat actions, over real parts only."""
        return self.sum_parts(self.log_prob_of_parts(value))

    def log_prob_of_parts(self, value: Tensor) -> Tensor:
        """Log-density (M,) of each real part of flat actions."""
        value = value.reshape(-1, self.layout.n_parts, self.layout.part_size)
        rows = value.flatten(0, 1) if self.parts is None else value[self.parts.graph, self.parts.slot]  # (M, part_size)
        total = torch.zeros_like(rows[:, 0])
        for j, log_probs in enumerate(self.log_probs):
            total = total + log_probs.gather(1, rows[:, j : j + 1].round().long()).squeeze(1)
        values = rows[:, len(self.layout.nvec) :]
        if self.layout.plain:
            plain = values[:, self.layout.plain]
            total = total + log_prob_of_tanh_normal(plain, self.mean_before_squash, self.log_std).sum(dim=1)
        if self.layout.angles:
            total = total + angle_log_prob(values[:, self.layout.angles], self.vectors).sum(dim=1)
        return total

    def entropy(self) -> Tensor:
        """Joint entropy (B,) in nats: exact for choices, by quadrature for squashed values."""
        total = torch.zeros(len(self.mean_before_squash), device=self.mean_before_squash.device)
        for log_probs in self.log_probs:
            total = total - (log_probs.exp() * log_probs).sum(dim=1)
        if self.layout.plain:
            total = total + entropy_of_tanh_normal(self.mean_before_squash, self.log_std).sum(dim=1)
        if self.layout.angles:
            total = total + angle_entropy(self.vectors).sum(dim=1)
        return self.sum_parts(total)

    def sum_parts(self, per_part: Tensor) -> Tensor:
        """Add up (M,) over the parts of each sample: (B,)."""
        if self.parts is None:
            return per_part.view(-1, self.layout.n_parts).sum(dim=1)
        return segment_sum(per_part, self.parts.counts, self.parts.graph)

    def _flatten(self, choices: list[Tensor], plain: Tensor, angles: Tensor) -> Tensor:
        values = plain
        if self.layout.angles:
            values = plain.new_empty(len(plain), self.layout.n_continuous)
            values[:, self.layout.plain], values[:, self.layout.angles] = plain, angles
        rows = torch.cat([*(choice.to(values.dtype) for choice in choices), values], dim=1)  # (M, part_size)
        if self.parts is None:
            return rows.reshape(-1, self.layout.n_parts * self.layout.part_size)
        flat = rows.new_zeros(self.batch_shape[0], self.layout.n_parts, self.layout.part_size)
        flat[self.parts.graph, self.parts.slot] = rows
        return flat.flatten(1)


@register_kl(MaskedHybrid, MaskedHybrid)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl_hybrid(p: MaskedHybrid, q: MaskedHybrid) -> Tensor:
    """KL(p || q) per sample (B,); squashing is one-to-one, so the Gaussians are compared before it."""
    total = torch.zeros(len(p.mean_before_squash), device=p.mean_before_squash.device)
    for p_log, q_log in zip(p.log_probs, q.log_probs, strict=True):
        total = total + (p_log.exp() * (p_log - q_log)).sum(dim=1)
    if p.layout.plain:
        total = total + normal_kl(p.mean_before_squash, p.log_std, q.mean_before_squash, q.log_std).sum(dim=1)
    if p.layout.angles:
        total = total + angle_kl(p.vectors, q.vectors).sum(dim=1)
    return p.sum_parts(total)


class HybridDistribution(Distribution):
    """SB3's face of :class:`MaskedHybrid`; ``distribution`` is the torch distribution (TRPO reads it)."""

    distribution: MaskedHybrid

    def __init__(self, layout: ActionLayout):
        super().__init__()  # type: ignore[no-untyped-call]
        self.layout = layout

    def proba_distribution_net(self, latent_dim: int, log_std_init: float = 0.0) -> tuple[nn.Module, nn.Parameter]:
        """A linear layer to the parameters of all parts, and log standard deviations (n_parts * plain values,)."""
        layout = self.layout
        log_std = torch.full((layout.n_parts * len(layout.plain),), log_std_init)
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


class HybridActorCriticPolicy(ActorCriticPolicy):
    """SB3 policy for hybrid actions with a fixed number of parts: ``PPO(HybridActorCriticPolicy, env)``.

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
        is_dict = isinstance(observation_space, spaces.Dict)
        kwargs.setdefault("features_extractor_class", CombinedExtractor if is_dict else FlattenExtractor)
        kwargs["squash_output"] = False
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        # Values live in [-1, 1]; a plain Box may have other bounds, then SB3 rescales on the way to the world.
        self._squash_output = not self.layout.nvec

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
