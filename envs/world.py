"""What every world is: B copies of one environment as arrays, stepped together. See ``World``."""

import importlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.arguments import require_keywords
from envs.states import Bound, checked
from envs.streams import Rows, Streams

FACES = ("render_mode", "max_episode_steps", "autoreset_mode")  # keywords that the faces of a world take

Observation = NDArray[Any] | dict[str, NDArray[Any]]
Info = dict[str, NDArray[Any]]
State = dict[str, Any]


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
    reset_options: tuple[str, ...] = ()  # what ``sample_tasks`` knows of the options of ``reset``
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def __init__(self, num_envs: int):
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        self.num_envs = num_envs
        self.all_rows: Rows = np.arange(num_envs)

    @classmethod
    def keywords(cls, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of all arguments of the constructor but ``num_envs``; ``given`` are those of a caller."""
        named = inspect.signature(cls).parameters.values()
        return tuple(each.name for each in named if each.name != "num_envs" and each.kind is not each.VAR_KEYWORD)

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
    """Build a world from its class or its dotted name; ``TypeError`` for a keyword that it does not know."""
    world = world_class(world)
    require_keywords(world.__name__, options, world.keywords(options), FACES)
    return world(num_envs=num_envs, **options)


def world_class(world: str | type[World]) -> type[World]:
    """The class of the dotted name ``"package.module:Class"``."""
    if not isinstance(world, str):
        return world
    module, _, name = world.partition(":")
    return cast(type[World], getattr(importlib.import_module(module), name))


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
