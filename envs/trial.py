"""Trials: several episodes on one task, with what just happened in the observation.

An agent that remembers can explore a hidden task in the first episodes and use it in the later ones.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import whole
from envs.drawing import AGENT, FLOOR, GOLD, INK, Canvas
from envs.spaces import WholeNumbers
from envs.states import FINITE, FLAG, Bound
from envs.streams import Rows, Streams
from envs.world import Info, Observation, State, World, make_world, require_arrays, world_class

STRIP = 40  # pixels of the strip of returns under a picture


class Trial(World):
    """Several episodes of another world on one task, as one long episode.

    ## Description
    The inner world restarts ``episodes_per_trial`` times without changing its task; the agent sees its previous action,
    the reward that followed and whether that step ended an episode. ``reset`` draws a new task.

    ## Action Space
    That of the inner world.

    ## Observation Space
    ``Dict`` with ``observation`` (the inner one; if that is a dictionary, its entries instead), ``previous_action``
    (``Discrete(n + 1)``, where n means "none yet"; a Box for continuous actions, zeros at first), ``previous_reward``
    ``Box(1,)`` and ``previous_done`` ``MultiBinary(1)``: 1 in the first observation of every episode but the first.

    ## Rewards
    Those of the inner world.

    ## Starting State
    The first observation of the inner world's first episode.

    ## Episode End
    An inner episode ends when the inner world terminates or after ``episode_steps`` steps; the trial terminates with
    its last episode.

    ## Information
    All of the inner world's, about the episode that the last step belonged to; ``episode_index``: of that episode;
    ``episode_return``: its return so far; ``episode_done``: whether the step ended it. Where the inner world tells
    its ``optimal_return``, that becomes ``episode_optimal_return``, and ``optimal_return`` is the sum over the trial
    so far.

    ## Arguments
    ``inner``: the inner world, ``"package.module:Class"``. ``episode_steps``: longest inner episode.
    ``episodes_per_trial``. All other arguments go to the inner world.

    ## References
    Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", arXiv:1611.02779.

    ## Version History
    v0: first version.
    """

    state_arrays: ClassVar[tuple[str, ...]] = (
        "previous_action",
        "previous_reward",
        "previous_done",
        "episode",
        "steps",
        "returns",
        "optimum",
    )

    def __init__(
        self,
        num_envs: int = 1,
        inner: str | type[World] = "envs.gridworld:DarkRoom",
        episode_steps: int = 20,
        episodes_per_trial: int = 10,
        **options: Any,
    ):
        super().__init__(num_envs)
        episode_steps = whole("episode_steps", episode_steps, 1)
        episodes_per_trial = whole("episodes_per_trial", episodes_per_trial, 1)
        self.inner = make_world(inner, num_envs, **options)
        self.reset_options = self.inner.reset_options
        self.episode_steps, self.episodes_per_trial = episode_steps, episodes_per_trial
        self.action_space = self.inner.action_space
        seen = self.inner.observation_space
        action_space, self._no_action = _previous_action_space(self.action_space)
        self.observation_space = spaces.Dict(
            {
                **(seen.spaces if isinstance(seen, spaces.Dict) else {"observation": seen}),
                "previous_action": action_space,
                "previous_reward": spaces.Box(-np.inf, np.inf, (1,), dtype=np.float32),
                "previous_done": spaces.MultiBinary(1),
            }
        )
        self.previous_action = np.tile(self._no_action, (num_envs, *(1,) * self._no_action.ndim))  # (B, ...)
        self.previous_reward = np.zeros((num_envs, 1), dtype=np.float32)
        self.previous_done = np.zeros((num_envs, 1), dtype=np.int8)
        self.episode = np.zeros(num_envs, dtype=np.int64)  # (B,) episodes that have ended
        self.steps = np.zeros(num_envs, dtype=np.int64)  # (B,) of the present episode
        self.returns = np.zeros((num_envs, episodes_per_trial))  # (B, episodes)
        self.optimum = np.zeros(num_envs)  # (B,) optimal return of the episodes that have ended
        self._measured: Info = {}  # of the episode that the last step belonged to, (B, ...)

    @classmethod
    def keywords(cls, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Its own and those of the inner world."""
        inner = world_class(given.get("inner", "envs.gridworld:DarkRoom"))
        return (*super().keywords(given), *inner.keywords(given))

    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Give the inner world new tasks."""
        self.inner.sample_tasks(rows, streams, options)

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Begin a trial: the first inner episode, with nothing to remember."""
        self.inner.start_episodes(rows, streams)
        self.previous_action[rows] = self._no_action
        self.previous_reward[rows] = self.previous_done[rows] = 0
        self.episode[rows] = self.steps[rows] = 0
        self.returns[rows] = 0.0
        self.optimum[rows] = 0.0
        last = np.zeros(len(rows), dtype=np.int64)
        for key, value in self._measure(rows, last, np.zeros(len(rows), dtype=np.bool_)).items():
            if key not in self._measured:
                self._measured[key] = np.zeros((self.num_envs, *value.shape[1:]), dtype=value.dtype)
            self._measured[key][rows] = value

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """One step of the inner world; where it ends an episode that is not the last, the next one begins."""
        rewards, done = self.inner.step(actions, streams)
        self.steps += 1
        self.returns[self.all_rows, self.episode] += rewards
        done = done | (self.steps >= self.episode_steps)
        self._measured = self._measure(self.all_rows, self.episode.copy(), done)
        self.previous_action[...] = actions
        self.previous_reward[:, 0] = rewards
        self.previous_done[:, 0] = done
        if not done.any():
            return rewards, done
        if "optimal_return" in self._measured:
            self.optimum[done] = self._measured["optimal_return"][done]
        self.episode += done
        self.steps[done] = 0
        over = self.episode >= self.episodes_per_trial
        again = np.flatnonzero(done & ~over)
        if len(again):
            self.inner.start_episodes(again, streams)
        return rewards, over

    def observe(self, rows: Rows) -> Observation:
        """The inner observation with the previous action, reward and done."""
        seen = self.inner.observe(rows)
        return {
            **(seen if isinstance(seen, dict) else {"observation": seen}),
            "previous_action": self.previous_action[rows],
            "previous_reward": self.previous_reward[rows],
            "previous_done": self.previous_done[rows],
        }

    def info(self, rows: Rows) -> Info:
        """Measurements of the episodes that the last steps of ``rows`` belonged to."""
        return {key: value[rows] for key, value in self._measured.items()}

    def action_masks(self) -> NDArray[np.bool_]:
        """Those of the inner world."""
        return self.inner.action_masks()

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """The inner world, and below it the return of every episode so far."""
        view = self.inner.render(row, mode)
        episode = min(int(self.episode[row]) + 1, self.episodes_per_trial)
        returns = self.returns[row, :episode]
        if isinstance(view, str):
            listed = " ".join(f"{value:g}" for value in returns)
            return f"{view}episode {episode} of {self.episodes_per_trial}, returns {listed}\n"
        return view if self.episodes_per_trial == 1 else np.concatenate([view, self._strip(returns, view.shape[1])])

    def get_state(self) -> State:
        """Ours, and the inner world's under "inner"."""
        return {**super().get_state(), "inner": self.inner.get_state()}

    def state_bounds(self) -> Mapping[str, Bound]:
        """Episodes and steps of a trial, and what was done and earned."""
        discrete = self._no_action.dtype.kind == "i"
        least = int(np.min(getattr(self.action_space, "start", 0)))
        return {
            "previous_action": (least, int(self._no_action.max())) if discrete else FINITE,
            "previous_reward": FINITE,
            "previous_done": FLAG,
            "episode": (0, self.episodes_per_trial),
            "steps": (0, self.episode_steps),
            "returns": FINITE,
            "optimum": FINITE,
        }

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        require_arrays(state, ("inner",))
        self.inner.set_state(state["inner"])
        super().set_state(state)
        last = np.minimum(self.episode, self.episodes_per_trial - 1)  # a trial that is over has no further episode
        self._measured = self._measure(self.all_rows, last, np.zeros(self.num_envs, dtype=np.bool_))

    def _measure(self, rows: Rows, episode: NDArray[np.int64], done: NDArray[np.bool_]) -> Info:
        info = self.inner.info(rows)
        info.update(episode_index=episode, episode_return=self.returns[rows, episode], episode_done=done)
        if "optimal_return" in info:
            info["episode_optimal_return"] = info["optimal_return"]
            info["optimal_return"] = info["optimal_return"] + self.at(self.optimum, rows)
        return info

    def _strip(self, returns: NDArray[np.float64], width: int) -> NDArray[np.uint8]:
        """One bar per episode, (STRIP, width, 3); the present one is brighter."""
        canvas = Canvas(STRIP, width)
        pitch = (width - 8) / self.episodes_per_trial
        top = max(float(np.abs(returns).max()), 1e-9)
        gap = min(2.0, pitch / 4)
        for i in range(self.episodes_per_trial):
            left, right = 4 + pitch * i + gap, 4 + pitch * (i + 1) - gap
            canvas.box(4, left, STRIP - 4, right, FLOOR, radius=gap)
            if i < len(returns):
                height = (STRIP - 8) * max(0.0, float(returns[i])) / top
                colour = AGENT if i == len(returns) - 1 else GOLD if returns[i] > 0 else INK
                canvas.box(STRIP - 4 - height, left, STRIP - 4, right, colour, radius=gap)
        return canvas.image()


def _previous_action_space(space: spaces.Space[Any]) -> tuple[spaces.Space[Any], NDArray[Any]]:
    """The space of previous actions, with room for "none yet", and that value."""
    if isinstance(space, spaces.Discrete):
        first, options = int(space.start), int(space.n)
        return spaces.Discrete(options + 1, start=first), np.asarray(first + options, dtype=np.int64)
    if isinstance(space, spaces.MultiDiscrete):
        none = np.asarray(space.start + space.nvec, dtype=np.int64)
        return WholeNumbers(space.nvec + 1, start=space.start), none
    if isinstance(space, spaces.Box):
        box = spaces.Box(np.minimum(space.low, 0), np.maximum(space.high, 0), dtype=np.float32)
        return box, np.zeros(space.shape, dtype=np.float32)
    raise TypeError(f"a trial needs Discrete, MultiDiscrete or Box actions, not {space}")
