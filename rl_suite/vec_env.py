"""Gymnasium's batched environments for stable-baselines3.

SB3 trains on its own ``VecEnv`` and refuses Gymnasium's ``VectorEnv``. ``SB3VecEnv`` shows one as the
other without ever splitting the batch, and ``make_vec_env`` picks the fastest way to make any id.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from rl_suite.registered import find_spec
from rl_suite.trust import check_options

BATCHED = "envs.batch:BatchEnv"  # the vector entry point of all our worlds


def make_vec_env(
    env_id: str,
    num_envs: int,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    info_keys: Sequence[str] = (),
    **options: Any,
) -> VecEnv:
    """Make ``num_envs`` copies of any registered environment for SB3, without monitor or other wrappers.

    Worlds of this project run as one batch; any other id runs in SB3's ``DummyVecEnv``.

    Args:
        env_id: a Gymnasium id, with or without the prefix ``module:``.
        num_envs: number of copies.
        max_episode_steps: steps until truncation; None keeps the registered number.
        render_mode: as for ``gymnasium.make``.
        info_keys: entries of ``info`` that every step of a batched world shall report (see :class:`SB3VecEnv`).
        options: passed to the environment.

    Raises:
        gymnasium.error.Error: no such id.
        ValueError: ``num_envs`` is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}")
    if max_episode_steps is not None:
        options["max_episode_steps"] = max_episode_steps
    if render_mode is not None:  # not every environment knows the argument
        options["render_mode"] = render_mode
    spec = find_spec(env_id)
    check_options(spec, options)
    if spec.vector_entry_point == BATCHED:
        return SB3VecEnv(gym.make_vec(spec.id, num_envs=num_envs, **options), info_keys)
    make: Callable[[], gym.Env[Any, Any]] = lambda: gym.make(spec.id, **options)  # noqa: E731
    return DummyVecEnv([make] * num_envs)


class SB3VecEnv(VecEnv):
    """A Gymnasium ``VectorEnv`` with autoreset ``SAME_STEP``, as an SB3 ``VecEnv``.

    SB3 wants one info dictionary per copy and step. To build a thousand full ones would cost more than
    the step itself, so that only copies whose episode ends get theirs: all entries of its last info,
    ``terminal_observation`` and ``TimeLimit.truncated``. ``info_keys`` names entries for every step.

    Args:
        env: the batch.
        info_keys: entries of ``info`` that are reported at every step, not only where an episode ends.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], info_keys: Sequence[str] = ()):
        if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise ValueError(f"{env} must reset in the same step: metadata['autoreset_mode'] = AutoresetMode.SAME_STEP")
        self.env, self.info_keys = env, tuple(info_keys)
        self._actions: Any = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start episodes everywhere, with the seeds and options that ``seed`` and ``set_options`` left."""
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        observations, infos = self.env.reset(seed=seeds, options=self._merged_options())  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _row_infos(infos, np.arange(self.num_envs))
        return observations  # type: ignore[no-any-return]

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step the batch; rewards are float32, as everywhere in SB3."""
        observations, rewards, terminated, truncated, batch_infos = self.env.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for key in self.info_keys:
            for info, value in zip(infos, _items(batch_infos[key]), strict=True):
                info[key] = value
        dones = terminated | truncated
        if "final_obs" in batch_infos:
            ended = np.flatnonzero(dones)
            last = {"terminal_observation": batch_infos["final_obs"], "TimeLimit.truncated": truncated & ~terminated}
            for row, info in zip(ended.tolist(), _row_infos({**batch_infos["final_info"], **last}, ended), strict=True):
                infos[row] = info
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close the batch."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the batch or of its world; arrays with one entry per copy are dealt out."""
        return self._deal(getattr(self._owner(attr_name), attr_name), indices)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute for the whole batch; it has no separate copies."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError("the copies of a batch share their attributes: set_attr needs indices=None")
        owner = self._owner(attr_name) if self.has_attr(attr_name) else self.env
        setattr(owner, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Call a method once for the whole batch and deal its result out, as ``action_masks`` (B, n)."""
        method = getattr(self._owner(method_name), method_name)
        return self._deal(method(*args, **kwargs), indices)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Never: a batch has no single environments that could be wrapped."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One picture per copy."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        images: Any = self.env.render()
        return list(images)

    def get_state(self) -> dict[str, Any]:
        """All that the future of the batch depends on."""
        return self._state_keeper().get_state()  # type: ignore[no-any-return]

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`get_state` returned."""
        self._state_keeper().set_state(state)

    def _state_keeper(self) -> Any:
        return self.env.unwrapped

    def _owner(self, name: str) -> Any:
        for owner in (self.env, self.env.unwrapped, getattr(self.env.unwrapped, "world", None)):
            if hasattr(owner, name):
                return owner
        raise AttributeError(f"neither {self.env} nor its world has {name!r}")

    def _deal(self, value: Any, indices: VecEnvIndices) -> list[Any]:
        rows = list(self._get_indices(indices))
        if isinstance(value, np.ndarray | list | tuple) and len(value) == self.num_envs:
            return [value[row] for row in rows]
        return [value] * len(rows)

    def _merged_options(self) -> dict[str, Any] | None:
        """One dictionary for the batch; options that differ between the copies become arrays."""
        first = self._options[0]
        if any(options.keys() != first.keys() for options in self._options):
            raise ValueError("the options of all copies must have the same names")
        if all(options == first for options in self._options):
            return dict(first) or None
        return {key: np.array([options[key] for options in self._options]) for key in first}


def _row_infos(batch_infos: dict[str, Any], rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """One dictionary for each of ``rows`` from Gymnasium's arrays; an entry's mask, where it has one, is obeyed."""
    names = [name for name, value in batch_infos.items() if isinstance(value, np.ndarray) and not name.startswith("_")]
    masks = [batch_infos["_" + name][rows] for name in names if "_" + name in batch_infos]
    columns = [_items(batch_infos[name][rows]) for name in names]
    if all(mask.all() for mask in masks):
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] or [{} for _ in rows]
    infos: list[dict[str, Any]] = [{} for _ in rows]
    for name, column in zip(names, columns, strict=True):
        present = batch_infos["_" + name][rows] if "_" + name in batch_infos else np.ones(len(rows), dtype=np.bool_)
        for info, value, is_present in zip(infos, column, present, strict=True):
            if is_present:
                info[name] = value
    return infos


def _items(column: NDArray[Any]) -> Iterator[Any]:
    """Python numbers of a flat array, rows of any other."""
    return iter(column.tolist() if column.ndim == 1 else column)
