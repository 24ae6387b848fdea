"""Which snapshots may be put into a model: everything has the names, types, shapes and ranges that the model has now.

A checkpoint may come from a stranger; what does not fit is refused before any of it is used.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
)
LAST = ("_last_obs", "_last_original_obs", "_last_episode_starts")
LARGEST_COUNT = 2**53


def require_names(what: str, found: Any, allowed: Iterable[str], exactly: bool = False) -> None:
    """Refuse what is no mapping with (some of) these names."""
    names = set(allowed)
    if not isinstance(found, Mapping) or not set(found) <= names or (exactly and set(found) != names):
        raise ValueError(f"{what} must hold {', '.join(sorted(names))}")


def require_like(what: str, value: Any, like: Any) -> None:
    """Refuse an array that has not the shape and type of ``like``; dictionaries of arrays are compared one by one."""
    if isinstance(like, Mapping):
        require_names(what, value, like, exactly=True)
        for key, item in like.items():
            require_like(f"{what}.{key}", value[key], item)
    elif not isinstance(value, np.ndarray) or value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(f"{what} must be {like.dtype} of shape {like.shape}")


def check_counters(counters: Any) -> None:
    """Numbers of steps, updates and episodes."""
    require_names("counters", counters, COUNTERS)
    for name, value in counters.items():
        if not _is_number(value, -LARGEST_COUNT):
            raise ValueError(f"counters.{name} must be a finite number")


def check_episodes(episodes: Any, successes: Any) -> None:
    """What the monitor has kept of the last episodes."""
    if not isinstance(episodes, list) or not isinstance(successes, list):
        raise ValueError("the last episodes must be lists")
    for episode in episodes:
        if not isinstance(episode, Mapping) or not {"r", "l"} <= set(episode):
            raise ValueError("an episode must hold its return 'r' and its length 'l'")
        if not all(_is_number(episode[key], -LARGEST_COUNT) for key in ("r", "l")):
            raise ValueError("return and length of an episode must be finite numbers")


def check_last(model: BaseAlgorithm, last: Any, normalized: bool) -> None:
    """The observations from which the next rollout starts, and where episodes start with them."""
    require_names("last", last, LAST)
    if "_last_episode_starts" in last:
        require_like("_last_episode_starts", last["_last_episode_starts"], np.zeros(model.n_envs, dtype=np.bool_))
    for name in set(LAST[:2]) & set(last):
        raw = name == "_last_original_obs" or not normalized
        _check_observations(name, last[name], model.observation_space, model.n_envs, raw)


def _check_observations(what: str, value: Any, space: Any, n_envs: int, raw: bool) -> None:
    if isinstance(space, spaces.Dict):
        require_names(what, value, space.spaces, exactly=True)
        for key, part in space.spaces.items():
            _check_observations(f"{what}.{key}", value[key], part, n_envs, raw)
        return
    if not isinstance(value, np.ndarray) or value.shape != (n_envs, *space.shape) or value.dtype.kind not in "biuf":
        raise ValueError(f"{what} must be numbers of shape {(n_envs, *space.shape)}")
    if not np.isfinite(value).all() or (raw and not all(row in space for row in value)):
        raise ValueError(f"{what} holds what no observation can be")


def check_variable(name: str, value: Any, like: torch.Tensor) -> None:
    """A tensor that is learned outside the networks."""
    if not _same_tensor(value, like):
        raise ValueError(f"variables.{name} must be finite {like.dtype} of shape {tuple(like.shape)}")


def check_memory(model: BaseAlgorithm, memory: Any) -> None:
    """The hidden states of a recurrent policy."""
    now = getattr(model, "_last_lstm_states", None)
    if (now is None) != (memory is None):
        raise ValueError("the memory belongs to another kind of policy")
    if now is not None:
        expected = [*now.pi, *now.vf]
        fits = isinstance(memory, list) and len(memory) == len(expected)
        if not fits or any(not _same_tensor(a, b) for a, b in zip(memory, expected, strict=True)):
            raise ValueError("the memory does not fit the policy's")


def check_replay(model: BaseAlgorithm, content: Any, names: tuple[str, ...]) -> None:
    """The filled part of the replay buffer."""
    buffer: Any = getattr(model, "replay_buffer", None)
    if (buffer is None) != (content is None):
        raise ValueError("the replay buffer belongs to another kind of algorithm")
    if buffer is None:
        return
    require_names("replay", content, ("pos", "full", "arrays"), exactly=True)
    pos, full = content["pos"], content["full"]
    if type(pos) is not int or type(full) is not bool or not 0 <= pos < max(buffer.buffer_size, 1):
        raise ValueError(f"replay.pos must be in 0..{buffer.buffer_size - 1}")
    filled = buffer.buffer_size if full else pos
    now = {name: getattr(buffer, name) for name in names if hasattr(buffer, name)}
    first = {
        name: {key: part[:filled] for key, part in value.items()} if isinstance(value, dict) else value[:filled]
        for name, value in now.items()
    }
    require_like("replay", content["arrays"], first)


def check_statistics(what: str, content: Any, now: RunningMeanStd) -> None:
    """Mean, variance and count of what is normalised."""
    require_names(what, content, ("mean", "var", "count"), exactly=True)
    for name in ("mean", "var"):
        value = np.asarray(content[name])
        if value.dtype.kind != "f" or value.shape != np.shape(now.mean) or not np.isfinite(value).all():
            raise ValueError(f"{what}.{name} must be finite numbers of shape {np.shape(now.mean)}")
    if (np.asarray(content["var"]) < 0).any() or not _is_number(content["count"], 0):
        raise ValueError(f"{what}: variances and counts are never below 0")


def check_normalization(env: VecNormalize, content: Any) -> None:
    """Statistics of observations and returns."""
    require_names("normalization", content, ("observation", "return", "returns"), exactly=True)
    observation: Any = content["observation"]
    now: Any = env.obs_rms if env.norm_obs else None
    if (observation is None) != (now is None):
        raise ValueError("normalization.observation must stand where observations are normalised, and nowhere else")
    if isinstance(now, dict):
        require_names("normalization.observation", observation, now, exactly=True)
        for key, statistics in now.items():
            check_statistics(f"normalization.observation.{key}", observation[key], statistics)
    elif now is not None:
        check_statistics("normalization.observation", observation, now)
    check_statistics("normalization.return", content["return"], env.ret_rms)
    returns = np.asarray(content["returns"])
    if returns.ndim != 1 or returns.dtype.kind != "f" or not np.isfinite(returns).all():
        raise ValueError("normalization.returns must be a finite number for each environment")


def check_optimizer(model: BaseAlgorithm) -> None:
    """After loading: what an optimizer remembers of a parameter has the parameter's shape; torch does not ask."""
    names, _ = model._get_torch_save_params()
    for name in names:
        owner: Any = model
        for part in name.split("."):
            owner = getattr(owner, part)
        for parameter, kept in getattr(owner, "state", {}).items() if isinstance(owner, torch.optim.Optimizer) else ():
            shapes = {value.shape for value in kept.values() if isinstance(value, torch.Tensor)}
            if not shapes <= {parameter.shape, torch.Size([])}:
                raise ValueError(f"{name} remembers other parameters than these")


def _is_number(value: Any, low: int) -> bool:
    """A number of Python or numpy from ``low`` to ``LARGEST_COUNT``; NaN is none."""
    return isinstance(value, int | float | np.number) and bool(low <= value <= LARGEST_COUNT)


def _same_tensor(value: Any, like: torch.Tensor) -> bool:
    return (
        isinstance(value, torch.Tensor)
        and value.shape == like.shape
        and value.dtype == like.dtype
        and bool(torch.isfinite(value).all())
    )
