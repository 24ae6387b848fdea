"""What attention looks like in numbers: the four classic statistics, and size-free ones that can be compared.

Entropy in nats grows with the number of tokens (log 239 = 5.48; all mass on 8 tokens is already 2.08), and averaging
heads before measuring hides what each does. The size-free statistics are therefore taken per head, over the
renormalised attention to the context (all tokens but the query itself).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl_suite.distillation.compression.strategies import choose_strategy

Floats = NDArray[np.float64]

SMALL = 1e-10
QUARTER = 4  # "recent" and "distant" are the last and first quarter of the context
RECENCY_BIAS, SPREAD = 2.0, 1.2  # of the recent/distant ratio; from the visualisation guide
UNIFORM, FOCUSED = 2.0, 1.5  # of the entropy in nats; from the visualisation guide
MASS = 0.9  # "effective tokens" hold this much of it
SINKS = 4  # first tokens that may serve as a resting place of attention


@dataclass(frozen=True)
class ClassicStatistics:
    """The four statistics of one attention row (averaged over heads, the query itself left out, not renormalised)."""

    mean: float
    concentration: float
    """Standard deviation over the context."""
    entropy: float
    """In nats."""
    recency: float
    """Mean of the last quarter over mean of the first."""


def classic_statistics(row: Floats) -> ClassicStatistics:
    """The four statistics of attention (n + 1,) whose last entry is the query's own.

    >>> flat = classic_statistics(np.full(9, 1 / 9))
    >>> round(flat.mean, 4), flat.concentration, round(flat.entropy, 4), round(flat.recency, 4)
    (0.1111, 0.0, 1.9531, 1.0)
    """
    p = _context(row)
    quarter = max(1, len(p) // QUARTER)
    return ClassicStatistics(
        mean=float(p.mean()),
        concentration=float(p.std()),
        entropy=float(-(p * np.log(p + SMALL)).sum()),
        recency=float(p[-quarter:].mean() / (p[:quarter].mean() + SMALL)),
    )


@dataclass(frozen=True)
class HeadStatistics:
    """Size-free statistics, one number per head (H,)."""

    entropy: Floats
    """Entropy over its maximum, 0 to 1."""
    recency: Floats
    """Logarithm of the recent quarter's mass over the distant one's; 0 = no bias, +-1 = a factor e."""
    effective: Floats
    """Tokens that hold 90 % of the mass."""
    sink: Floats
    """Mass on the first four tokens."""
    recent: Floats
    """Mass on the recent quarter."""
    rewarded: Floats
    """Mass on tokens that came with a reward."""
    same_state: Floats
    """Mass on tokens with the observation of the query."""
    own: Floats
    """Attention of the query to itself, before renormalising."""


def head_statistics(rows: Floats, rewarded: NDArray[np.bool_], same_state: NDArray[np.bool_]) -> HeadStatistics:
    """Statistics of attention (H, n + 1) of one query; the masks (n,) belong to the context.

    Raises:
        ValueError: a row is not finite, or there is no context.
    """
    context = _context(rows)
    n = context.shape[1]
    p = context / np.maximum(context.sum(1, keepdims=True), SMALL)
    quarter = max(1, n // QUARTER)
    recent, distant = p[:, -quarter:].sum(1), p[:, :quarter].sum(1)
    ordered = np.sort(p, axis=1)[:, ::-1].cumsum(1)
    return HeadStatistics(
        entropy=-(p * np.log(p + SMALL)).sum(1) / math.log(n) if n > 1 else np.zeros(len(p)),
        recency=np.log((recent + SMALL) / (distant + SMALL)),
        effective=np.minimum((ordered < MASS - SMALL).sum(1) + 1.0, n),
        sink=p[:, :SINKS].sum(1),
        recent=recent,
        rewarded=p[:, rewarded].sum(1),
        same_state=p[:, same_state].sum(1),
        own=rows[:, -1],
    )


def without_sinks(rows: Floats) -> Floats:
    """Attention rows (..., n + 1) without the first tokens, with the sum that they had."""
    kept = rows[..., min(SINKS, rows.shape[-1] - 2) :]
    total: Floats = kept / np.maximum(kept.sum(-1, keepdims=True), SMALL) * rows.sum(-1, keepdims=True)
    return total


def verdict(statistics: list[ClassicStatistics], heads: list[HeadStatistics], n: int) -> list[str]:
    """What the classic thresholds say, and where that contradicts itself or the size-free statistics.

    Args:
        statistics: of several samples.
        heads: of the same samples.
        n: tokens of the context.
    """
    ratio = float(np.median([s.recency for s in statistics]))
    entropy = float(np.mean([s.entropy for s in statistics]))
    normalised = float(np.mean([h.entropy for h in heads]))
    lines = []
    if ratio > RECENCY_BIAS:
        lines.append("Strong recency bias detected! Consider compressing or removing distant history.")
    elif ratio < 1 / RECENCY_BIAS:
        lines.append("Strong bias to the distant history: what came first is what is looked up; keep it.")
    elif ratio < SPREAD:
        lines.append("Attention is spread over the whole history: keep samples of all of it.")
    if entropy > UNIFORM:
        lines.append(f"Entropy {entropy:.2f} > 2 reads as uniform attention: be careful with aggressive compression.")
    elif entropy < FOCUSED:
        lines.append(f"Entropy {entropy:.2f} < 1.5 reads as focused attention: good for compression.")
    if entropy > UNIFORM and (normalised < 0.7 or ratio > RECENCY_BIAS):
        tokens = float(np.mean([h.effective for h in heads]))
        lines.append(
            f"CONTRADICTION: over {n} tokens uniform attention has entropy {math.log(n):.2f}; single heads reach "
            f"{normalised:.0%} of it and hold {MASS:.0%} of their mass on {tokens:.0f} tokens. Trust the benchmark."
        )
    return lines


def auto_choice(rows: list[Floats], k: int) -> str:
    """What the strategy ``auto`` makes of the average attention (H, n + 1) of several samples."""
    import torch

    mean = np.mean([_context(row).mean(0) for row in rows], axis=0)
    return choose_strategy(torch.from_numpy(mean), min(k, len(mean)))


def _context(rows: Floats) -> Floats:
    """All tokens but the query."""
    if rows.shape[-1] < 2:
        raise ValueError("attention of a single token has no context: let the agent act for at least two steps")
    if not np.isfinite(rows).all():
        raise ValueError("attention holds NaN or infinity: the checkpoint is broken, or a row was masked completely")
    return rows[..., :-1]
