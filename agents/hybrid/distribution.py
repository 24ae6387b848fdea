"""The joint distribution of a hybrid action: choices, squashed Gaussians and angles of all real parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Distribution as TorchDistribution
from torch.distributions.kl import register_kl

from agents.hybrid.circular import SharedAngles, angle_entropy, angle_kl, angle_log_prob, angle_mode, sample_angle
from agents.hybrid.correlated import SharedNoise
from agents.hybrid.segments import segment_sum
from agents.hybrid.squashed import (
    entropy_of_tanh_normal,
    log_jacobian,
    log_prob_of_tanh_normal,
    mean_log_jacobian,
    normal_kl,
    unsquash,
)

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
        vectors: (M, number of angles, 2), where the angles want to point (:mod:`agents.hybrid.circular`).
        noise: correlated noise of the plain values, which then takes the place of ``log_std``.
        shared_angles: correlated angles, which then take the place of ``vectors``.
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
        noise: SharedNoise | None = None,
        shared_angles: SharedAngles | None = None,
    ):
        if allowed is not None:
            if not all(bool(choice.any(dim=-1).all()) for choice in torch.split(allowed, list(layout.nvec), dim=-1)):
                raise ValueError("action_mask forbids every option of a choice; each choice needs an allowed one")
            logits = logits.masked_fill(~allowed, FORBIDDEN_LOGIT)
        self.layout, self.parts, self.mean_before_squash = layout, parts, mean
        self.vectors = mean.new_zeros(len(mean), 0, 2) if vectors is None else vectors
        self.noise, self.shared_angles = noise, shared_angles
        self.log_std = (log_std.clamp(*LOG_STD_RANGE) if noise is None else noise.log_std).expand_as(mean)
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
            if self.noise is None:
                noise = self.log_std.exp() * torch.randn_like(self.mean_before_squash)
            else:
                noise = self.noise.sample()
            plain = torch.tanh(self.mean_before_squash + noise)
            if not self.layout.angles:
                return self._flatten(choices, plain, None)
            angles = sample_angle(self.vectors) if self.shared_angles is None else self.shared_angles.sample()
            return self._flatten(choices, plain, angles)

    @property
    def mode(self) -> Tensor:
        """Most likely choices, and values at the squashed mean; flat (B, n_parts * part_size)."""
        choices = [log_probs.argmax(dim=-1, keepdim=True) for log_probs in self.log_probs]
        if not self.layout.angles:
            return self._flatten(choices, torch.tanh(self.mean_before_squash), None)
        angles = angle_mode(self.vectors) if self.shared_angles is None else self.shared_angles.mode()
        return self._flatten(choices, torch.tanh(self.mean_before_squash), angles)

    def log_prob(self, value: Tensor) -> Tensor:
        """Joint log-density (B,) of flat actions, over real parts only."""
        rows = self._rows(value)
        total = self.sum_parts(self._log_prob_alone(rows))
        if self.noise is not None:
            total = total + self.noise.log_prob(unsquash(self._plain(rows)) - self.mean_before_squash)
        if self.shared_angles is not None:
            total = total + self.shared_angles.log_prob(self._angles(rows))
        return total

    def log_prob_of_parts(self, value: Tensor) -> Tensor:
        """Log-density (M,) of each real part of flat actions; where nothing is shared, parts are independent."""
        if self.noise is not None or self.shared_angles is not None:
            raise ValueError("with shared noise the parts of an action have no densities of their own")
        return self._log_prob_alone(self._rows(value))

    def _log_prob_alone(self, rows: Tensor) -> Tensor:
        """Log-density (M,) of all in each part that is independent of the other parts."""
        total = torch.zeros_like(rows[:, 0])
        for j, log_probs in enumerate(self.log_probs):
            total = total + log_probs.gather(1, rows[:, j : j + 1].round().long()).squeeze(1)
        if self.layout.plain and self.noise is None:
            terms = log_prob_of_tanh_normal(self._plain(rows), self.mean_before_squash, self.log_std)
            total = total + terms.sum(dim=1)
        elif self.layout.plain:
            total = total - log_jacobian(unsquash(self._plain(rows))).sum(dim=1)
        if self.layout.angles and self.shared_angles is None:
            total = total + angle_log_prob(self._angles(rows), self.vectors).sum(dim=1)
        return total

    def _rows(self, value: Tensor) -> Tensor:
        """The real parts of flat actions, (M, part_size)."""
        value = value.reshape(-1, self.layout.n_parts, self.layout.part_size)
        return value.flatten(0, 1) if self.parts is None else value[self.parts.graph, self.parts.slot]

    def _plain(self, rows: Tensor) -> Tensor:
        return rows[:, len(self.layout.nvec) :][:, self.layout.plain]

    def _angles(self, rows: Tensor) -> Tensor:
        return rows[:, len(self.layout.nvec) :][:, self.layout.angles]

    def entropy(self) -> Tensor:
        """Joint entropy (B,) in nats: exact for choices, by quadrature for squashed values."""
        alone = torch.zeros(len(self.mean_before_squash), device=self.mean_before_squash.device)
        for log_probs in self.log_probs:
            alone = alone - (log_probs.exp() * log_probs).sum(dim=1)
        if self.layout.plain and self.noise is None:
            alone = alone + entropy_of_tanh_normal(self.mean_before_squash, self.log_std).sum(dim=1)
        elif self.layout.plain:
            alone = alone + mean_log_jacobian(self.mean_before_squash, self.log_std).sum(dim=1)
        if self.layout.angles and self.shared_angles is None:
            alone = alone + angle_entropy(self.vectors).sum(dim=1)
        total = self.sum_parts(alone)
        if self.noise is not None:
            total = total + self.noise.entropy()
        if self.shared_angles is not None:
            total = total + self.shared_angles.entropy()
        return total

    def sum_parts(self, per_part: Tensor) -> Tensor:
        """Add up (M,) over the parts of each sample: (B,)."""
        if self.parts is None:
            return per_part.view(-1, self.layout.n_parts).sum(dim=1)
        return segment_sum(per_part, self.parts.counts, self.parts.graph)

    def _flatten(self, choices: list[Tensor], plain: Tensor, angles: Tensor | None) -> Tensor:
        values = plain
        if angles is not None:
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
    """KL(p || q) per sample (B,), or an upper bound where angles are shared.

    Squashing is one-to-one, so the Gaussians are compared before it.
    """
    alone = torch.zeros(len(p.mean_before_squash), device=p.mean_before_squash.device)
    for p_log, q_log in zip(p.log_probs, q.log_probs, strict=True):
        alone = alone + (p_log.exp() * (p_log - q_log)).sum(dim=1)
    if p.layout.plain and p.noise is None:
        alone = alone + normal_kl(p.mean_before_squash, p.log_std, q.mean_before_squash, q.log_std).sum(dim=1)
    if p.layout.angles and p.shared_angles is None:
        alone = alone + angle_kl(p.vectors, q.vectors).sum(dim=1)
    total = p.sum_parts(alone)
    if p.noise is not None and q.noise is not None:
        total = total + p.noise.kl(q.noise, p.mean_before_squash - q.mean_before_squash)
    if p.shared_angles is not None and q.shared_angles is not None:
        total = total + p.shared_angles.kl(q.shared_angles)
    return total
