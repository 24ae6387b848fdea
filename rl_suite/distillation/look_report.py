"""The report on attention: which pictures are drawn, and what is printed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.in_context.agent import InContextAgent
from rl_suite.distillation.attention.pictures import Heatmaps, Lines, draw_age, draw_overview, draw_room, draw_summary
from rl_suite.distillation.attention.sample import Sample
from rl_suite.distillation.attention.statistics import (
    ClassicStatistics,
    HeadStatistics,
    auto_choice,
    classic_statistics,
    head_statistics,
    verdict,
    without_sinks,
)
from rl_suite.distillation.config import DistillationConfig
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent

LABELS = {
    "mean": "Mean context attention",
    "concentration": "Attention concentration (std)",
    "entropy": "Attention entropy",
    "recency": "Recent/Distant ratio",
}


def draw_sample(
    samples: Sequence[Sample], layers: Sequence[int], folder: Path, progress: Callable[[int], None]
) -> None:
    """Heatmap and lines of every sample and layer."""
    n_heads, _, n_keys = samples[0].weights.shape[1:]
    rows = samples[0].rows
    heatmaps, lines = Heatmaps(n_heads, n_keys, int(rows[0]), int(rows[-1])), Lines()
    for done, (layer, i) in enumerate((layer, i) for layer in layers for i in range(len(samples))):
        sample = samples[i]
        place = folder / f"layer_{layer}"
        place.mkdir(parents=True, exist_ok=True)
        weights = sample.weights[layer]
        title = f"layer {layer}, sample {i} (task {sample.task})"
        heatmaps.save(weights, title, place / f"attention_heatmap_sample{i}_layer{layer}.png")
        looking = sample.rows[:, None] >= np.arange(weights.shape[2])
        received = weights.mean(0).sum(0) / np.maximum(looking.sum(0), 1)
        starts, rewarded = np.flatnonzero(sample.first), np.flatnonzero(sample.rewarded)
        path = place / f"attention_lines_sample{i}_layer{layer}.png"
        lines.save(weights[:, -1], received, starts, rewarded, title, path)
        progress(done + 1)


def draw_whole(samples: Sequence[Sample], layers: Sequence[int], episode_steps: int, folder: Path) -> None:
    """One summary per layer, and three pictures over all of them."""
    for layer in layers:
        classic = [classic_statistics(sample.query[layer].mean(0)) for sample in samples]
        values = {LABELS[name]: np.array([getattr(s, name) for s in classic]) for name in LABELS}
        draw_summary(values, f"layer {layer}", folder / f"layer_{layer}" / f"attention_summary_layer{layer}.png")
    heads = {layer: [_heads(sample, layer) for sample in samples] for layer in layers}

    def mean(name: str) -> NDArray[np.float64]:
        return np.stack([np.mean([getattr(h, name) for h in heads[layer]], axis=0) for layer in layers])

    length = samples[0].weights.shape[3]
    bases = {
        "rewarded": float(np.mean([s.rewarded[:-1].mean() for s in samples])),
        "same-state": float(np.mean([_same_state(s).mean() for s in samples])),
        "recent-quarter": 0.25,
        "first four": min(1.0, 4 / (length - 1)),
    }
    names = ("rewarded", "same_state", "recent", "sink")
    shares = {kind: mean(name) for kind, name in zip(bases, names, strict=True)}
    draw_overview(shares, bases, mean("entropy"), mean("effective"), folder / "attention_overview.png")
    n_episodes = length // episode_steps
    if n_episodes > 1:
        whole = [s.query[list(layers)].mean(1)[:, length - n_episodes * episode_steps :] for s in samples]
        draw_age(np.mean(whole, 0).reshape(len(layers), n_episodes, episode_steps), folder / "attention_by_age.png")
    if samples[0].observations.shape[1] == 2:
        draw_room(*_rooms(samples, layers), folder / "attention_in_room.png")


def report_lines(samples: Sequence[Sample], layers: Sequence[int], k: int) -> tuple[list[str], dict[str, Any]]:
    """What to print, and the same as plain values."""
    n = samples[0].weights.shape[3] - 1
    classic = [classic_statistics(sample.query[layer].mean(0)) for layer in layers for sample in samples]
    lines = ["OVERALL ATTENTION STATISTICS", "=" * 36]
    for name, label in LABELS.items():
        values = np.array([getattr(s, name) for s in classic])
        digits = 2 if name == "recency" else 4
        lines.append(f"{label}: {values.mean():.{digits}f} ± {values.std():.{digits}f}")
    heads = [_heads(sample, layer) for layer in layers for sample in samples]
    lines += ["", *(f"💡 INSIGHT: {line}" for line in verdict(classic, heads, n)), ""]
    lines += [f"SINGLE HEADS, {n} context steps (mean ± spread over heads, layers and samples)"]
    lines += _head_lines(heads)
    bare = [_heads(sample, layer, sinks=False) for layer in layers for sample in samples]
    with_sinks, bare_entropy = _mean(heads, "entropy"), _mean(bare, "entropy")
    lines.append(
        f"Without the first four steps (sinks): entropy {with_sinks:.3f} -> {bare_entropy:.3f} of its maximum, "
        f"{_mean(heads, 'sink'):.1%} of the mass is on them"
    )
    strategy = auto_choice([sample.query[layer] for layer in layers for sample in samples], k)
    advice = (
        f"Attention alone recommends no strategy (auto would keep k={k} by {strategy!r}); "
        "what each of them costs is measured by: python -m rl_suite.benchmarks compression"
    )
    if k >= n:
        advice = f"k={k} is no less than the {n} steps of this context: nothing to compress; choose a smaller --k"
    lines += ["", advice]
    statistics = {
        "classic": {name: [float(getattr(s, name)) for s in classic] for name in LABELS},
        "per_layer": {str(layer): _layer_values(samples, layer) for layer in layers},
        "auto": strategy,
        "k": k,
    }
    return lines, statistics


def ablation_lines(
    config: DistillationConfig, agent: InContextAgent, spec: EvaluationSpec
) -> tuple[list[str], dict[str, float]]:
    """Return of trials with one head silenced at a time: what each head is for, not only where it looks."""
    transformer = agent.model.transformer
    whole = float(evaluate_agent(agent, spec).returns.mean())
    effects = {}
    for layer in range(transformer.n_layers):
        for head in range(transformer.n_heads):
            transformer.silence([(layer, head)])
            effects[f"{layer}.{head}"] = float(evaluate_agent(agent, spec).returns.mean()) / whole
    transformer.silence([])
    worst = sorted(effects.items(), key=lambda item: item[1])
    listed = ", ".join(f"layer {name.replace('.', ' head ')}: {share:.2f}" for name, share in worst[:6])
    return ["", f"Share of the return ({whole:.1f} per trial) left without a head, worst first: {listed}"], effects


def _heads(sample: Sample, layer: int, sinks: bool = True) -> HeadStatistics:
    rows = sample.query[layer]
    rewarded, same = sample.rewarded[:-1], _same_state(sample)
    if not sinks:
        rows = without_sinks(rows)
        rewarded, same = rewarded[-(rows.shape[1] - 1) :], same[-(rows.shape[1] - 1) :]
    return head_statistics(rows, rewarded, same)


def _same_state(sample: Sample) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (sample.observations[:-1] == sample.observations[-1]).all(1)
    return same


def _mean(heads: Sequence[HeadStatistics], name: str) -> float:
    return float(np.mean([getattr(h, name) for h in heads]))


def _head_lines(heads: Sequence[HeadStatistics]) -> list[str]:
    names = {
        "entropy": "Entropy / log n",
        "recency": "log(recent/distant)",
        "effective": "Steps with 90 % of the mass",
        "rewarded": "Mass on rewarded steps",
        "same_state": "Mass on steps in the same state",
        "recent": "Mass on the recent quarter",
    }
    stacked = {name: np.concatenate([getattr(h, name) for h in heads]) for name in names}
    return [f"{label}: {stacked[name].mean():.3f} ± {stacked[name].std():.3f}" for name, label in names.items()]


def _layer_values(samples: Sequence[Sample], layer: int) -> dict[str, Any]:
    heads = [_heads(sample, layer) for sample in samples]
    per_head = {f.name: np.mean([getattr(h, f.name) for h in heads], axis=0).tolist() for f in fields(HeadStatistics)}
    classic: list[ClassicStatistics] = [classic_statistics(sample.query[layer].mean(0)) for sample in samples]
    return {"per_head": per_head, "per_sample": [asdict(s) for s in classic]}


def _rooms(samples: Sequence[Sample], layers: Sequence[int]) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Mass on the cells of the room (samples, rows, columns), and the cell that paid last (-1, -1 if none)."""
    size = int(max(sample.observations.max() for sample in samples)) + 1
    mass, goals = np.zeros((len(samples), size, size)), []
    for i, sample in enumerate(samples):
        cells = sample.observations[:-1].astype(np.int64)
        np.add.at(mass[i], (cells[:, 0], cells[:, 1]), sample.query[list(layers)].mean((0, 1))[:-1])
        # The reward of a step is told one token later, where the agent then stands; at an episode's end it is reset.
        paid = np.flatnonzero(sample.rewarded & ~sample.first)
        row, column = sample.observations[paid[-1]].astype(int) if len(paid) else (-1, -1)
        goals.append((int(row), int(column)))
    return mass, goals
