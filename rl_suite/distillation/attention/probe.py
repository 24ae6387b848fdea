"""What the heads look at while they are trained: a few numbers per validation, tagged ``attention/``."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.in_context.model import InContextModel, Steps
from rl_suite.distillation.attention.statistics import HeadStatistics, head_statistics

PER_HEAD = ("entropy", "rewarded")  # written head by head; the others as a mean over layers and heads
AVERAGED = ("recency", "effective", "sink", "recent", "same_state")


@torch.no_grad()
def query_attention(model: InContextModel, steps: Steps, rows: Tensor) -> NDArray[np.float64]:
    """Attention (layers, B, H, rows, T) of the steps ``rows`` of sequences (B, T); the last row is to be T - 1."""
    _, captured = model(steps, capture="rows", rows=rows)
    weights: NDArray[np.float64] = torch.stack(captured).double().cpu().numpy()
    if model.layout == "history":
        return weights
    # Keys are T transitions, then T questions: keep the earlier transitions, and its own question as the query.
    length = steps.action.shape[1]
    own = np.take_along_axis(weights, (length + rows.cpu().numpy())[None, None, None, :, None], axis=4)
    return np.concatenate([weights[..., : length - 1], own], axis=4)


def attention_values(model: InContextModel, steps: Steps) -> dict[str, float]:
    """How the last step of every sequence (B, T) looks back, averaged over the sequences.

    ``attention/entropy/...`` (a share of its maximum) and ``attention/rewarded/...`` (mass on steps that came with a
    reward) per head, the other statistics of ``HeadStatistics`` as one mean each.
    """
    model.eval()
    last = torch.tensor([steps.action.shape[1] - 1])
    weights = query_attention(model, steps, last)[:, :, :, 0]  # (layers, B, H, T)
    rewarded = (steps.reward[:, :-1] != 0).cpu().numpy()
    same = (steps.observation[:, :-1] == steps.observation[:, -1:]).all(-1).cpu().numpy()
    layers = [[head_statistics(row, *masks) for row, *masks in zip(layer, rewarded, same, strict=True)]
              for layer in weights]  # fmt: skip
    values = {"attention/rewarded_steps": float(rewarded.mean())}
    for name in PER_HEAD:
        for layer, heads in enumerate(_means(layers, name)):
            values |= {f"attention/{name}/layer{layer}_head{head}": float(v) for head, v in enumerate(heads)}
    return values | {f"attention/{name}": float(_means(layers, name).mean()) for name in AVERAGED}


def _means(layers: list[list[HeadStatistics]], name: str) -> NDArray[np.float64]:
    """(layers, H), over the sequences."""
    return np.array([np.mean([getattr(sequence, name) for sequence in layer], axis=0) for layer in layers])
