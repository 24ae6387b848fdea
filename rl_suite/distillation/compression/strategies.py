"""Compress what an in-context agent remembers: which k of n transitions stay?

A strategy gives every token a score; the k best stay, in their order. The same strategies work on tensors of one
history (:func:`compress_history`) and on the memory of an acting agent (:class:`MemoryCompressor`). Attention is a
hint, not a verdict: ``python -m rl_suite.benchmarks compression`` measures what a strategy costs in return.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from reprlib import repr as brief

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.in_context.agent import SlotNotes

SINKS = 4  # first tokens kept by "sinks"; Xiao et al. 2023 (StreamingLLM, arXiv:2309.17453)
SMOOTHING = 5  # tokens pooled by "snapkv"; an odd kernel, as in Li et al. 2024 (SnapKV, arXiv:2404.14469)
THRESHOLD = 0.1  # attention that "threshold" counts as high, from the visualisation guide
HALF_LIFE = 0.25  # "decay" halves the chance to stay over this fraction of the history
LLOYD_ROUNDS = 4  # of k-means
FIRST = 1e6  # a score that no attention, index or distance reaches

UNIFORM_ENTROPY = 0.9  # of the maximum: above, "auto" finds attention spread
RECENCY_RATIO = 2.0  # recent over distant quarter, from the visualisation guide
COVERED = 0.9  # of the mass, that "auto" wants to keep


@dataclass(frozen=True)
class Candidates:
    """The tokens among which to choose, B histories of n tokens each, oldest first."""

    last: Tensor  # (B, n) attention of the last query
    mass: Tensor  # (B, n) attention received in total
    recent: Tensor  # (B, n) attention of the last few queries, averaged
    reward: Tensor  # (B, n)
    features: Tensor  # (B, n, D) what distances between tokens are measured in
    sizes: Tensor  # (B, n) tokens that were merged into each
    generator: torch.Generator

    @property
    def age(self) -> Tensor:
        """(n,) 0 for the newest token."""
        n = self.last.shape[1]
        return torch.arange(n - 1, -1, -1, device=self.last.device)

    @property
    def freshness(self) -> Tensor:
        """(B, n) between 0 (oldest) and 1 (newest): decides where nothing else does."""
        n = self.last.shape[1]
        return (1.0 - self.age / max(1, n - 1)).expand_as(self.last)


Strategy = Callable[[Candidates, int], Tensor]
"""Scores (B, n) of the candidates when k may stay."""


def recent(c: Candidates, k: int) -> Tensor:
    """The last k."""
    return c.freshness


def top_attention(c: Candidates, k: int) -> Tensor:
    """The k to which the last query attended most (TOVA; Oren et al. 2024, arXiv:2401.06104)."""
    return c.last


def landmark(c: Candidates, k: int) -> Tensor:
    """The newest token (the query) and the k - 1 with most attention."""
    return c.last + FIRST * (c.age == 0)


def uniform(c: Candidates, k: int) -> Tensor:
    """Evenly spaced over the history, ends included."""
    n = c.last.shape[1]
    chosen = torch.linspace(0, n - 1, k, device=c.last.device).round().long()
    scores = torch.zeros_like(c.last)
    scores[:, chosen] = 1.0
    return scores


def threshold(c: Candidates, k: int) -> Tensor:
    """All above the threshold, strongest first; the newest of the others fill up."""
    return torch.where(c.last > THRESHOLD, FIRST + c.last, c.freshness)


def diverse(c: Candidates, k: int) -> Tensor:
    """k-means over the tokens' features, each cluster represented by its member nearest to the centre."""
    n = c.last.shape[1]
    start = torch.linspace(0, n - 1, k, device=c.last.device).round().long()
    centres = c.features[:, start]  # (B, k, D)
    for _ in range(LLOYD_ROUNDS):
        member = F.one_hot(torch.cdist(c.features, centres).argmin(-1), k).to(c.features.dtype)  # (B, n, k)
        sizes = member.sum(1)[..., None]
        means = member.transpose(1, 2) @ c.features / sizes.clamp(min=1)
        centres = torch.where(sizes > 0, means, centres)
    distance = torch.cdist(c.features, centres)  # (B, n, k)
    own = distance == distance.min(-1, keepdim=True).values
    nearest = distance.masked_fill(~own, torch.inf).min(1)  # (B, k), infinite for an empty cluster
    represents = torch.isfinite(nearest.values) * FIRST
    return c.freshness.scatter_add(1, nearest.indices, represents)


def decay(c: Candidates, k: int) -> Tensor:
    """Drawn without replacement, with a chance that halves over every quarter of the history."""
    log_weight = -math.log(2) * c.age / (HALF_LIFE * c.last.shape[1])
    noise = torch.rand(c.last.shape, generator=c.generator, device=c.last.device).clamp(1e-10, 1 - 1e-7)
    return log_weight - torch.log(-torch.log(noise))  # Gumbel top-k is sampling without replacement


def sinks(c: Candidates, k: int) -> Tensor:
    """The first few tokens, where attention likes to rest, and the newest (StreamingLLM)."""
    n = c.last.shape[1]
    return c.freshness + FIRST * (c.age >= n - min(SINKS, k // 2))


def heavy_hitters(c: Candidates, k: int) -> Tensor:
    """Half the newest, half those that received most attention so far (H2O; Zhang et al. 2023, arXiv:2306.14048)."""
    return c.mass + FIRST * (c.age < k // 2)


def snapkv(c: Candidates, k: int) -> Tensor:
    """Attention of the last few queries, pooled over neighbours, beside a few newest tokens (SnapKV)."""
    pooled = F.avg_pool1d(c.recent[:, None], SMOOTHING, stride=1, padding=SMOOTHING // 2)[:, 0]
    return pooled + FIRST * (c.age < max(1, k // 4))


def rewarded(c: Candidates, k: int) -> Tensor:
    """Tokens that came with a reward, the newest of them first; then the newest."""
    return c.freshness + (c.reward != 0)


def merged(c: Candidates, k: int) -> Tensor:
    """All but those that are most like a newer one; in a memory they are merged into what is most like them."""
    n = c.last.shape[1]
    together = c.sizes[:, :, None] * c.sizes[:, None] / (c.sizes[:, :, None] + c.sizes[:, None])
    cost = together * distances(c.features, c.features) ** 2  # of replacing two by their mean (Ward 1963)
    newer = torch.ones(n, n, device=c.last.device).triu(1).bool()
    return cost.masked_fill(~newer, torch.inf).min(2).values.clamp(max=FIRST)


def random(c: Candidates, k: int) -> Tensor:
    """Any k: what a strategy must beat."""
    return torch.rand(c.last.shape, generator=c.generator, device=c.last.device)


def auto(c: Candidates, k: int) -> Tensor:
    """What the pattern of the attention suggests, one choice for all histories of the batch."""
    return STRATEGIES[choose_strategy(c.last.mean(0), k)](c, k)


STRATEGIES: dict[str, Strategy] = {
    "recent": recent,
    "sinks": sinks,
    "uniform": uniform,
    "decay": decay,
    "top_attention": top_attention,
    "landmark": landmark,
    "threshold": threshold,
    "heavy_hitters": heavy_hitters,
    "snapkv": snapkv,
    "diverse": diverse,
    "rewarded": rewarded,
    "merged": merged,
    "random": random,
    "auto": auto,
}


def choose_strategy(attention: Tensor, k: int) -> str:
    """The strategy that attention (n,) over a history suggests, of which k steps may stay.

    The visualisation guide's rule: spread attention asks for coverage, a recent bias for recency, few strong tokens for
    those. Where the rule says nothing, like tokens are merged, which cost least where it was measured
    (docs/distillation.md). The rule itself is no result: on bandits its coverage costs more than recency.

    >>> choose_strategy(torch.ones(16), 4)
    'uniform'
    >>> choose_strategy(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3, 0.4]), 2)
    'recent'
    >>> choose_strategy(torch.tensor([0.1, 9.0, 0.1, 0.1, 0.1, 9.0, 0.1, 0.1]), 2)
    'top_attention'
    >>> choose_strategy(torch.tensor([30.0, 2.0, 25.0, 2.0, 20.0, 2.0, 17.0, 2.0]), 2)
    'merged'
    """
    n = len(attention)
    p = attention / attention.sum().clamp(min=1e-12)
    entropy = float(-(p * torch.log(p.clamp(min=1e-12))).sum())
    if n < 2 or float(attention.sum()) <= 0 or entropy / math.log(n) > UNIFORM_ENTROPY:
        return "uniform"
    quarter = max(1, n // 4)
    if float(p[-k:].sum()) >= COVERED or (
        float(p[-quarter:].sum()) > RECENCY_RATIO * float(p[:quarter].sum()) and entropy / math.log(n) > 0.5
    ):
        return "recent"
    return "top_attention" if float(p.topk(min(k, n)).values.sum()) >= COVERED else "merged"


def select(strategy: str, k: int, candidates: Candidates) -> Tensor:
    """Indices (B, k) of the tokens that stay, ascending."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {brief(strategy)}")
    n = candidates.last.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"k={k} must lie between 1 and the length of the history ({n})")
    return STRATEGIES[strategy](candidates, k).topk(k, dim=1).indices.sort(dim=1).values


def compress_history(
    states: Tensor,
    actions: Tensor,
    rewards: Tensor,
    next_states: Tensor,
    attention_weights: Tensor,
    k: int = 10,
    strategy: str = "auto",
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Keep k steps of one history of n steps, in their order.

    Args:
        states, actions, rewards, next_states: tensors whose first axis is the step (n, ...).
        attention_weights: attention to each step, (n,), or (..., n) to be averaged over heads and layers.
        k: number of steps to keep.
        strategy: a name in ``STRATEGIES``; "auto" chooses from the attention's pattern.
        seed: of the strategies that draw.

    Returns:
        The four tensors, k steps each.

    Raises:
        ValueError: k is not within the history, lengths differ, or the attention is not finite.

    >>> steps = torch.arange(6)
    >>> attention = torch.tensor([0.0, 0.7, 0.0, 0.0, 0.3, 0.0])
    >>> compress_history(steps, steps, steps, steps, attention, k=2, strategy="top_attention")[0].tolist()
    [1, 4]
    """
    if attention_weights.ndim == 0 or attention_weights.numel() == 0:
        raise ValueError(f"attention_weights must be (..., n) with n of at least 1: {tuple(attention_weights.shape)}")
    given = {"states": states, "actions": actions, "rewards": rewards, "next_states": next_states}
    scalar = next((name for name, part in given.items() if part.ndim == 0), None)
    if scalar is not None:
        raise ValueError(f"{scalar} must have a first axis, the step, and not be a single number")
    n = len(states)
    attention = attention_weights.float().reshape(-1, attention_weights.shape[-1]).mean(0)
    if n == 0 or {len(actions), len(rewards), len(next_states), len(attention)} != {n}:
        lengths = f"{n}, {len(actions)}, {len(rewards)}, {len(next_states)}, {len(attention)}"
        raise ValueError(f"states, actions, rewards, next_states and attention must have one length, not {lengths}")
    if not bool(torch.isfinite(attention).all()):
        raise ValueError("attention_weights hold NaN or infinity: nothing can be ranked by them")
    one = attention[None]
    reward = rewards.float().reshape(n, -1).sum(1)[None].to(one.device)
    parts = [part.float().reshape(n, -1).to(one.device) for part in (states, actions, rewards, next_states)]
    generator = torch.Generator(one.device).manual_seed(seed)
    features = torch.cat(parts, dim=1)[None]
    candidates = Candidates(one, one, one, reward, features, torch.ones_like(one), generator)
    chosen = select(strategy, k, candidates)[0]
    return states[chosen], actions[chosen], rewards[chosen], next_states[chosen]


class MemoryCompressor:
    """Compresses the memory of an :class:`~agents.in_context.agent.InContextAgent` whenever it is full.

    The memory then shrinks to ``kept`` of its window, and grows again with the next steps.

    Args:
        strategy: a name in ``STRATEGIES``.
        kept: tokens that stay, at least 1 and fewer than the window.
        seed: of the strategies that draw.
    """

    def __init__(self, strategy: str, kept: int, seed: int = 0):
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, not {brief(strategy)}")
        if kept < 1:
            raise ValueError(f"at least one token must stay, not {kept}")
        self.strategy, self.kept, self.seed = strategy, kept, seed
        self._generator: torch.Generator | None = None

    def __call__(self, notes: SlotNotes, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Slots to keep, (n, kept), in the environments ``rows`` (n,); with "merged", where the others go, (n, W)."""
        order = notes.index[rows].argsort(dim=1)  # (n, W) slots, oldest first: a ring has no first slot
        if self._generator is None:
            self._generator = torch.Generator(order.device).manual_seed(self.seed)

        def ordered(values: Tensor) -> Tensor:
            return torch.gather(values[rows], 1, order)

        wide = order[..., None].expand(-1, -1, notes.token.shape[2])
        candidates = Candidates(
            last=ordered(notes.last),
            mass=ordered(notes.mass),
            recent=ordered(notes.attention.mean(0)),
            reward=ordered(notes.reward),
            features=torch.gather(notes.token[rows], 1, wide),
            sizes=ordered(notes.sizes),
            generator=self._generator,
        )
        strategy = self.strategy
        if strategy == "auto":
            strategy = choose_strategy(candidates.last.mean(0), self.kept)
        chosen = select(strategy, self.kept, candidates)
        slots = torch.gather(order, 1, chosen)
        if strategy != "merged":
            return slots, None
        nearest = nearest_kept(candidates.features, chosen)
        return slots, torch.empty_like(order).scatter_(1, order, nearest)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, n, m) Euclidean, 0 between equal vectors (products of matrices, which torch prefers, leave a rest)."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def nearest_kept(features: Tensor, chosen: Tensor) -> Tensor:
    """(B, n) the place among the ``chosen`` (B, k) to which each token (B, n, D) is nearest; their own for those."""
    wide = chosen[..., None].expand(-1, -1, features.shape[2])
    nearest = distances(features, torch.gather(features, 1, wide)).argmin(2)
    own = torch.arange(chosen.shape[1], device=chosen.device).expand_as(chosen)
    return nearest.scatter(1, chosen, own)
