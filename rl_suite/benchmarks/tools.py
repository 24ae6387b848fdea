"""Tool choice over 100 seeds: regret, success and cost of each agent, and how far its predictions come true."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.meta_learning.metrics import mean_interval
from rl_suite.meta_learning.tools.benchmark import (
    AGENTS,
    ToolComparison,
    create_tool_optimization_benchmark,
)
from rl_suite.meta_learning.tools.sample import TASKS, TOOLS
from rl_suite.viz.curves import COLOURS
from rl_suite.viz.saving import save_figure

SUMMARY = "tool choice: regret, success, cost against random, greedy, sliding-window UCB and oracle; calibration"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "tools.png"
QUICK_SEEDS, QUICK_EXECUTIONS = 2, 10
PROMISED_ERROR = 0.05  # expected calibration error


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--executions``."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks tools")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--executions", type=int, default=300, help="of each agent and seed")
    parsed = parser.parse_args(list(words))
    if parsed.seeds < 2 or parsed.executions < 1:
        parser.error("--seeds must be at least 2 and --executions at least 1")
    return parsed


def run(options: Options) -> BenchmarkResult:
    """Eight tools in three steps, three kinds of task, chances that drift."""
    given = parse(options.extra)
    seeds, executions = (QUICK_SEEDS, QUICK_EXECUTIONS) if options.quick else (given.seeds, given.executions)
    found = create_tool_optimization_benchmark(TOOLS, TASKS, executions, seeds)
    rows = []
    for name in AGENTS[:-2]:
        ours, random = (found.total_regret(agent).estimate for agent in (name, "random"))
        rows.append(Row(f"{name}: regret", ours, random, "value", "random", False))
    best = min(AGENTS[:-2], key=lambda name: found.total_regret(name).estimate)
    for peer in ("greedy", "sliding_window_ucb"):
        if best != peer:
            ours, theirs = (found.total_regret(agent).estimate for agent in (best, peer))
            rows.append(Row(f"{best}: regret", ours, theirs, "value", peer, False))
    if not options.quick:
        for name, diagram in found.calibration.items():
            error = diagram.expected_calibration_error
            row = Row(f"{name}: calibration error", error, PROMISED_ERROR, "chance", "promised", False, 1.0)
            rows.append(row)
        draw(found, PICTURE)
    trials = [{"agent": name, **_flat(found, name)} for name in AGENTS]
    notes = (
        f"{seeds} seeds of {executions} executions; regret: expected worth less cost missed against the oracle, summed",
        "the same tools, tasks and luck for all agents; each prediction was made before its outcome was known",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def _flat(found: ToolComparison, name: str) -> dict[str, float]:
    """Figures of one agent with their intervals."""
    means = {"success": mean_interval(found.success[name].mean(axis=1))}
    means["cost"] = mean_interval(found.cost[name].mean(axis=1))
    means["regret"] = found.total_regret(name)
    for other in ("greedy", "sliding_window_ucb", "random"):
        if other != name:
            means[f"regret_minus_{other}"] = found.against(name, other)
    flat = {f"{key}_{end}": value for key, each in means.items() for end, value in each._asdict().items()}
    if name in found.calibration:
        flat["calibration_error"] = found.calibration[name].expected_calibration_error
        flat["interval_coverage"] = found.coverage[name]
    return flat


def draw(found: ToolComparison, path: Path) -> None:
    """Regret against executions, and the reliability diagram."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for colour, name in zip((*COLOURS, "0.5"), AGENTS[:-1], strict=True):
        curve = np.cumsum(found.regret[name].mean(axis=0))
        left.plot(np.arange(1, len(curve) + 1), curve, color=colour, label=name.replace("_", " "))
        if name in found.calibration:
            diagram = found.calibration[name]
            right.plot(diagram.predicted, diagram.observed, "o-", markersize=4, linewidth=1, color=colour)
    left.set(xlabel="executions", ylabel="regret, mean over seeds")
    left.legend(frameon=False, fontsize=8)
    right.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
    right.set(
        xlabel="predicted chance of success", ylabel="share that succeeded", aspect="equal", xlim=(0, 1), ylim=(0, 1)
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=130)
