"""Play a fixed list of episodes with one agent, in many copies of an environment at once.

Which episodes are played never depends on how long they last: every job (task, seed) is played to its
end exactly once. Stopping after so many episodes of a batch would favour the short ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from agents.protocol import Agent
from rl_suite.errors import NonFiniteError
from rl_suite.evaluation.adapters import takes_masks
from rl_suite.finite import bad_row
from rl_suite.registered import find_spec
from rl_suite.trust import check_options
from rl_suite.vec_env import BATCHED

Batch = VectorEnv[Any, Any, Any]
OnEpisode = Callable[[int], None]  # called with the number of finished episodes

CURVES = ("episode_return", "episode_optimal_return")  # what a trial tells when one of its episodes is done


@dataclass(frozen=True)
class Jobs:
    """The episodes to play."""

    seeds: NDArray[np.int64]  # (J,) one seed per episode
    tasks: NDArray[np.int64] | None  # (J,) the task of each, for worlds whose tasks can be chosen


@dataclass
class Episodes:
    """What came of J episodes, in the order of their jobs."""

    returns: NDArray[np.float64]  # (J,)
    lengths: NDArray[np.int64]  # (J,)
    last_infos: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Numbers of each episode's last info, (J,) or (J, n); NaN where an episode did not report them."""
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Of trials: ``CURVES`` of each of their K episodes, (J, K); NaN where a trial had fewer. Otherwise empty."""


def make_batch(env_id: str, num_envs: int, max_episode_steps: int | None = None, **options: Any) -> Batch:
    """Make ``num_envs`` copies of any registered environment, which the caller resets one by one.

    Worlds of this project run as one batch. All others run one after the other in a ``SyncVectorEnv``,
    even if they have a batch of their own: only then can every episode have its own seed.
    """
    if max_episode_steps is not None:
        options["max_episode_steps"] = max_episode_steps
    spec = find_spec(env_id)
    check_options(spec, options)
    if spec.vector_entry_point == BATCHED:
        return gym.make_vec(spec.id, num_envs=num_envs, **options)
    never = {"autoreset_mode": AutoresetMode.DISABLED}
    return gym.make_vec(spec.id, num_envs=num_envs, vectorization_mode="sync", vector_kwargs=never, **options)


def play(
    agent: Agent, env: Batch, jobs: Jobs, deterministic: bool = True, on_episode: OnEpisode | None = None
) -> Episodes:
    """Play every job once; an environment that has finished one takes the next in the list.

    The agent's memory is handed back to it untouched, and ``episode_start`` tells it which rows begin anew.
    Agents whose ``predict`` takes ``action_masks``, as that of MaskablePPO, receive those of the environment.

    Raises:
        NonFiniteError: a reward or an observation is NaN or infinite.
        ValueError: the environment resets in a way that loses first or last observations, or the agent
            returns a wrong number of actions.
    """
    if env.metadata.get("autoreset_mode") not in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        raise ValueError(f"{env} must reset in the same step or not at all (metadata['autoreset_mode'])")
    total, width = len(jobs.seeds), env.num_envs
    episodes, marks = Episodes(np.full(total, np.nan), np.zeros(total, dtype=np.int64)), EpisodeMarks()
    wants_masks = takes_masks(agent)
    job = np.arange(width) % total  # (B,) what each row plays
    counted = np.arange(width) < total  # (B,) False: the row only keeps the batch full
    waiting, finished = width, 0
    sums, steps = np.zeros(width), np.zeros(width, dtype=np.int64)  # (B,)
    observations = _reset(env, jobs, job, np.ones(width, dtype=np.bool_))
    state, starts = None, np.ones(width, dtype=np.bool_)
    while finished < total:
        masks = {"action_masks": action_masks(env)} if wants_masks else {}
        actions, state = agent.predict(
            observations, state=state, episode_start=starts, deterministic=deterministic, **masks
        )
        if np.shape(actions)[:1] != (width,):
            raise ValueError(f"the agent returned actions of shape {np.shape(actions)} for {width} environments")
        observations, rewards, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        sums += rewards
        steps += 1
        if not np.isfinite(sums[counted]).all():
            row = int(np.flatnonzero(counted & ~np.isfinite(sums))[0])
            raise NonFiniteError(f"the reward of episode {job[row]} is {rewards[row]} at its step {steps[row]}")
        _require_finite(observations, counted, job, steps)
        last = infos.get("final_info", infos)
        marks.note(infos, counted & ~ended, job)
        starts = ended
        if not ended.any():
            continue
        marks.note(last, counted & ended, job)
        done = np.flatnonzero(ended & counted)
        episodes.returns[job[done]], episodes.lengths[job[done]] = sums[done], steps[done]
        _keep_infos(episodes.last_infos, last, done, job[done], total)
        finished += len(done)
        if on_episode is not None:
            on_episode(finished)
        for row in np.flatnonzero(ended).tolist():
            job[row], counted[row] = waiting % total, waiting < total
            waiting += 1
        sums[ended], steps[ended] = 0.0, 0
        if finished < total:
            observations = _reset(env, jobs, job, ended)
    episodes.curves = marks.curves(total)
    return episodes


class EpisodeMarks:
    """Collects what trials say about the episodes inside them, as they end."""

    def __init__(self) -> None:
        self._cells: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._values: dict[str, list[NDArray[np.float64]]] = {}

    def note(self, infos: Mapping[str, Any], rows: NDArray[np.bool_], job: NDArray[np.int64]) -> None:
        """Look for ended episodes in ``rows`` (B,) of one step's infos; worlds that are no trials say nothing."""
        if "episode_done" not in infos or not (ending := rows & infos["episode_done"].astype(np.bool_)).any():
            return
        self._cells.append((job[ending], infos["episode_index"][ending]))
        for name in CURVES:
            if name in infos:
                self._values.setdefault(name, []).append(infos[name][ending])

    def curves(self, total: int) -> dict[str, NDArray[np.float64]]:
        """Each of ``CURVES`` that was told, (total, K)."""
        if not self._cells:
            return {}
        jobs, episodes = (np.concatenate(parts) for parts in zip(*self._cells, strict=True))
        arrays = {}
        for name, values in self._values.items():
            arrays[name] = np.full((total, int(episodes.max()) + 1), np.nan)
            arrays[name][jobs, episodes] = np.concatenate(values)
        return arrays


def action_masks(env: Batch) -> NDArray[np.bool_] | None:
    """Allowed actions of every copy, (B, n), from the batch or from its single environments; None without masks."""
    if not isinstance(env.single_action_space, spaces.Discrete | spaces.MultiDiscrete):
        return None
    batch = env.unwrapped
    if hasattr(batch, "action_masks"):
        masks: NDArray[np.bool_] = batch.action_masks()
        return masks
    if isinstance(batch, SyncVectorEnv) and all(copy.has_wrapper_attr("action_masks") for copy in batch.envs):
        return np.stack(batch.call("action_masks"))
    return None


def _reset(env: Batch, jobs: Jobs, job: NDArray[np.int64], rows: NDArray[np.bool_]) -> Any:
    """Start in ``rows`` the episodes that ``job`` names, each from its own seed."""
    options: dict[str, Any] = {"reset_mask": rows}
    if jobs.tasks is not None:
        options["task"] = jobs.tasks[job]
    seeds = [int(seed) if row else None for seed, row in zip(jobs.seeds[job], rows, strict=True)]
    observations, _ = env.reset(seed=seeds, options=options)  # type: ignore[arg-type]
    _require_finite(observations, rows, job, np.zeros(len(job), dtype=np.int64))
    return observations


def _require_finite(
    observations: Any, rows: NDArray[np.bool_], job: NDArray[np.int64], steps: NDArray[np.int64]
) -> None:
    """Raise a ``NonFiniteError`` if an observation that counts holds NaN or infinity."""
    found = bad_row(observations, rows)
    if found is not None:
        key, row = found
        raise NonFiniteError(
            f"observation{key} of environment {row} is not finite at step {steps[row]} of episode {job[row]}"
        )


def _keep_infos(
    kept: dict[str, NDArray[np.float64]],
    infos: Mapping[str, Any],
    rows: NDArray[np.int64],
    jobs: NDArray[np.int64],
    total: int,
) -> None:
    """Copy the numbers of ``infos`` that belong to ``rows`` into the episodes ``jobs``."""
    for name, values in infos.items():
        mask = infos.get("_" + name)
        if name.startswith("_") or not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            continue
        present = np.ones(len(rows), dtype=np.bool_) if mask is None else np.asarray(mask)[rows]
        if values.ndim > 2 or not present.any():
            continue
        if name not in kept:
            kept[name] = np.full((total, *values.shape[1:]), np.nan)
        kept[name][jobs[present]] = values[rows[present]]
