"""Pictures of stored results: ``python -m rl_suite.benchmarks.pictures`` draws all of them anew into docs/images.

What is drawn is what stands in the stored file, intervals included; a benchmark draws its own when it has been stored.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_suite.benchmarks.harness import RESULTS
from rl_suite.cli import show
from rl_suite.reading import is_plain_file, read_json
from rl_suite.viz.curves import COLOURS
from rl_suite.viz.saving import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Trials = Sequence[Mapping[str, Any]]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
GREY = "0.55"
SIZE = (9.0, 3.4)  # inches
FLOOR = 1e-5  # of regrets on a logarithmic axis


def draw_stored(name: str, results: Path, folder: Path) -> Path | None:
    """Draw one stored result into a folder; None where it has no picture, or is not stored."""
    path = results / f"{name}.json"
    if name not in DRAWN or not is_plain_file(path):
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    DRAWN[name](figure, read_json(path)["trials"])
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    target = folder / f"benchmark_{name}.png"
    save_figure(figure, target, dpi=130)
    return target


def draw_bayesian(figure: "Figure", trials: Trials) -> None:
    """Median regret of every method with its quartiles, one panel per function."""
    functions = list(dict.fromkeys(trial["function"] for trial in trials))
    for axes, function in zip(_panels(figure, len(functions)), functions, strict=True):
        own = [trial for trial in trials if trial["function"] == function]
        names = [trial["method"] for trial in own]
        marks = [[max(trial[key], FLOOR) for trial in own] for key in ("median", "q25", "q75")]
        colours = [COLOURS[0] if name.startswith("ours") else GREY for name in names]
        _dots(axes, names, marks, colours)
        axes.set(xscale="log", title=function, xlabel=f"regret, median and quartiles of {own[0]['seeds']} seeds")


def draw_nas(figure: "Figure", trials: Trials) -> None:
    """Regret against evaluations, with 95 % intervals where they are stored, one panel per table."""
    tables = list(dict.fromkeys(trial["table"] for trial in trials))
    for axes, table in zip(_panels(figure, len(tables)), tables, strict=True):
        own = [trial for trial in trials if trial["table"] == table]
        for colour, trial in zip(COLOURS, own, strict=False):
            marks = sorted(int(key[len("after_") :]) for key in trial if key[len("after_") :].isdecimal())
            middle = [trial[f"after_{mark}"] for mark in marks]
            axes.plot(marks, middle, "o-", markersize=3.5, color=colour, label=trial["algorithm"])
            if f"after_{marks[0]}_low" in trial:
                low, high = ([trial[f"after_{mark}_{end}"] for mark in marks] for end in ("low", "high"))
                axes.fill_between(marks, low, high, color=colour, alpha=0.15, linewidth=0)
            last = [[middle[-1] - trial["regret_low"]], [trial["regret_high"] - middle[-1]]]
            axes.errorbar(marks[-1:], middle[-1:], last, color=colour, capsize=3)
        axes.set(title=table, xlabel="evaluations", ylim=(0, None), xticks=marks)
        axes.set_ylabel(f"regret in points, {own[0]['seeds']} seeds")
    axes.legend(frameon=False, fontsize=8)


def draw_tools(figure: "Figure", trials: Trials) -> None:
    """Regret, and success against cost, each with 95 % intervals."""
    left, right = _panels(figure, 2)
    own = [trial for trial in trials if trial["agent"] not in ("random", "oracle")]
    own = sorted(own, key=lambda trial: -trial["regret_estimate"])
    names = [trial["agent"].replace("_", " ") for trial in own]
    marks = [[trial[f"regret_{key}"] for trial in own] for key in ("estimate", "low", "high")]
    _dots(left, names, marks, [COLOURS[0]] * len(own))
    random = next(trial for trial in trials if trial["agent"] == "random")
    left.set(xlabel=f"regret (random routes: {random['regret_estimate']:.0f})")
    colours = [*COLOURS, "black", GREY]
    for colour, trial in zip(colours, trials, strict=False):
        x, y = trial["cost_estimate"], 100 * trial["success_estimate"]
        across = [[x - trial["cost_low"]], [trial["cost_high"] - x]]
        up = [[y - 100 * trial["success_low"]], [100 * trial["success_high"] - y]]
        right.errorbar([x], [y], up, across, "o", color=colour, markersize=4, label=trial["agent"].replace("_", " "))
    right.set(xlabel="cost of an execution", ylabel="success in %")
    right.legend(frameon=False, fontsize=8)


def draw_adapters(figure: "Figure", trials: Trials) -> None:
    """Returns in the shifted world in the three ways, one panel per agent; every seed is a dot."""
    agents = list(dict.fromkeys(trial["agent"] for trial in trials))
    for axes, agent in zip(_panels(figure, len(agents)), agents, strict=True):
        own = [trial for trial in trials if trial["agent"] == agent][::-1]
        for place, trial in enumerate(own):
            axes.plot(trial["returns"], [place + 0.15] * len(trial["returns"]), "o", color=GREY, markersize=3)
        marks = [[trial[key] for trial in own] for key in ("estimate", "low", "high")]
        _dots(axes, [trial["way"] for trial in own], marks, [COLOURS[0]] * len(own))
        axes.set(title=agent, xlabel=f"return in the shifted world, {len(own[0]['returns'])} seeds")
        if axes is not figure.axes[0]:
            axes.set_yticklabels([])


def _panels(figure: "Figure", count: int) -> "Sequence[Axes]":
    panels: Sequence[Axes] = figure.subplots(1, count, squeeze=False)[0]
    return panels


def _dots(axes: "Axes", names: Sequence[str], marks: Sequence[Sequence[float]], colours: Sequence[str]) -> None:
    """A row per name: its middle as a dot, its interval as a line."""
    for place, (colour, middle, low, high) in enumerate(zip(colours, *marks, strict=True)):
        axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([middle], [place], "o", color=colour, markersize=6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", color="0.9")


DRAWN: dict[str, Callable[["Figure", Trials], None]] = {
    "bayesian": draw_bayesian,
    "nas": draw_nas,
    "tools": draw_tools,
    "adapters": draw_adapters,
}
"""Name of a stored result -> what draws it."""


def main() -> int:
    """Draw every stored result that has a picture."""
    for name in DRAWN:
        path = draw_stored(name, RESULTS, IMAGES)
        if path is not None:
            show(f"drawn: docs/images/{path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
