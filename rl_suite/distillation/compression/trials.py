"""What compression costs: the same trials with the whole context and with a part of it."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.in_context.agent import InContextAgent, Mode
from rl_suite.distillation.compression.strategies import MemoryCompressor
from rl_suite.distillation.scorecard import LATE, REGRET
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent
from rl_suite.evaluation.report import EvaluationResult
from rl_suite.evaluation.statistics import Interval, paired_bootstrap

REFRESHED = 0.25  # part of the budget that is free for new steps after a compression
BYTES = 4  # of one float32


@dataclass(frozen=True)
class Outcome:
    """One strategy at one budget, beside the whole context in the same trials."""

    strategy: str
    mode: Mode
    budget: int
    """Tokens that are remembered at most."""
    fraction: float
    """The budget over the whole window."""
    kept: Interval
    """Share of the return at the end of the trial that is kept; in bandits, how many times the regret grew."""
    area: float
    """The same over the whole trial."""
    worst: float
    """The same on the task where it is worst (worlds with several trials per task)."""
    speed_up: float
    """CPU time of a step with the whole context over that with this one, the rest of the world included."""
    bytes_kept: int
    """Size of the memory of one environment."""


@dataclass(frozen=True)
class Whole:
    """What the agent earns with its whole window, in the mode "ring", and the CPU seconds that this took."""

    result: EvaluationResult
    seconds: float


def play_whole(agent: InContextAgent, spec: EvaluationSpec) -> Whole:
    """Play ``spec`` without compression."""
    return Whole(*_play(agent, spec, "ring", agent.window, None))


def measure(
    agent: InContextAgent,
    spec: EvaluationSpec,
    whole: Whole,
    strategies: Sequence[str],
    fractions: Sequence[float],
    mode: Mode = "ring",
) -> list[Outcome]:
    """Play ``spec`` with every strategy at every fraction of the agent's window, and compare with the whole window.

    An agent under a budget of b tokens remembers all until it has b, then compresses to 3/4 of them, and so on.
    """
    outcomes = []
    for strategy in strategies:
        for fraction in fractions:
            budget = max(2, round(fraction * agent.window))
            kept = max(1, int(budget * (1 - REFRESHED)))
            compressor = MemoryCompressor(strategy, kept, spec.seed)
            result, seconds = _play(agent, spec, mode, budget, compressor)
            interval, area, worst = compare(result, whole.result, spec)
            size = memory_bytes(agent, mode, budget)
            speed_up = whole.seconds / seconds
            outcomes.append(Outcome(strategy, mode, budget, fraction, interval, area, worst, speed_up, size))
    return outcomes


def compare(result: EvaluationResult, whole: EvaluationResult, spec: EvaluationSpec) -> tuple[Interval, float, float]:
    """Share of the whole context's result at the end with its paired interval, of the area, and on the worst task."""
    if REGRET in whole.metrics:
        ours, theirs = result.metrics[REGRET], whole.metrics[REGRET]
        area_ours, area_theirs = ours, theirs
    else:
        assert result.curve is not None
        assert whole.curve is not None
        late = max(1, round(LATE * whole.curve.shape[2]))
        ours, theirs = result.curve[:, :, -late:].mean(2), whole.curve[:, :, -late:].mean(2)
        area_ours, area_theirs = result.curve.mean(2), whole.curve.mean(2)
    level = float(theirs.mean())
    pair = (ours, theirs) if ours.shape[1] > 1 else (ours.reshape(1, -1), theirs.reshape(1, -1))
    gap = paired_bootstrap(*pair, resamples=spec.resamples, confidence=spec.confidence, seed=spec.seed)
    if not level:  # the whole context earns nothing (an untrained agent): there is nothing to keep
        return Interval(math.nan, math.nan, math.nan), math.nan, math.nan
    interval = Interval(*(1.0 + value / level for value in gap))
    tasks = ours.mean(1) / np.maximum(theirs.mean(1), 1e-9)
    several = ours.shape[1] > 1
    worst = float(tasks.max() if REGRET in whole.metrics else tasks.min()) if several else float("nan")
    return interval, float(area_ours.mean() / area_theirs.mean()), worst


def memory_bytes(agent: InContextAgent, mode: Mode, budget: int) -> int:
    """Bytes that one environment's memory takes: keys and values of all layers, or the tokens alone."""
    transformer = agent.model.transformer
    per_token = transformer.width * (2 * transformer.n_layers if mode == "ring" else 1)
    return BYTES * per_token * budget


def _play(
    agent: InContextAgent, spec: EvaluationSpec, mode: Mode, window: int, compressor: MemoryCompressor | None
) -> tuple[EvaluationResult, float]:
    player = InContextAgent(agent.model, window, agent.temperature, mode, spec.seed, compressor)
    began = time.process_time()
    return evaluate_agent(player, spec), time.process_time() - began
