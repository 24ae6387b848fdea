"""Pictures of attention: heatmaps, lines, summaries, and what the heads look for."""

import io
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rl_suite.checkpoint import write_atomically
from rl_suite.viz.saving import save_figure

Floats = NDArray[np.float64]

DPI = 100
INK, PALE, ROSE, BLUE, GOLD = "#334155", "#e2e8f0", "#e11d48", "#2563eb", "#d97706"
HEAD_COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#db2777", "#0891b2", "#65a30d", "#dc2626")
FLOOR = 1e-4  # attention below this is drawn as none


class Heatmaps:
    """Attention of all tokens to all tokens, one panel per head; one frame serves all samples.

    The colour is logarithmic: a tenth of the attention is still visible, which a linear scale would hide. Axes and
    colour bar are drawn once and only the panels are filled in per sample, which is ten times faster.
    """

    def __init__(self, n_heads: int, n_keys: int, first_row: int, last_row: int):
        columns = min(n_heads, 4)
        rows = -(-n_heads // columns)
        figure = Figure(figsize=(3.1 * columns + 0.9, 3.2 * rows + 0.6), dpi=DPI)
        figure.subplots_adjust(left=0.07, right=0.9, bottom=0.14 / rows + 0.02, top=1 - 0.19 / rows, wspace=0.25)
        grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
        for axes in grid[n_heads:]:
            axes.set_visible(False)
        for head, axes in enumerate(grid[:n_heads]):
            axes.set(xlim=(-0.5, n_keys - 0.5), ylim=(last_row + 0.5, first_row - 0.5))
            axes.set_title(f"head {head}", fontsize=9)
            axes.tick_params(labelsize=7)
            axes.set_xlabel("attended step", fontsize=8)
        grid[0].set_ylabel("step that looks", fontsize=8)
        colours = ScalarMappable(LogNorm(FLOOR, 1.0), "magma")
        bar = figure.colorbar(colours, cax=figure.add_axes((0.92, 0.2, 0.015, 0.6)))
        bar.ax.tick_params(labelsize=7)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        self.frame = Image.fromarray(pixels).convert("RGB")
        self.palette = (colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
        self.boxes = [axes.get_window_extent() for axes in grid[:n_heads]]
        self.font = ImageFont.truetype(findfont("DejaVu Sans"), 15)

    def save(self, weights: Floats, title: str, path: Path) -> None:
        """Draw weights (H, queries, keys), of as many keys as the frame was made for."""
        picture = self.frame.copy()
        for box, head in zip(self.boxes, weights, strict=True):
            shade = np.clip(1.0 - np.log(np.maximum(head, FLOOR)) / np.log(FLOOR), 0.0, 1.0)
            panel = Image.fromarray(self.palette[(shade * 255).astype(np.uint8)])
            left, right = round(box.x0) + 1, round(box.x1)
            top, bottom = round(picture.height - box.y1) + 1, round(picture.height - box.y0)
            picture.paste(panel.resize((right - left, bottom - top), Image.Resampling.NEAREST), (left, top))
        ImageDraw.Draw(picture).text((round(0.07 * picture.width), 8), title, fill=INK, font=self.font)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        write_atomically(path, buffer.getvalue())


class Lines:
    """Left: what the last token looks at, head by head. Right: what each token receives from all later ones."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(11, 3.6), dpi=DPI)
        self.figure.subplots_adjust(left=0.06, right=0.985, bottom=0.14, top=0.84, wspace=0.14)
        self.left, self.right = self.figure.subplots(1, 2)

    def save(
        self,
        row: Floats,
        received: Floats,
        starts: NDArray[np.int64],
        rewarded: NDArray[np.int64],
        title: str,
        path: Path,
    ) -> None:
        """Draw one sample.

        Args:
            row: attention of the last token (H, n).
            received: mean attention to each token over the later ones (n,).
            starts: steps at which episodes begin.
            rewarded: steps that came with a reward.
            title: above the picture.
            path: of the file.
        """
        steps = np.arange(row.shape[1])
        for axes in (self.left, self.right):
            axes.clear()
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
            axes.vlines(starts, 0, 1, transform=axes.get_xaxis_transform(), color=PALE, linewidth=1, zorder=0)
            axes.plot(rewarded, np.full(len(rewarded), 0.985), "|", color=GOLD, transform=axes.get_xaxis_transform())
            axes.set_xlim(-0.5, row.shape[1] - 0.5)
        for head, line in enumerate(row):
            self.left.plot(steps, line, color=HEAD_COLOURS[head % len(HEAD_COLOURS)], linewidth=1, label=f"head {head}")
        self.left.plot(steps, row.mean(0), color=INK, linewidth=1.8, label="mean")
        self.left.set_title("attention of the last step (gold: rewarded steps; bars: new episodes)", fontsize=9)
        self.left.legend(fontsize=7, frameon=False, loc="upper left", ncols=3)
        self.right.fill_between(steps, received, color=BLUE, alpha=0.25, linewidth=0)
        self.right.plot(steps, received, color=BLUE, linewidth=1.2)
        self.right.set_title("attention that each step receives from later ones, mean", fontsize=9)
        for axes in (self.left, self.right):
            axes.set_ylim(bottom=0)
            axes.set_xlabel("step of the context", fontsize=8)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_locator(MaxNLocator(6))
        self.figure.suptitle(title, fontsize=11, x=0.06, ha="left")
        save_figure(self.figure, path, pil_kwargs={"compress_level": 1})


def draw_summary(values: dict[str, Floats], title: str, path: Path) -> None:
    """Histograms of the statistics over the samples, name -> (samples,)."""
    figure = Figure(figsize=(11, 2.8), dpi=DPI, layout="constrained")
    for axes, (name, data) in zip(figure.subplots(1, len(values)), values.items(), strict=True):
        axes.hist(data, bins=min(30, max(5, len(data))), color=BLUE, alpha=0.8)
        axes.axvline(float(np.mean(data)), color=ROSE, linewidth=1.5)
        axes.set_title(f"{name}\n{np.mean(data):.3g} ± {np.std(data):.2g}", fontsize=9)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    save_figure(figure, path)


def draw_overview(
    shares: dict[str, Floats], bases: dict[str, float], entropy: Floats, effective: Floats, path: Path
) -> None:
    """What every head looks at: mass on kinds of tokens beside their base rate, entropy, effective tokens.

    Args:
        shares: kind of token -> mass (layers, H).
        bases: kind -> share of such tokens in the context, which a head without preference would give them.
        entropy: normalised, (layers, H).
        effective: tokens with 90 % of the mass, (layers, H).
        path: of the file.
    """
    panels: list[tuple[str, Floats, float | None, str]] = [
        (f"mass on {name} tokens\n(base rate {bases[name]:.2f})", values, 1.0, "{:.2f}")
        for name, values in shares.items()
    ]
    panels.append(("entropy / log n", entropy, 1.0, "{:.2f}"))
    panels.append(("tokens with 90 % of the mass", effective, None, "{:.0f}"))
    figure = Figure(figsize=(2.3 * len(panels), 0.55 * len(entropy) + 1.3), dpi=DPI + 30, layout="constrained")
    for axes, (name, values, top, form) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _table_panel(axes, values, name, top, form)
    save_figure(figure, path)


def _table_panel(axes: Axes, values: Floats, name: str, top: float | None, form: str) -> None:
    highest = float(values.max()) if top is None else top
    axes.imshow(values, cmap="Blues", vmin=0, vmax=max(highest, 1e-9), aspect="auto")
    for (layer, head), value in np.ndenumerate(values):
        colour = "white" if value > 0.5 * highest else INK
        axes.text(head, layer, form.format(value), ha="center", va="center", fontsize=7, color=colour)
    axes.set_title(name, fontsize=8)
    axes.set_xticks(range(values.shape[1]), [f"h{h}" for h in range(values.shape[1])], fontsize=7)
    axes.set_yticks(range(values.shape[0]), [f"layer {i}" for i in range(values.shape[0])], fontsize=7)


def draw_age(mass: Floats, path: Path) -> None:
    """Mass by age of the episode and step within it: (layers, episodes, steps), newest episode last."""
    figure = Figure(figsize=(3.2 * len(mass) + 0.6, 2.8), dpi=DPI + 30, layout="constrained")
    for layer, axes in enumerate(np.atleast_1d(figure.subplots(1, len(mass)))):
        image = axes.imshow(np.maximum(mass[layer], FLOOR), cmap="magma", norm=LogNorm(FLOOR, 1), aspect="auto")
        axes.set_title(f"layer {layer}", fontsize=9)
        axes.set_yticks(range(mass.shape[1]), [str(i - mass.shape[1] + 1) for i in range(mass.shape[1])], fontsize=7)
        axes.set_xlabel("step of the episode", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelsize=7)
    figure.axes[0].set_ylabel("episode, 0 = present", fontsize=8)
    figure.colorbar(image, ax=figure.axes, shrink=0.8).ax.tick_params(labelsize=7)
    save_figure(figure, path)


def draw_room(mass: Floats, goals: list[tuple[int, int]], path: Path) -> None:
    """Where attended tokens stand in the room, per sample: (samples, rows, columns); a ring marks the rewarded cell."""
    count = min(len(mass), 8)
    figure = Figure(figsize=(max(2.2, 1.7 * count), 2.3), dpi=DPI + 30, layout="constrained")
    for i, axes in enumerate(np.atleast_1d(figure.subplots(1, count))):
        axes.imshow(mass[i], cmap="magma", vmin=0)
        if goals[i][0] >= 0:
            axes.plot(goals[i][1], goals[i][0], "o", markersize=11, markerfacecolor="none", markeredgecolor="#22d3ee")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"sample {i}", fontsize=8)
    title = "where the attended steps stood\n(ring: where rewards came)"  # two lines: one is wider than one room
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    save_figure(figure, path)
