"""``model.zip`` for users of plain stable-baselines3, and the statistics that its observations were normalised with.

::

    model = PPO.load("runs/darkroom/0/model.zip")
    env = load_normalization("runs/darkroom/0/normalization.npz", make_vec_env("Pendulum-v1", 8))
    evaluate_policy(model, env)

SB3 keeps such statistics in a pickle of their own; here they are an npz file of plain arrays.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from rl_suite.checkpoint import write_atomically
from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.reading import parse_arrays, read_bytes
from rl_suite.run import Run

MODEL, STATISTICS = "model.zip", "normalization.npz"
PARTS = ("mean", "var", "count")


def export_for_sb3(model: BaseAlgorithm, run: Run) -> None:
    """Write ``model.zip``, and first the statistics that it needs where observations are normalised."""
    env = model.get_vec_normalize_env()
    if env is not None and env.norm_obs:
        save_normalization(env, run.path / STATISTICS)
        how = f"rl_suite.sb3.load_normalization({str(run.path / STATISTICS)!r}, env)"
        show(f"{run.path / MODEL} acts on normalised observations: env = {how}")
    buffer = io.BytesIO()
    model.save(buffer)
    write_atomically(run.path / MODEL, buffer.getvalue())


def save_normalization(env: VecNormalize, path: Path) -> None:
    """Write mean, variance and count of all observations that ``env`` normalises, whole or not at all."""
    arrays: dict[str, Any] = {"clip": env.clip_obs, "epsilon": env.epsilon}
    for key, statistics in _by_key(env).items():
        arrays |= {f"{part} {key}": getattr(statistics, part) for part in PARTS}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def load_normalization(path: Path | str, env: VecEnv) -> VecNormalize:
    """``env`` with observations normalised as in training; the statistics no longer change, rewards stay as they are.

    Raises:
        UserError: no such file, or statistics of other observations.
    """
    path = Path(path)
    arrays = parse_arrays(read_bytes(path), path)
    names = sorted(name.removeprefix("mean ") for name in arrays if name.startswith("mean "))
    try:
        keys = None if names == [""] else names
        wrapped = VecNormalize(env, training=False, norm_reward=False, norm_obs_keys=keys)
        wrapped.clip_obs, wrapped.epsilon = (float(arrays[name]) for name in ("clip", "epsilon"))
        fill(wrapped, arrays)
    except (KeyError, ValueError, TypeError, AssertionError, AttributeError) as error:
        raise UserError(f"{path}: not the statistics of these observations: {str(error)[:200]}") from None
    return wrapped


def fill(env: VecNormalize, arrays: dict[str, NDArray[Any]]) -> None:
    """Put the statistics of a file into ``env``; raises KeyError or ValueError where they do not fit."""
    for key, statistics in _by_key(env).items():
        mean, var, count = (arrays[f"{part} {key}"].astype(np.float64) for part in PARTS)
        if mean.shape != statistics.mean.shape or var.shape != mean.shape or count.shape != ():
            raise ValueError(f"shapes {mean.shape}, {var.shape} instead of {statistics.mean.shape}")
        if not (np.isfinite(mean).all() and np.isfinite(var).all() and (var >= 0).all() and np.isfinite(count)):
            raise ValueError("they hold NaN, infinity or a negative variance")
        statistics.mean, statistics.var, statistics.count = mean, var, float(count)


def _by_key(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """Statistics by entry of a Dict observation; under the empty name that of a Box."""
    return env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}
