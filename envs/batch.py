"""One batched core, two faces.

A ``World`` holds B copies of one environment as arrays and steps them together. ``SingleEnv`` shows a
batch of one as a ``gymnasium.Env``; ``BatchEnv`` shows the batch as a ``gymnasium.vector.VectorEnv``.
The same seed gives the same trajectory on both faces and for any B: row i of ``reset(seed=s)`` is the
single environment of ``reset(seed=s + i)``.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import autoreset_mode as read_mode
from envs.arguments import idle_actions, numbers, reset_options, step_limit
from envs.states import COUNT, FLAG, checked, copy_rows
from envs.streams import Rows, Streams, seed_stream
from envs.world import Info, Observation, State, World, check_render_mode, make_world, require_arrays

__all__ = ["BatchEnv", "Info", "Observation", "SingleEnv", "State", "World", "make_world"]

ANY_WORD = (0, 2**64)  # a stream may hold any 64 bits


class SingleEnv(gym.Env[Any, Any]):
    """A batch of one, as ``gym.make`` returns it. Truncation is left to Gymnasium's ``TimeLimit``."""

    metadata = World.metadata  # the world's own replaces it in the constructor

    def __init__(self, world: str | type[World], render_mode: str | None = None, **options: Any):
        self.world = make_world(world, 1, **options)
        check_render_mode(self.world, render_mode)
        self.metadata = self.world.metadata
        self.render_mode = render_mode
        self.observation_space = self.world.observation_space
        self.action_space = self.world.action_space
        self._streams: Streams = np.zeros(1, dtype=np.uint64)
        self._seeded = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode on a new task; ``seed`` restarts the random stream."""
        options = reset_options(type(self.world).__name__, options, self.world.reset_options)
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self._streams[0] = seed_stream(self.np_random)
            self._seeded = True
        self.world.sample_tasks(self.world.all_rows, self._streams, options)
        self.world.start_episodes(self.world.all_rows, self._streams)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; the reward is a float and both flags are bools, as SB3 asks."""
        if not self._seeded:
            raise ResetNeeded("call reset() before the first step()")
        reward, terminated = self.world.step(numbers(action)[None], self._streams)
        return self._observation(), float(reward[0]), bool(terminated[0]), False, self._info()

    def render(self) -> Any:
        """Draw the present state in the mode chosen at construction."""
        return None if self.render_mode is None else self.world.render(0, self.render_mode)

    def action_masks(self) -> NDArray[np.bool_]:
        """Allowed actions (n,), as sb3-contrib's MaskablePPO asks for them."""
        mask: NDArray[np.bool_] = self.world.action_masks()[0]
        return mask

    def get_state(self) -> State:
        """All that the future depends on, as arrays and plain values."""
        generator = self.np_random.bit_generator.state
        return {"world": self.world.get_state(), "streams": self._streams.copy(), "generator": generator}

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        require_arrays(state, ("world", "streams", "generator"))
        streams = checked("streams", state["streams"], self._streams, ANY_WORD)
        self.world.set_state(state["world"])
        self._streams[...] = streams
        self._seeded = True
        self.np_random.bit_generator.state = state["generator"]

    def _observation(self) -> Any:
        observation = self.world.observe(self.world.all_rows)
        if isinstance(observation, dict):
            return {key: value[0] for key, value in observation.items()}
        if isinstance(self.observation_space, gym.spaces.Discrete):
            return observation[0].item()
        return observation[0]

    def _info(self) -> dict[str, Any]:
        info = self.world.info(self.world.all_rows)
        return {key: value.item(0) if value.ndim == 1 else value[0] for key, value in info.items()}


class BatchEnv(VectorEnv[Any, Any, Any]):
    """The batch itself, as ``gym.make_vec`` returns it; it truncates by itself.

    ``autoreset_mode`` says what happens where an episode ends. ``SAME_STEP``: the returned observation is the
    first of the next episode, and the last one of the old stands in ``infos["final_obs"]``. ``NEXT_STEP``, which
    some of Gymnasium's vector wrappers ask for: the next step ignores the row's action and returns its first
    observation. ``DISABLED``: ended rows must be reset by ``options["reset_mask"]``.
    """

    def __init__(
        self,
        world: str | type[World],
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **options: Any,
    ):
        self.max_episode_steps = step_limit(max_episode_steps)
        self.autoreset_mode = read_mode(autoreset_mode)
        self.world = make_world(world, num_envs, **options)
        check_render_mode(self.world, render_mode)
        self.metadata = {**self.world.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = self.world.observation_space
        self.single_action_space = self.world.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._streams: Streams = np.zeros(num_envs, dtype=np.uint64)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._waiting = np.ones(num_envs, dtype=np.bool_)  # for a reset
        self._seeded = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes on new tasks, in all rows or in those of ``options["reset_mask"]``."""
        options = reset_options(type(self.world).__name__, options, (*self.world.reset_options, "reset_mask"))
        rows = self._rows_of(options.pop("reset_mask", None))
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            seed = [int(seed) + i for i in range(self.num_envs)]
        if seed is not None and len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds were given for {self.num_envs} environments")
        if not self._seeded:
            self._streams[:] = self.np_random.integers(0, 2**64, size=self.num_envs, dtype=np.uint64)
        if seed is not None:
            for row in rows:
                if seed[row] is not None:
                    self._streams[row] = seed_stream(seeding.np_random(seed[row])[0])
        self._seeded = True
        self._start(rows, options)
        infos: dict[str, Any] = {}
        self._add_masked(infos, self.world.info(rows), rows)
        return self.world.observe(self.world.all_rows), infos

    def step(
        self, actions: Any
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of every row; what becomes of rows whose episode ends is for ``autoreset_mode`` to say."""
        actions = numbers(actions)
        if actions.shape[:1] != (self.num_envs,):
            raise ValueError(f"actions must have {self.num_envs} rows, not shape {actions.shape}")
        resting = self._start_waiting()
        fresh = (self.world.get_state(), self._streams.copy()) if len(resting) else None
        rewards, terminated = self.world.step(self._legal(actions, resting), self._streams)
        self._elapsed += 1
        observations = self.world.observe(self.world.all_rows)
        infos: dict[str, Any] = {}
        self._add_masked(infos, self.world.info(self.world.all_rows), self.world.all_rows)
        if fresh is not None:
            self._put_back(resting, *fresh)
            terminated = terminated & ~np.isin(self.world.all_rows, resting)
            rewards[resting] = self._elapsed[resting] = 0
            self._show(resting, observations, infos)
        if self.max_episode_steps is None:
            truncated = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            truncated = self._elapsed >= self.max_episode_steps
        ended = terminated | truncated
        if ended.any():
            self._finish(ended, observations, infos)
        return observations, rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """One picture per row."""
        if self.render_mode is None:
            return None
        return tuple(self.world.render(row, self.render_mode) for row in range(self.num_envs))

    def action_masks(self) -> NDArray[np.bool_]:
        """Allowed actions of every row, (B, n)."""
        return self.world.action_masks()

    def get_state(self) -> State:
        """All that the future depends on, as arrays and plain values."""
        state = {
            "world": self.world.get_state(),
            "streams": self._streams.copy(),
            "elapsed": self._elapsed.copy(),
        }
        return state if self.autoreset_mode is AutoresetMode.SAME_STEP else {**state, "waiting": self._waiting.copy()}

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        require_arrays(state, ("world", "streams", "elapsed"))
        streams = checked("streams", state["streams"], self._streams, ANY_WORD)
        elapsed = checked("elapsed", state["elapsed"], self._elapsed, COUNT)
        nobody = np.zeros_like(self._waiting)
        waiting = checked("waiting", state.get("waiting", nobody), nobody, FLAG)
        self.world.set_state(state["world"])
        self._streams[...], self._elapsed[...], self._waiting[...] = streams, elapsed, waiting
        self._seeded = True

    def _start(self, rows: Rows, options: Mapping[str, Any]) -> None:
        self._elapsed[self.world.index(rows)] = 0
        self._waiting[self.world.index(rows)] = False
        self.world.sample_tasks(rows, self._streams, options)
        self.world.start_episodes(rows, self._streams)

    def _finish(self, mask: NDArray[np.bool_], observations: Any, infos: dict[str, Any]) -> None:
        """Keep the last observations and infos of the ended rows, reset them, and put in the new ones."""
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._waiting[...] = mask
            return
        everybody = bool(mask.all())
        ended = self.world.all_rows if everybody else np.flatnonzero(mask)
        last = {key: value.copy() for key, value in infos.items() if not key.startswith("_")}
        final_info = {**last, **{"_" + key: mask.copy() for key in last}}
        final_obs = np.fromiter(_per_row(observations, self.world.index(ended)), dtype=object, count=len(ended))
        if not everybody:
            present, final_obs = final_obs, np.full(self.num_envs, None, dtype=object)
            final_obs[ended] = present
        infos.update(final_obs=final_obs, _final_obs=mask, final_info=final_info, _final_info=mask.copy())
        self._start(ended, {})
        self._show(ended, observations, infos)

    def _show(self, rows: Rows, observations: Any, infos: dict[str, Any]) -> None:
        """Write what ``rows`` see and measure now into the arrays of all rows."""
        first, index = self.world.observe(rows), self.world.index(rows)
        if isinstance(first, dict):
            for key, value in first.items():
                observations[key][index] = value
        else:
            observations[index] = first
        for key, value in self.world.info(rows).items():
            infos[key][index] = value

    def _start_waiting(self) -> Rows:
        """Start the next episodes of the rows that wait for it, and return them; they rest during this step."""
        rows = np.flatnonzero(self._waiting)
        if len(rows) and not self._seeded:
            raise ResetNeeded("call reset() before the first step()")
        if len(rows) and self.autoreset_mode is not AutoresetMode.NEXT_STEP:
            raise ResetNeeded(f"call reset() for rows {rows.tolist()} before they are stepped")
        if len(rows):
            self._start(rows, {})
        return rows

    def _legal(self, actions: NDArray[Any], resting: Rows) -> NDArray[Any]:
        """The actions with any legal ones for the rows that rest, since a world steps all of its rows."""
        if not len(resting):
            return actions
        discrete = isinstance(self.single_action_space, gym.spaces.Discrete)
        masks = self.world.action_masks()[resting] if discrete else None
        actions = actions.copy()
        actions[resting] = idle_actions(self.single_action_space, masks, len(resting))
        return actions

    def _put_back(self, rows: Rows, state: State, streams: Streams) -> None:
        """Undo a step for ``rows`` alone."""
        now = self.world.get_state()
        copy_rows(now, state, rows)
        self.world.set_state(now)
        self._streams[rows] = streams[rows]

    def _add_masked(self, infos: dict[str, Any], info: Info, rows: Rows) -> None:
        """Write ``info`` of ``rows`` into full-length arrays with Gymnasium's ``_key`` masks."""
        if rows is self.world.all_rows:
            for key, value in info.items():
                infos[key], infos["_" + key] = value, np.ones(self.num_envs, dtype=np.bool_)
            return
        for key, value in info.items():
            full, mask = np.zeros((self.num_envs, *value.shape[1:]), value.dtype), np.zeros(self.num_envs, np.bool_)
            full[rows], mask[rows] = value, True
            infos[key], infos["_" + key] = full, mask

    def _rows_of(self, mask: Any) -> Rows:
        if mask is None:
            return self.world.all_rows
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(f"reset_mask must be {self.num_envs} bools with at least one True")
        return np.flatnonzero(mask)


def _per_row(observations: Any, index: Rows | slice) -> Iterator[Any]:
    """Copies of the observations of some rows, one after the other."""
    if isinstance(observations, dict):
        rows = zip(*(value[index].copy() for value in observations.values()), strict=True)
        return map(dict, map(zip, repeat(tuple(observations)), rows))  # no Python frame per row: many episodes end
    return iter(observations[index].copy())
