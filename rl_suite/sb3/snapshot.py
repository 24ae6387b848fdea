"""Everything that the future of an SB3 training run depends on, taken out and put back.

``model.save`` keeps the network and the optimizer. A run that continues bit for bit also needs the
environments, the running statistics, the last observation, the replay buffer and the random states.
The snapshot must be taken at the start of a rollout, when no rollout is half full.
"""

from collections import deque
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor, VecNormalize

from rl_suite.sb3.snapshot_check import (
    COUNTERS,
    LAST,
    check_counters,
    check_episodes,
    check_last,
    check_memory,
    check_normalization,
    check_optimizer,
    check_replay,
    check_variable,
    require_like,
)
from rl_suite.seeding import get_random_state, set_random_state

REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def snapshot(model: BaseAlgorithm) -> dict[str, Any]:
    """Nested dicts of tensors, arrays and plain values, ready for ``save_checkpoint``."""
    assert model.env is not None
    assert model.ep_info_buffer is not None
    assert model.ep_success_buffer is not None
    return {
        "parameters": model.get_parameters(),
        "variables": {name: variable.detach() for name, variable in learned_variables(model).items()},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "last": {name: getattr(model, name) for name in LAST if getattr(model, name, None) is not None},
        "memory": _recurrent_memory(model),
        "episodes": list(model.ep_info_buffer),
        "successes": [bool(success) for success in model.ep_success_buffer],
        "replay": _get_replay(model),
        "envs": _get_env_state(model.env),
        "random": get_random_state(),
        "exploration": model.action_space.np_random.bit_generator.state,
    }


def restore(model: BaseAlgorithm, content: dict[str, Any]) -> bool:
    """Put a snapshot into a freshly built model; returns whether the environments could continue too.

    Environments without ``get_state`` start new episodes instead.

    Raises:
        ValueError: a part does not fit the model; its name is in the message. KeyError, TypeError and
            RuntimeError come from parts that are missing or no snapshot at all.
    """
    assert model.env is not None
    window = model._stats_window_size
    _check(model, content)
    model.set_parameters(content["parameters"], exact_match=True, device=model.device)
    check_optimizer(model)
    for name, variable in learned_variables(model).items():
        variable.data.copy_(content["variables"][name])
    for name, value in content["counters"].items():
        setattr(model, name, value)
    model.ep_info_buffer = deque(content["episodes"], maxlen=window)
    model.ep_success_buffer = deque(content["successes"], maxlen=window)
    _set_replay(model, content["replay"])
    continued = _set_env_state(model.env, content["envs"])
    if continued:
        for name, value in content["last"].items():
            setattr(model, name, value)
        if content["memory"] is not None:
            tensors = [tensor.to(model.device) for tensor in content["memory"]]
            model._last_lstm_states = RNNStates(tuple(tensors[:2]), tuple(tensors[2:]))  # type: ignore[attr-defined]
    set_random_state(content["random"])
    model.action_space.np_random.bit_generator.state = content["exploration"]
    return continued


def _check(model: BaseAlgorithm, content: dict[str, Any]) -> None:
    """Refuse a snapshot of which a part does not fit; parameters and worlds are checked by what takes them."""
    for name, variable in learned_variables(model).items():
        check_variable(name, content["variables"].get(name), variable)
    check_counters(content["counters"])
    check_episodes(content["episodes"], content["successes"])
    check_replay(model, content["replay"], REPLAY_ARRAYS)
    states, env, normalized = content["envs"], model.env, False
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            check_normalization(env, states["normalization"])
            normalized |= env.norm_obs
        elif isinstance(env, VecMonitor) and states["world"] is not None:
            for name, now in (("returns", env.episode_returns), ("lengths", env.episode_lengths)):
                require_like(f"monitor.{name}", states["monitor"][name], now)
        env = env.venv
    if states["world"] is not None:
        check_last(model, content["last"], normalized)
        check_memory(model, content["memory"])


def learned_variables(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """Tensors outside the networks, such as SAC's weight of the entropy, which ``get_parameters`` forgets."""
    _, names = model._get_torch_save_params()
    return {name: getattr(model, name) for name in names}


def _recurrent_memory(model: BaseAlgorithm) -> list[torch.Tensor] | None:
    memory = getattr(model, "_last_lstm_states", None)
    return None if memory is None else [*memory.pi, *memory.vf]


def _get_replay(model: BaseAlgorithm) -> dict[str, Any] | None:
    buffer = getattr(model, "replay_buffer", None)
    if not isinstance(buffer, ReplayBuffer):
        return None
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: _first(getattr(buffer, name), filled) for name in REPLAY_ARRAYS if hasattr(buffer, name)}
    return {"pos": buffer.pos, "full": buffer.full, "arrays": arrays}


def _first(value: Any, n: int) -> Any:
    return {key: item[:n] for key, item in value.items()} if isinstance(value, dict) else value[:n]


def _set_replay(model: BaseAlgorithm, content: dict[str, Any] | None) -> None:
    if content is None:
        return
    buffer: Any = model.replay_buffer  # type: ignore[attr-defined]
    buffer.pos, buffer.full = content["pos"], content["full"]
    for name, value in content["arrays"].items():
        target = getattr(buffer, name)
        if isinstance(value, dict):
            for key, item in value.items():
                target[key][: len(item)] = item
        else:
            target[: len(value)] = value


def _get_statistics(statistics: RunningMeanStd) -> dict[str, Any]:
    return {"mean": statistics.mean, "var": statistics.var, "count": statistics.count}


def _set_statistics(statistics: RunningMeanStd, content: dict[str, Any]) -> None:
    statistics.mean, statistics.var = np.asarray(content["mean"]), np.asarray(content["var"])
    statistics.count = content["count"]


def get_normalization(env: VecNormalize) -> dict[str, Any]:
    """Running statistics of a ``VecNormalize``, with the returns that SB3's own pickling forgets."""
    observation: Any = env.obs_rms if env.norm_obs else None
    if isinstance(observation, dict):
        observation = {key: _get_statistics(value) for key, value in observation.items()}
    elif observation is not None:
        observation = _get_statistics(observation)
    return {"observation": observation, "return": _get_statistics(env.ret_rms), "returns": env.returns}


def set_normalization(env: VecNormalize, content: dict[str, Any]) -> None:
    """Put back what :func:`get_normalization` returned; the number of environments may differ."""
    observation: Any = content["observation"]
    if observation is not None:
        if isinstance(env.obs_rms, dict):
            for key, value in observation.items():
                _set_statistics(env.obs_rms[key], value)
        else:
            _set_statistics(env.obs_rms, observation)
    _set_statistics(env.ret_rms, content["return"])
    if len(content["returns"]) == env.num_envs:
        env.returns = content["returns"]


def _get_env_state(env: VecEnv) -> dict[str, Any]:
    """States of all wrappers by class name, and of the environments themselves."""
    states: dict[str, Any] = {}
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            states["normalization"] = get_normalization(env)
        elif isinstance(env, VecMonitor):
            states["monitor"] = {"returns": env.episode_returns, "lengths": env.episode_lengths}
        env = env.venv
    states["world"] = env.get_state() if hasattr(env, "get_state") else None
    return states


def _set_env_state(env: VecEnv, states: dict[str, Any]) -> bool:
    continued = states["world"] is not None
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            set_normalization(env, states["normalization"])
        elif isinstance(env, VecMonitor) and continued:
            env.episode_returns, env.episode_lengths = states["monitor"]["returns"], states["monitor"]["lengths"]
        env = env.venv
    if continued:
        env.set_state(states["world"])  # type: ignore[attr-defined]
    return continued
