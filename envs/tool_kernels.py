"""What ``envs.tools`` computes call by call: chances that drift, the oracle's plan, and what a call does."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import Rows, Streams, integer_at, uniform_at

LOWEST_CHANCE, HIGHEST_CHANCE = 0.02, 0.98  # of success, whatever the drift
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Tools(NamedTuple):
    """All tools of all copies, B copies and K tools, J types of job."""

    needs: Ints
    """(K,) stage that a job must have reached before the tool can be called."""
    gives: Ints
    """(K,) stage that it has reached after a success."""
    chance: Floats
    """(B, K, J) of success, before it drifts."""
    period: Floats
    """(B, K) calls."""
    phase: Floats
    """(B, K) in periods."""
    cost: Floats
    """(B, K) of one call."""
    latency: Floats
    """(B, K) mean time of one call."""
    quality: Floats
    """(B, K) worth of the whole job, were it done by this tool alone."""


class Settings(NamedTuple):
    """What all tasks share."""

    stages: int
    job_types: int
    drift: float
    latency_price: float


@kernel()
def chance_at(tools: Tools, settings: Settings, row: int, tool: int, job: int, clock: int) -> float:
    """Chance that a tool succeeds, where its stage is reached."""
    swing = math.sin(2.0 * math.pi * (clock / tools.period[row, tool] + tools.phase[row, tool]))
    chance: float = tools.chance[row, tool, job] + settings.drift * swing
    return min(max(chance, LOWEST_CHANCE), HIGHEST_CHANCE)


@kernel()
def value_call(
    tools: Tools, settings: Settings, future: Floats, row: int, tool: int, stage: int, job: int, clock: int
) -> float:
    """Expected return of one call and of what follows it: ``future`` (S, J) holds the values after the call."""
    value: float = future[stage, job] - tools.cost[row, tool] - settings.latency_price * tools.latency[row, tool]
    gives = tools.gives[tool]
    if tools.needs[tool] > stage or gives <= stage:
        return value
    gain = tools.quality[row, tool] * (gives - stage) / settings.stages
    after = future[0].mean() if gives == settings.stages else future[gives, job]
    value += chance_at(tools, settings, row, tool, job, clock) * (gain + after - future[stage, job])
    return value


@kernel()
def best_call(tools: Tools, settings: Settings, future: Floats, row: int, stage: int, job: int, clock: int) -> int:
    """The first of the tools whose call is worth most."""
    best, most = 0, -math.inf
    for tool in range(len(tools.needs)):
        value = value_call(tools, settings, future, row, tool, stage, job, clock)
        if value > most:
            best, most = tool, value
    return best


@kernel()
def plan_calls(
    rows: Rows, tools: Tools, settings: Settings, clock: Ints, stage: Ints, job: Ints, values: Floats, expected: Floats
) -> None:
    """Fill ``values`` (B, H + 1, S, J) backwards from 0, and ``expected`` (B, H + 1) forwards from where rows are."""
    horizon, n_stages, n_types = values.shape[1] - 1, settings.stages, settings.job_types
    for row in rows:
        values[row, horizon] = 0.0
        for t in range(horizon - 1, -1, -1):
            future, now = values[row, t + 1], clock[row] + t
            for s in range(n_stages):
                for j in range(n_types):
                    tool = best_call(tools, settings, future, row, s, j, now)
                    values[row, t, s, j] = value_call(tools, settings, future, row, tool, s, j, now)
        share = np.zeros((n_stages, n_types))  # of the oracle's jobs that are at each stage, by type
        share[stage[row], job[row]] = 1.0
        expected[row, 0] = 0.0
        for t in range(horizon):
            expected[row, t + 1] = values[row, 0, stage[row], job[row]]
            after = np.zeros((n_stages, n_types))
            for s in range(n_stages):
                for j in range(n_types):
                    if share[s, j] > 0.0:
                        tool = best_call(tools, settings, values[row, t + 1], row, s, j, clock[row] + t)
                        _spread(tools, settings, after, share[s, j], row, tool, s, j, clock[row] + t)
            share = after
            expected[row, t + 1] -= (share * values[row, t + 1]).sum()  # what is earned later


@kernel()
def _spread(
    tools: Tools, settings: Settings, after: Floats, share: float, row: int, tool: int, s: int, j: int, clock: int
) -> None:
    """Add the share of jobs at one stage to where they are after a call."""
    gives = tools.gives[tool]
    chance = chance_at(tools, settings, row, tool, j, clock) if tools.needs[tool] <= s and s < gives else 0.0
    after[s, j] += share * (1.0 - chance)
    if gives < settings.stages:
        after[gives, j] += share * chance
    else:
        after[0] += share * chance / settings.job_types


@kernel()
def value_calls(
    tools: Tools,
    settings: Settings,
    plan: Floats,
    clock: Ints,
    planned: Ints,
    stage: Ints,
    job: Ints,
    values: Floats,
) -> None:
    """Write the values (B, K) of all tools' calls."""
    for row in range(len(values)):
        future = plan[row, planned[row] + 1]
        for tool in range(values.shape[1]):
            values[row, tool] = value_call(tools, settings, future, row, tool, stage[row], job[row], clock[row])


@kernel()
def call_tools(
    actions: Ints,
    streams: Streams,
    tools: Tools,
    settings: Settings,
    clock: Ints,
    stage: Ints,
    job: Ints,
    success: NDArray[np.bool_],
    price: Floats,
) -> None:
    """Call one tool of each row: writes whether it succeeded, its price, and where the job is then."""
    for i in range(len(actions)):
        tool, s = actions[i], stage[i]
        latency = tools.latency[i, tool] * (0.5 + uniform_at(streams, i))
        price[i] = tools.cost[i, tool] + settings.latency_price * latency
        success[i] = False
        gives = tools.gives[tool]
        if tools.needs[tool] > s or gives <= s:
            continue
        if uniform_at(streams, i) < chance_at(tools, settings, i, tool, job[i], clock[i]):
            success[i] = True
            stage[i] = gives
            if gives == settings.stages:
                stage[i], job[i] = 0, integer_at(streams, i, settings.job_types)
