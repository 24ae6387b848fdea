"""Expressions as text and as pictures: the tree on the left, what it predicts on the right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from envs.drawing import AGENT, FLOOR, GOLD, INK, NIGHT, PAPER, ROSE, TRAIL, Colour
from envs.symbolic.datasets import Dataset
from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import to_infix
from envs.symbolic.tokens import CONSTANT, VARIABLE, Constants, Library, Program

if TYPE_CHECKING:  # matplotlib is loaded by the functions that draw
    from matplotlib.axes import Axes

OPEN, HOLE = "?", "hole"
SYMBOLS = {"*": "×", "-": "−", "/": "÷", "^2": "( )²", "^3": "( )³", "sqrt": "√", "1/": "1/( )", "^": "^", "pi": "π"}


@dataclass(frozen=True)
class Scene:
    """What is drawn: the data, and a program that may be unfinished; ``target`` is what y is called."""

    data: Dataset
    library: Library
    program: Program
    constants: Constants
    whole: bool
    nrmse: float
    target: str = "y"


def with_holes(program: Program, library: Library) -> tuple[Program, Library]:
    """The program with one more variable in every open place, and a library that has it, last."""
    slots, hole = 1, HOLE
    while hole in library:
        hole += "_"
    for i in program:
        slots += int(library.arity[i]) - 1
    literals = [t.name for t in library.tokens if t.arity == 0 and t.index < 0 and t.opcode != CONSTANT]
    wider = Library(library.functions, [*library.variables, hole], literals, library.constant_id >= 0)
    return np.append(program, np.full(slots, len(wider) - 1)).astype(np.int16), wider


def as_text(scene: Scene) -> str:
    """Task, expression with ``?`` in open places, prefix form, and the error once it is whole."""
    program, library = with_holes(scene.program, scene.library)
    expression = _spelled(program, library, scene)
    lines = [
        f"task {scene.data.name}: {len(scene.data.y)} points of {', '.join(scene.data.variables)}",
        f"{scene.target} = {expression}",
        "prefix: " + (" ".join(scene.library.decode(scene.program)) or "(empty)"),
    ]
    if scene.whole:
        lines.append(f"NRMSE {scene.nrmse:.3g}, reward {1.0 / (1.0 + scene.nrmse):.4f}")
    return "\n".join([*lines, ""])


def tree_graph(program: Program, library: Library) -> tuple[nx.DiGraph, dict[int, tuple[float, float]]]:
    """The tree as a graph of positions in the program, and where to draw each node.

    Leaves stand side by side in reading order, every function above the middle of its arguments.
    """
    graph: nx.DiGraph = nx.DiGraph()
    places: dict[int, tuple[float, float]] = {}
    below: list[tuple[int, float, int]] = []  # finished subtrees: root, x, height
    leaves = 0
    for i in range(len(program) - 1, -1, -1):
        token = library.tokens[program[i]]
        graph.add_node(i, token=int(program[i]))
        children = [below.pop() for _ in range(token.arity)]
        for child, _, _ in children:
            graph.add_edge(i, child)
        if children:
            x = float(np.mean([x for _, x, _ in children]))
        else:
            x, leaves = float(-leaves), leaves + 1
        below.append((i, x, 0))
        places[i] = (x, 0.0)
    levels = nx.single_source_shortest_path_length(graph, 0)
    return graph, {i: (x, -float(levels[i])) for i, (x, _) in places.items()}


def as_picture(scene: Scene, width: int = 960, height: int = 420) -> NDArray[np.uint8]:
    """Tree and fit side by side, (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=_rgb(NIGHT), layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.0))
    draw_tree(left, scene)
    draw_fit(right, scene)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_tree(axes: Axes, scene: Scene) -> None:
    """Draw the tree of an expression; open places are dashed circles."""
    program, library = with_holes(scene.program, scene.library)
    graph, places = tree_graph(program, library)
    nx.draw_networkx_edges(graph, places, ax=axes, arrows=False, edge_color=[_rgb(INK)], width=1.6)
    leaves = sum(1 for i in graph if not library.arity[program[i]])
    levels = 1.0 - min(y for _, y in places.values())
    size = float(np.clip(min(110.0 / leaves, 100.0 / levels), 4.0, 12.0))
    constants = list(scene.constants)
    for i in sorted(graph):
        token = library.tokens[program[i]]
        text, colour, rim, ink = SYMBOLS.get(token.symbol, token.symbol), FLOOR, INK, PAPER
        if token.index == scene.library.n_variables:
            text, colour, rim, ink = OPEN, NIGHT, GOLD, GOLD
        elif token.opcode == CONSTANT:
            text = f"{constants.pop(0):.3g}" if scene.whole else token.symbol
            colour, rim = TRAIL, TRAIL
        elif token.opcode == VARIABLE:
            colour, rim, ink = AGENT, AGENT, NIGHT
        elif token.arity > 0:
            rim = PAPER
        shape = "circle,pad=0.5" if len(text) == 1 else "round,pad=0.5,rounding_size=0.8"
        box = {"boxstyle": shape, "facecolor": _rgb(colour), "edgecolor": _rgb(rim), "linewidth": 1.4}
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": _rgb(ink)}
        axes.text(*places[i], text, bbox=box, parse_math=False, **style)
    axes.margins(0.12, 0.08)
    axes.set_facecolor(_rgb(NIGHT))
    axes.axis("off")
    axes.set_title(
        _shortened(f"{scene.target} = " + _spelled(program, library, scene, digits=4)),
        color=_rgb(PAPER),
        fontsize=10,
        parse_math=False,
    )


def draw_fit(axes: Axes, scene: Scene) -> None:
    """Data and prediction: over the variable where there is one, prediction against truth where there are more."""
    data = scene.data
    axes.set_facecolor(_rgb(NIGHT))
    for side in axes.spines.values():
        side.set_color(_rgb(INK))
    axes.tick_params(colors=_rgb(INK), labelsize=8)
    predicted = _predict(scene, data.X)
    error = f"NRMSE {scene.nrmse:.2g}" if scene.whole else "unfinished"
    axes.set_title(f"{data.name}, {error}", color=_rgb(PAPER), fontsize=10, parse_math=False)
    style: dict[str, Any] = {"s": 22, "linewidths": 0.0}
    if len(data.variables) == 1:
        x = data.X[:, 0]
        axes.scatter(x, data.y, color=_rgb(AGENT), zorder=3, label="data", **style)
        if predicted is not None:
            line = np.linspace(x.min(), x.max(), 300)
            curve = _predict(scene, line[:, None])
            axes.plot(line, np.asarray(curve), color=_rgb(ROSE), linewidth=1.8, label="expression")
        axes.set_xlabel(data.variables[0], color=_rgb(INK), parse_math=False)
        axes.set_ylabel(scene.target, color=_rgb(INK), parse_math=False)
        low, high = data.y.min(), data.y.max()
        axes.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
        _legend(axes)
        return
    low, high = data.y.min(), data.y.max()
    axes.plot([low, high], [low, high], color=_rgb(INK), linewidth=1.2, zorder=1)
    if predicted is not None:
        axes.scatter(data.y, predicted, color=_rgb(ROSE), zorder=3, **style)
    margin = 0.15 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel(f"{scene.target} in the data", color=_rgb(INK), parse_math=False)
    axes.set_ylabel(f"{scene.target} by the expression", color=_rgb(INK), parse_math=False)


def _predict(scene: Scene, X: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Values of a finished program; NaN at bad points, missing variables are 0."""
    if not scene.whole:
        return None
    padded = np.zeros((len(X), scene.library.n_variables))
    padded[:, : X.shape[1]] = X
    used = int((scene.library.opcode[scene.program] == CONSTANT).sum())
    return evaluate_pointwise(scene.program, padded, scene.library, scene.constants[:used])


def _legend(axes: Axes) -> None:
    legend = axes.legend(fontsize=8, facecolor=_rgb(FLOOR), edgecolor=_rgb(FLOOR))
    for text in legend.get_texts():
        text.set_color(_rgb(PAPER))


def _spelled(program: Program, library: Library, scene: Scene, digits: int = 6) -> str:
    """Infix text with ``?`` in open places; fitted constants have values once they are fitted."""
    text = to_infix(program, library, scene.constants if scene.whole else None, digits)
    return re.sub(rf"\b{library.variables[-1]}\b", OPEN, text)


def _shortened(text: str, most: int = 64) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
