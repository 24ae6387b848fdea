"""Where the policy looks, followed through training, and drawn."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agents.meta_policy import attention_entropy
from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_STEPS = 60  # rows of a heatmap


class AttentionAnalyzer:
    """Statistics of the attention in each task at each outer step, and heatmaps now and then.

    Args:
        folder: where heatmaps go, as ``attention_{task}_{iteration}.png``; None: nowhere.
        interval: outer steps between heatmaps.
    """

    MEASURES = ("iteration", "entropy", "max", "argmax_consistency")

    def __init__(self, folder: Path | None, interval: int):
        self.folder, self.interval = folder, interval
        self.history: dict[str, dict[str, list[float]]] = {}

    def record(self, task: str, iteration: int, weights: Tensor) -> dict[str, float]:
        """Note the attention (R, heads, keys) of the steps of one task; returns what was noted.

        ``entropy`` in nats and ``max`` are means over steps and heads; ``argmax_consistency`` is the share of steps
        whose most attended key is the one that most steps attend to most.
        """
        weights = weights.detach()
        favourite = weights.mean(1).argmax(1)
        noted = {
            "iteration": float(iteration),
            "entropy": float(attention_entropy(weights).mean()),
            "max": float(weights.amax(2).mean()),
            "argmax_consistency": float(torch.bincount(favourite).max() / len(favourite)),
        }
        history = self.history.setdefault(task, {name: [] for name in self.MEASURES})
        for name, value in noted.items():
            history[name].append(value)
        return noted

    def analyze_attention_evolution(self, task: str) -> dict[str, list[float]]:
        """``iteration``, ``entropy``, ``max`` and ``argmax_consistency`` of a task, in the order of training.

        A task may be named by how its name begins, such as "harmonic_oscillator".

        Raises:
            UserError: no such task has been met, or several begin like this.
        """
        if not self.history:
            raise UserError("no attention has been recorded yet; train first")
        similar = [name for name in self.history if name.startswith(task)]
        if task not in self.history and len(similar) == 1:
            task = similar[0]
        if task not in self.history and similar:
            raise UserError(f"several tasks begin with {task!r}: {', '.join(similar[:5])}")
        require_known(task, self.history, "task")
        return {name: list(values) for name, values in self.history[task].items()}

    def draw(self, task: str, iteration: int, weights: Tensor) -> Path | None:
        """Save the attention (T, heads, keys) along one episode as a heatmap; None where there is no folder."""
        if self.folder is None:
            return None
        path = self.folder / f"attention_{re.sub(r'[^A-Za-z0-9_.-]', '_', task)}_{iteration}.png"
        draw_attention(weights, f"{task}, iteration {iteration}", path)
        return path

    def state_dict(self) -> dict[str, Any]:
        """The history."""
        return {task: {name: list(values) for name, values in kept.items()} for task, kept in self.history.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.history = {
            str(task): {name: [float(value) for value in kept[name]] for name in self.MEASURES}
            for task, kept in state.items()
        }


def draw_attention(weights: Tensor, title: str, path: Path) -> None:
    """Steps of an episode down, keys across, mean over heads, of weights (T, heads, keys)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_size(weights), layout="constrained")
    _heatmap(figure, figure.subplots(), weights, title)
    save_figure(figure, path, dpi=110)


def draw_before_and_after(found: Mapping[str, Mapping[int, Tensor]], path: Path) -> None:
    """Heatmaps of attention by task (down) and number of inner steps (across)."""
    from matplotlib.figure import Figure

    steps = sorted({step for maps in found.values() for step in maps})
    width, height = _size(next(iter(next(iter(found.values())).values())))
    figure = Figure(figsize=(width * len(steps), height * len(found)), layout="constrained")
    cells = figure.subplots(len(found), len(steps), squeeze=False)
    for row, (task, maps) in zip(cells, found.items(), strict=True):
        for axes, step in zip(row, steps, strict=True):
            _heatmap(figure, axes, maps[step], f"{task}, after {step} inner steps")
    save_figure(figure, path, dpi=90)


def _size(weights: Tensor) -> tuple[float, float]:
    """Width and height of a heatmap in inches."""
    steps = min(len(weights), MOST_STEPS)
    width, height = (float(np.clip(n, 3.0, 12.0)) for n in (1.5 + 0.22 * weights.shape[2], 1.2 + 0.22 * steps))
    return width, height


def _heatmap(figure: "Figure", axes: "Axes", weights: Tensor, title: str) -> None:
    shown = weights.detach().mean(1)[:MOST_STEPS].cpu().numpy()
    entropy = float(attention_entropy(weights.detach()).mean())
    image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=0.0)
    figure.colorbar(image, ax=axes, label="weight")
    axes.set(xlabel="key: nodes, columns, rows", ylabel="step of the episode")
    axes.set_title(f"{title}\nentropy {entropy:.2f} of {np.log(shown.shape[1]):.2f} nats", fontsize=9)


def draw_evolution(analyzer: AttentionAnalyzer, path: Path) -> None:
    """Entropy of the attention against outer steps: all tasks as points, and their running mean."""
    from matplotlib.figure import Figure

    points = sorted(
        (iteration, entropy)
        for kept in analyzer.history.values()
        for iteration, entropy in zip(kept["iteration"], kept["entropy"], strict=True)
    )
    if not points:
        return
    x, y = np.array(points).T
    steps = np.unique(x)
    if len(steps) < 3:  # two points are no curve
        return
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, ".", color="#93c5fd", markersize=3)
    axes.plot(steps, [y[x == step].mean() for step in steps], color="#1d4ed8")
    axes.set(xlabel="outer step", ylabel="entropy of the attention, nats")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=150)
