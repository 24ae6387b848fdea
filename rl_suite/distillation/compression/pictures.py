"""The picture of compression: what is kept of the result against what is kept of the context."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from rl_suite.distillation.compression.trials import Outcome

COLOURS = ("#2563eb", "#d97706", "#059669", "#9333ea", "#db2777", "#0891b2", "#65a30d", "#dc2626", "#475569", "#a16207")
MARKERS = "osD^vP*X<>"


def draw_compression(panels: "Mapping[str, Sequence[Outcome]]", path: Path) -> None:
    """Write a PNG with one panel per experiment and one line per strategy; dashed lines re-encode."""
    figure = Figure(figsize=(5.4 * len(panels) + 1.6, 4.2), dpi=150, layout="constrained")
    for axes, (experiment, outcomes) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        regret = experiment.startswith("bandit")
        names = list(dict.fromkeys((o.strategy, o.mode) for o in outcomes))
        strategies = list(dict.fromkeys(o.strategy for o in outcomes))
        ticks = sorted({o.fraction for o in outcomes})
        for name, mode in names:
            i = strategies.index(name)
            points = sorted((o for o in outcomes if (o.strategy, o.mode) == (name, mode)), key=lambda o: o.fraction)
            x = [o.fraction * 1.03 ** (i - len(strategies) / 2) for o in points]  # side by side, not on each other
            y = [o.kept.estimate for o in points]
            error = [[o.kept.estimate - o.kept.low for o in points], [o.kept.high - o.kept.estimate for o in points]]
            label = name if mode == "ring" else f"{name}, re-encoded"
            style = "-" if mode == "ring" else "--"
            axes.errorbar(
                x, y, error, fmt=style, marker=MARKERS[i % 10], color=COLOURS[i % 10], label=label,
                markersize=4.5, linewidth=1.3, elinewidth=0.8,
            )  # fmt: skip
        axes.axhline(1.0, color="#94a3b8", linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("fraction of the context that is remembered")
        axes.set_ylabel("regret, times that of the whole context" if regret else "return, share of the whole context's")
        axes.set_title(experiment.removesuffix("_distillation"), loc="left", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, path)
