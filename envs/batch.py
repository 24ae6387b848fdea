"""One batched core, two faces.

A ``World`` holds B copies of one environment as arrays and steps them together. ``SingleEnv`` shows a
batch of one as a ``gymnasium.Env``; ``BatchEnv`` shows the batch as a ``gymnasium.vector.VectorEnv``.
The same seed gives the same trajectory on both faces and for any B: row i of ``reset(seed=s)`` is the
single environment of ``reset(seed=s + i)``.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.states import COUNT, Bound, checked
from envs.streams import Rows, Streams, seed_stream

Observation = NDArray[Any] | dict[str, NDArray[Any]]
Info = dict[str, NDArray[Any]]
State = dict[str, Any]

ANY_WORD = (0, 2**64)  # a stream may hold any 64 bits


class World(ABC):
    """B copies of one environment, stepped together.

    A subclass sets ``observation_space`` and ``action_space`` (of one copy) in its constructor, keeps
    its state in arrays whose first axis is the copy, and names them in ``state_arrays``. Every random
    number comes from the streams that it is handed, so that a trajectory depends on its seed alone.

    A task is what stays the same over the episodes of a trial (where the goal is, which arm pays); an
    episode is one attempt at it. Hence two verbs: ``sample_tasks`` and ``start_episodes``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}
    state_arrays: ClassVar[tuple[str, ...]]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def __init__(self, num_envs: int):
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        self.num_envs = num_envs
        self.all_rows: Rows = np.arange(num_envs)

    @abstractmethod
    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Give each of ``rows`` a new task; ``options`` are those of ``reset`` (a task may be named there)."""

    @abstractmethod
    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Begin a new episode on the present task of each of ``rows``."""

    def index(self, rows: Rows) -> Rows | slice:
        """An index for ``array[index] = ...``: where ``rows`` are all rows it is a slice, which is faster."""
        return slice(None) if rows is self.all_rows else rows

    def at(self, array: NDArray[Any], rows: Rows) -> NDArray[Any]:
        """``array[rows]`` for reading only: where ``rows`` are all rows it is the array itself, at no cost."""
        return array if rows is self.all_rows else array[rows]

    @abstractmethod
    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Advance every copy by one step; returns rewards (B,) and terminated (B,)."""

    @abstractmethod
    def observe(self, rows: Rows) -> Observation:
        """What the agents of ``rows`` see now: new arrays, first axis as long as ``rows``."""

    def info(self, rows: Rows) -> Info:
        """Measurements of ``rows`` for ``info``: new arrays, first axis as long as ``rows``."""
        return {}

    def action_masks(self) -> NDArray[np.bool_]:
        """Allowed actions of every copy, (B, n); True = allowed. Everything is allowed by default."""
        if isinstance(self.action_space, gym.spaces.Discrete):
            return np.ones((self.num_envs, int(self.action_space.n)), dtype=np.bool_)
        if isinstance(self.action_space, gym.spaces.MultiDiscrete):
            return np.ones((self.num_envs, int(self.action_space.nvec.sum())), dtype=np.bool_)
        raise TypeError(f"{type(self).__name__} has no discrete actions to mask")

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Draw one copy: text for "ansi", an image (height, width, 3) for "rgb_array"."""
        raise ValueError(f"{type(self).__name__} cannot render {mode!r}")

    def state_bounds(self) -> Mapping[str, Bound]:
        """Lowest and highest value of each of ``state_arrays``; a state outside them is refused."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its states may hold")

    def get_state(self) -> State:
        """Copies of all arrays that the future depends on."""
        return {name: getattr(self, name).copy() for name in self.state_arrays}

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned.

        Raises:
            ValueError: an array is missing, or its shape, type or a value does not fit; nothing is changed then.
        """
        bounds = self.state_bounds()
        require_arrays(state, self.state_arrays)
        arrays = {name: checked(name, state[name], getattr(self, name), bounds[name]) for name in self.state_arrays}
        for name, array in arrays.items():
            getattr(self, name)[...] = array


def require_arrays(state: Any, names: Sequence[str]) -> None:
    """Refuse what is no state with entries of these names."""
    missing = list(names) if not isinstance(state, Mapping) else [name for name in names if name not in state]
    if missing:
        raise ValueError(f"state lacks {', '.join(map(repr, missing))}")


def make_world(world: str | type[World], num_envs: int, **options: Any) -> World:
    """Build a world from its class or its dotted name ``"package.module:Class"``."""
    if isinstance(world, str):
        module, _, name = world.partition(":")
        world = cast(type[World], getattr(importlib.import_module(module), name))
    return world(num_envs=num_envs, **options)


def discrete_actions(actions: NDArray[Any]) -> NDArray[np.int64]:
    """Actions (B,) as int64; anything but whole numbers is refused. Ranges are left to the world's kernel."""
    if actions.dtype.kind not in "iu" or actions.ndim != 1:
        raise ValueError(f"actions must be one whole number per copy, not {actions.dtype} of shape {actions.shape}")
    return np.ascontiguousarray(actions, dtype=np.int64)


def check_choices(actions: NDArray[np.int64], wrong: int, n: int) -> None:
    """Report the row that a kernel found to have no such action; -1 says that all is well."""
    if wrong >= 0:
        raise ValueError(f"action {actions[wrong]} of row {wrong} is not one of 0..{n - 1}")


def check_render_mode(world: World, render_mode: str | None) -> None:
    """Refuse a render mode that the world does not have."""
    modes = world.metadata["render_modes"]
    if render_mode is not None and render_mode not in modes:
        raise ValueError(f"render_mode must be one of {modes}, not {render_mode!r}")


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
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self._streams[0] = seed_stream(self.np_random)
            self._seeded = True
        self.world.sample_tasks(self.world.all_rows, self._streams, options or {})
        self.world.start_episodes(self.world.all_rows, self._streams)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; the reward is a float and both flags are bools, as SB3 asks."""
        reward, terminated = self.world.step(np.asarray(action)[None], self._streams)
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
    """The batch itself, as ``gym.make_vec`` returns it; it truncates and resets in the same step.

    Autoreset is ``SAME_STEP``: where an episode ends, the returned observation is the first of the
    next episode, and the last one of the old episode stands in ``infos["final_obs"]``.
    """

    def __init__(
        self,
        world: str | type[World],
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **options: Any,
    ):
        self.world = make_world(world, num_envs, **options)
        check_render_mode(self.world, render_mode)
        self.metadata = {**self.world.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs, self.render_mode = num_envs, render_mode
        self.max_episode_steps = None if max_episode_steps == -1 else max_episode_steps  # -1: no limit, as gym.make
        self.single_observation_space = self.world.observation_space
        self.single_action_space = self.world.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._streams: Streams = np.zeros(num_envs, dtype=np.uint64)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._seeded = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes on new tasks, in all rows or in those of ``options["reset_mask"]``."""
        options = dict(options or {})
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
        """One step of every row; ended rows are already in their next episode when this returns."""
        if not self._seeded:
            raise ResetNeeded("call reset() before the first step()")
        actions = np.asarray(actions)
        if actions.shape[:1] != (self.num_envs,):
            raise ValueError(f"actions must have {self.num_envs} rows, not shape {actions.shape}")
        rewards, terminated = self.world.step(actions, self._streams)
        self._elapsed += 1
        if self.max_episode_steps is None:
            truncated = np.zeros(self.num_envs, dtype=np.bool_)
        else:
            truncated = self._elapsed >= self.max_episode_steps
        observations = self.world.observe(self.world.all_rows)
        infos: dict[str, Any] = {}
        self._add_masked(infos, self.world.info(self.world.all_rows), self.world.all_rows)
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
        return {
            "world": self.world.get_state(),
            "streams": self._streams.copy(),
            "elapsed": self._elapsed.copy(),
        }

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        require_arrays(state, ("world", "streams", "elapsed"))
        streams = checked("streams", state["streams"], self._streams, ANY_WORD)
        elapsed = checked("elapsed", state["elapsed"], self._elapsed, COUNT)
        self.world.set_state(state["world"])
        self._streams[...], self._elapsed[...] = streams, elapsed
        self._seeded = True

    def _start(self, rows: Rows, options: Mapping[str, Any]) -> None:
        self._elapsed[self.world.index(rows)] = 0
        self.world.sample_tasks(rows, self._streams, options)
        self.world.start_episodes(rows, self._streams)

    def _finish(self, mask: NDArray[np.bool_], observations: Any, infos: dict[str, Any]) -> None:
        """Keep the last observations and infos of the ended rows, reset them, and put in the new ones."""
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
        first, index = self.world.observe(ended), self.world.index(ended)
        if isinstance(first, dict):
            for key, value in first.items():
                observations[key][index] = value
        else:
            observations[index] = first
        for key, value in self.world.info(ended).items():
            infos[key][index] = value

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
