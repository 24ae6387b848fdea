"""Surfaces: actions, states, options of reset and of construction, for every world that is registered."""

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from fuzzing import Surface, any_array, dtypes, mostly, numbers, odd_arrays, scalars, texts, values
from hypothesis import strategies as st

import envs  # noqa: F401  # registers the worlds
from envs.batch import BatchEnv
from envs.world import world_class

WORLDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))
COPIES = 3
STEPS = 3  # that a state, an option or an action is played on for
ENOUGH = 40  # steps that use, and so compile, all that a world is made of


@cache
def batch(name: str) -> BatchEnv:
    """One batch of each world for all cases."""
    env = gym.make_vec(name, num_envs=COPIES).unwrapped
    assert isinstance(env, BatchEnv)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(ENOUGH):
        discrete = isinstance(env.single_action_space, gym.spaces.Discrete)
        env.step(env.action_masks().argmax(1) if discrete else env.action_space.sample())
    return env


def begun(name: str, seed: int = 0) -> BatchEnv:
    """A batch that has played a few steps."""
    env = batch(name)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(STEPS):
        env.step(env.action_space.sample())
    return env


def require_sound(env: BatchEnv, seen: Any, rewards: Any = 0.0) -> None:
    """Observations lie in their space, and rewards are finite."""
    assert seen in env.observation_space
    assert np.isfinite(rewards).all()


@st.composite
def actions(draw: st.DrawFn) -> tuple[str, bool, Any]:
    """(world, whether on the single face, action)."""
    name = draw(st.sampled_from(WORLDS))
    space = batch(name).action_space
    space.seed(draw(st.integers(0, 99)))
    good = np.asarray(space.sample())
    which = draw(st.integers(0, 4))
    if which == 0:
        return name, False, good
    if which == 1 and good.size:  # one number of it is another
        value = draw(numbers)
        good = good.astype(draw(st.sampled_from([good.dtype, np.dtype(np.float64), np.dtype(np.int64)])))
        with np.errstate(all="ignore"):
            try:
                good.reshape(-1)[draw(st.integers(0, good.size - 1))] = value
            except (OverflowError, ValueError):
                good = good.astype(object)
                good.reshape(-1)[0] = value
        return name, False, good
    if which == 2:
        return name, True, draw(values | odd_arrays)
    return name, False, draw(odd_arrays | st.lists(numbers, min_size=COPIES, max_size=COPIES) | values)


def act(case: tuple[str, bool, Any]) -> None:
    """One step, after which the world goes on."""
    name, single, action = case
    if single:
        alone = gym.make(name, disable_env_checker=True).unwrapped
        alone.reset(seed=0)
        alone.step(action)
        return
    env = begun(name)
    seen, rewards, *_ = env.step(action)
    require_sound(env, seen, rewards)
    require_sound(env, env.step(env.action_space.sample())[0])


def places(state: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every entry of a nested state."""
    for key, value in list(state.items()) if isinstance(state, dict) else enumerate(state):
        yield state, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def states(draw: st.DrawFn) -> tuple[str, Any]:
    """(world, state): one of its own with some entries, or some numbers of an array, changed."""
    name = draw(st.sampled_from(WORLDS))
    state = copy.deepcopy(begun(name, draw(st.integers(0, 9))).get_state())
    for _ in range(draw(st.integers(0, 2))):
        all_places = list(places(state))
        container, key = all_places[draw(st.integers(0, len(all_places) - 1))]
        value = container[key]
        if isinstance(value, np.ndarray) and value.size and draw(mostly(st.just(True), st.just(False))):
            number = draw(st.integers(0, 3) | numbers)
            with np.errstate(all="ignore"):
                try:
                    value.reshape(-1)[draw(st.integers(0, value.size - 1))] = number
                except (OverflowError, ValueError):
                    container[key] = value.astype(draw(dtypes))
        elif draw(st.booleans()) and isinstance(container, dict):
            del container[key]
        else:
            container[key] = draw(values | any_array())
    return name, draw(mostly(st.just(state)))


def go_on(case: tuple[str, Any]) -> None:
    """Continue from a state that somebody may have written."""
    name, state = case
    env = begun(name)
    kept = env.get_state()
    try:
        env.set_state(state)
        for _ in range(STEPS):
            env.step(env.action_space.sample())
        require_own_words(env)
    finally:
        env.set_state(kept)


def require_own_words(env: BatchEnv) -> None:
    """What a world says of itself it also takes back."""
    env.set_state(env.get_state())


@st.composite
def options(draw: st.DrawFn) -> tuple[str, dict[str, Any], Any, Any]:
    """(world, constructor's options, seed, options of reset)."""
    name = draw(st.sampled_from(WORLDS))
    spec = gym.registry[name]
    known = [key for key in world_class(spec.kwargs["world"]).keywords(spec.kwargs) if key not in ("inner", "tasks")]
    own = st.dictionaries(
        mostly(st.sampled_from(known), texts), scalars | st.integers(1, 40) | st.floats(0, 2) | values, max_size=2
    )
    reset = st.dictionaries(
        mostly(st.sampled_from(["task", "reset_mask", "split"]), texts), values | st.integers(0, 9) | any_array(1, 3)
    )
    seed = mostly(st.integers(0, 2**32) | st.none(), values)
    return name, draw(own), draw(seed), draw(mostly(st.none(), reset))


def begin(case: tuple[str, dict[str, Any], Any, Any]) -> None:
    """Make a world and play it."""
    name, own, seed, reset = case
    env = gym.make_vec(name, num_envs=COPIES, **own).unwrapped
    assert isinstance(env, BatchEnv)
    require_sound(env, env.reset(seed=seed, options=reset)[0])
    env.action_space.seed(0)
    for _ in range(STEPS):
        require_sound(env, *env.step(env.action_space.sample())[:2])


REFUSES = (ValueError, TypeError, gym.error.Error)
ROOM = "rl_suite/DarkRoom-v0"
SURFACES = [
    Surface("actions", actions(), act, (ROOM, False, np.zeros(COPIES, np.int64)), REFUSES),
    Surface("states", states(), go_on, (ROOM, begun(ROOM).get_state()), REFUSES),
    Surface("options of worlds", options(), begin, (ROOM, {"size": 7}, 3, None), REFUSES),
]
