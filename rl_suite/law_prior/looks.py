"""Where a prior looks while it writes a law: a map of its attention, and what it comes to for every symbol."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from agents.meta.expression_encoder import FormPolicy
from envs.symbolic.form_programs import ARITY, FIRST_VARIABLE
from envs.symbolic.law_forms import encode
from envs.symbolic.tokens import PAD
from rl_suite.meta_rl.protocol import Trial, adapted_policy
from rl_suite.symbolic.prior import SYMBOLS, context_of, prefix_of, repeated, table_batch
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float64]
DRAWN = ("sqrt", "sin", "exp")  # symbols of which one law each is drawn
LEAST_COUNT = 5  # uses of a symbol below which nothing is said of it


@dataclass(frozen=True)
class Writing:
    """A law as a prior is taught to write it, and where it looks at each token; means over heads."""

    names: tuple[str, ...]  # (L,) what is written
    columns: tuple[str, ...]  # (V,) the table's, most influential first
    below: NDArray[np.bool_]  # (L, V) columns that stand under a token
    at_table: Values  # (layers, L, 1 + V) the first key is the table as a whole
    at_tokens: Values  # (layers, L, L) key j is the token before token j


def writing_of(policy: FormPolicy, trial: Trial) -> Writing:
    """Where a policy looks while it writes the true form of a law."""
    context = context_of(trial.X, trial.y)
    order, width = context.order[0], int(context.width[0])
    program = np.asarray(encode(trial.form), np.int16)[None]
    places, prefix, _ = prefix_of(program, order, width)
    with torch.no_grad():
        tokens, columns = policy.attention(repeated(table_batch(context), 1), prefix)
    written = places[0][places[0] != PAD]
    names = tuple(SYMBOLS[t] if t < FIRST_VARIABLE else f"x{order[t - FIRST_VARIABLE]}" for t in written)
    of_column = tuple(f"x{column}" for column in order[:width])
    at_table, at_tokens = (part[:, 0].mean(1).double().numpy() for part in (columns, tokens))
    return Writing(names, of_column, _below(written, width), at_table, at_tokens)


def writings_of(policy: FormPolicy, trials: Sequence[Trial]) -> list[tuple[Trial, Writing]]:
    """The laws that are not too long to be written, each with where the policy looks."""
    return [(t, writing_of(policy, t)) for t in trials if len(encode(t.form)) <= policy.max_length]


def _below(program: NDArray[np.int16], width: int) -> NDArray[np.bool_]:
    """(L, V) which columns the subtree of each token of a prefix program holds."""
    found = np.zeros((len(program), width), np.bool_)
    ends = np.zeros(len(program), np.int64)
    for i in range(len(program) - 1, -1, -1):
        end = i + 1
        if program[i] >= FIRST_VARIABLE:
            found[i, program[i] - FIRST_VARIABLE] = True
        else:
            for _ in range(ARITY[program[i]]):
                found[i] |= found[end]
                end = int(ends[end])
        ends[i] = end
    return found


def looked_at(writings: Sequence[Writing]) -> dict[str, dict[str, float]]:
    """For every symbol: its uses, and the mean share of the attention in the last layer.

    ``table``: on the table as a whole; ``column_below``: on a column that comes to stand under the symbol;
    ``column_elsewhere``: on one that does not, in the same steps. Steps at which all columns stand under the symbol,
    or none, say nothing about the last two and are left out of them.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for writing in writings:
        for name, below, weights in zip(writing.names, writing.below, writing.at_table[-1], strict=True):
            if name in SYMBOLS:
                some = below.any() and not below.all()
                under = weights[1:][below].mean() if some else np.nan
                other = weights[1:][~below].mean() if some else np.nan
                rows.setdefault(name, []).append((float(weights[0]), float(under), float(other)))
    found = {}
    for name, shares in sorted(rows.items()):
        if len(shares) < LEAST_COUNT:
            continue
        table, under, other = np.array(shares).T
        told = {"uses": float(len(shares)), "table": float(table.mean())}
        if np.isfinite(under).any():
            told |= {"column_below": float(np.nanmean(under)), "column_elsewhere": float(np.nanmean(other))}
        found[name] = told
    return found


def draw_looks(policy: FormPolicy, trials: Sequence[Trial], steps: int, seed: int, path: Path) -> None:
    """Maps of one law for each of some symbols, before and after ``steps`` adaptation steps on it."""
    from matplotlib.figure import Figure

    writings = writings_of(policy, trials)
    first = {s: next((trial for trial, w in writings if s in w.names), None) for s in DRAWN}
    chosen = list(dict.fromkeys(trial.name for trial in first.values() if trial is not None))
    if not chosen:
        return
    by_name = {trial.name: trial for trial in trials}
    figure = Figure(figsize=(11, 0.9 + 3.6 * len(chosen)), layout="constrained")
    cells = figure.subplots(len(chosen), 2, squeeze=False)
    for row, name in zip(cells, chosen, strict=True):
        trial = by_name[name]
        after = adapted_policy(policy, trial, steps, seed) if steps else policy
        for axes, (net, when) in zip(
            row, ((policy, "before"), (after, f"after {steps} adaptation steps")), strict=True
        ):
            _draw(axes, writing_of(net, trial), f"{trial.name}, {when}")
    save_figure(figure, path, dpi=100)


def _draw(axes: "Axes", writing: Writing, title: str) -> None:
    shown = np.concatenate([writing.at_table[-1], writing.at_tokens[-1]], axis=1)
    axes.imshow(shown, aspect="auto", cmap="viridis", vmin=0.0, vmax=1.0)
    keys = ["table", *writing.columns, "begin", *writing.names[:-1]]
    axes.set_xticks(range(len(keys)), keys, rotation=90, fontsize=7)
    axes.set_yticks(range(len(writing.names)), [f"writes {name}" for name in writing.names], fontsize=7)
    axes.axvline(len(writing.columns) + 0.5, color="white", linewidth=1.5)
    axes.set_title(f"{title}\nleft of the line: table and columns; right: tokens so far", fontsize=8)
