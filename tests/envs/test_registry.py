"""What every registered world must do; a new world is tested by being registered."""

import importlib
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as same
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs  # noqa: F401  # registers the worlds

IDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))
HEADINGS = (
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Information",
    "Arguments",
    "References",
    "Version History",
)
ADVICE = (  # what the checkers say about legitimate spaces
    "ignore:.*infinity. This is probably too:UserWarning",
    "ignore:.*symmetric and normalized:UserWarning",
    "ignore:.*unconventional shape:UserWarning",
)
SHORT = 6  # steps per episode in these tests, so that many episodes end

pytestmark = pytest.mark.parametrize("env_id", IDS)


def legal_actions(env: Any, rng: np.random.Generator) -> Any:
    """Random allowed actions of a batch."""
    space = env.single_action_space
    if isinstance(space, gym.spaces.Discrete):
        masks = env.action_masks()
        return np.where(masks, rng.random(masks.shape), -1.0).argmax(axis=1)
    space.seed(int(rng.integers(2**31)))
    return np.stack([space.sample() for _ in range(env.num_envs)])


def rollout(env: Any, steps: int, rng: np.random.Generator) -> list[Any]:
    return [env.step(legal_actions(env, rng)) for _ in range(steps)]


def rows_of(value: Any, n: int) -> Any:
    """The first n rows of nested arrays."""
    return {key: rows_of(item, n) for key, item in value.items()} if isinstance(value, dict) else value[:n]


def masked(infos: dict[str, Any]) -> dict[str, Any]:
    """Infos without the entries whose mask is False, which may hold anything."""
    kept = {}
    for key, value in infos.items():
        if not key.startswith("_"):
            mask = infos["_" + key]
            kept[key] = (mask.tolist(), masked(value) if isinstance(value, dict) else value[mask].tolist())
    return kept


def test_id_is_versioned_and_described(env_id: str) -> None:
    assert env_id.split("-v")[1].isdigit()
    module, _, name = gym.spec(env_id).kwargs["world"].partition(":")
    text = getattr(importlib.import_module(module), name).__doc__
    found = [line.strip().removeprefix("## ") for line in text.splitlines() if line.strip().startswith("## ")]
    assert found == [heading for heading in HEADINGS if heading in found], "headings in Gymnasium's order"
    assert {"Description", "Action Space", "Observation Space", "Rewards", "Episode End"} <= set(found)


@pytest.mark.filterwarnings(*ADVICE)
def test_gymnasium_accepts_it(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped)


@pytest.mark.filterwarnings(*ADVICE)
def test_sb3_accepts_it(env_id: str) -> None:
    check_env_sb3(gym.make(env_id))


def test_batch_is_what_gymnasium_makes_of_single_ones(env_id: str) -> None:
    """Row i of a batch is the single environment with seed s + i: observations, ends, infos, final infos."""
    ours: Any = gym.make_vec(env_id, num_envs=5, max_episode_steps=SHORT)
    kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP}
    theirs = gym.make_vec(env_id, num_envs=5, vectorization_mode="sync", vector_kwargs=kwargs, max_episode_steps=SHORT)
    rng = np.random.default_rng(0)
    (first, infos), (their_first, their_infos) = ours.reset(seed=11), theirs.reset(seed=11)
    assert same(first, their_first, exact=True)
    np.testing.assert_equal(masked(infos), masked(their_infos))
    ends = 0
    for _ in range(2 * SHORT + 1):
        actions = legal_actions(ours, rng)
        observations, rewards, terminated, truncated, infos = ours.step(actions)
        their_step = theirs.step(actions)
        assert same(observations, their_step[0], exact=True)
        assert rewards.dtype == np.float64
        assert terminated.dtype == truncated.dtype == np.bool_
        np.testing.assert_array_equal(rewards, their_step[1])
        np.testing.assert_array_equal(terminated, their_step[2])
        np.testing.assert_array_equal(truncated, their_step[3])
        final, their_final = infos.pop("final_obs", None), their_step[4].pop("final_obs", None)
        mask, their_mask = infos.pop("_final_obs", None), their_step[4].pop("_final_obs", None)
        np.testing.assert_array_equal(mask, their_mask)
        if final is not None:
            np.testing.assert_equal(list(final[mask]), list(their_final[mask]))
        np.testing.assert_equal(masked(infos), masked(their_step[4]))
        ends += (terminated | truncated).sum()
    assert ends >= 10


def test_trajectory_does_not_depend_on_the_batch_size(env_id: str) -> None:
    large, small, one = (gym.make_vec(env_id, num_envs=n, max_episode_steps=SHORT) for n in (64, 7, 1))
    rng = np.random.default_rng(1)
    seen = large.reset(seed=5)[0]
    assert same(rows_of(seen, 7), small.reset(seed=5)[0], exact=True)
    assert same(rows_of(seen, 1), one.reset(seed=5)[0], exact=True)
    for _ in range(2 * SHORT):
        actions = legal_actions(large, rng)
        observations, rewards, *_ = large.step(actions)
        for env in (small, one):
            n = env.num_envs
            step = env.step(actions[:n])
            assert same(rows_of(observations, n), step[0], exact=True)
            np.testing.assert_array_equal(rewards[:n], step[1])


def test_seeds_decide_everything(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=3, max_episode_steps=SHORT)
    histories = []
    for seed in ([4, 9, 4], [4, 9, 4], [5, 9, 4]):
        first = env.reset(seed=seed)
        histories.append((first, *rollout(env, 2 * SHORT, np.random.default_rng(2))))
    assert same(histories[0], histories[1], exact=True)
    assert not same(histories[0], histories[2], exact=True)


def test_batch_keeps_to_its_spaces(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=4, max_episode_steps=SHORT)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations = [env.reset(seed=0)[0], *(step[0] for step in rollout(env, 2 * SHORT, np.random.default_rng(3)))]
    for observation in observations:
        assert observation in env.observation_space
    kept = pickle.dumps(observations[0])
    rollout(env, 3, np.random.default_rng(4))
    assert pickle.dumps(observations[0]) == kept, "an observation changed after it was returned"


def test_some_rows_can_be_reset_alone(env_id: str) -> None:
    env: Any = gym.make_vec(env_id, num_envs=3, max_episode_steps=SHORT)
    env.reset(seed=0)
    before = rollout(env, 2, np.random.default_rng(5))[-1][0]
    after, _ = env.reset(seed=[7, 7, 7], options={"reset_mask": np.array([False, True, False])})
    fresh = env.single_observation_space
    single = gym.make(env_id)
    expected = single.reset(seed=7)[0]
    row = {key: value[1] for key, value in after.items()} if isinstance(after, dict) else after[1]
    assert row in fresh
    assert same(row, expected) or row == expected
    assert same(rows_of(before, 1), rows_of(after, 1), exact=True)
    with pytest.raises(ValueError, match="reset_mask must be 3 bools"):
        env.reset(options={"reset_mask": np.zeros(3, dtype=np.bool_)})


def test_state_can_be_taken_and_put_back(env_id: str) -> None:
    env: Any = gym.make_vec(env_id, num_envs=3, max_episode_steps=SHORT)
    env.reset(seed=0)
    rollout(env, 4, np.random.default_rng(6))
    state = pickle.loads(pickle.dumps(env.get_state()))
    future = rollout(env, 2 * SHORT, np.random.default_rng(7))
    other: Any = gym.make_vec(env_id, num_envs=3, max_episode_steps=SHORT)
    for target in (env, other):
        target.set_state(state)
        again = rollout(target, 2 * SHORT, np.random.default_rng(7))
        np.testing.assert_equal([step[:4] for step in again], [step[:4] for step in future])
        np.testing.assert_equal([masked(step[4]) for step in again], [masked(step[4]) for step in future])


def test_single_state_and_pickle_continue_alike(env_id: str) -> None:
    env: Any = gym.make(env_id).unwrapped
    env.reset(seed=3)
    env.step(_legal(env, 0))
    twins = [pickle.loads(pickle.dumps(env)), gym.make(env_id).unwrapped]
    twins[1].set_state(env.get_state())
    for turn in range(4):
        action = _legal(env, turn)
        expected = env.step(action)
        for twin in twins:
            np.testing.assert_equal(twin.step(action), expected)
    expected = env.reset()
    for twin in twins:
        np.testing.assert_equal(twin.reset(), expected)


def _legal(env: Any, turn: int) -> Any:
    env.action_space.seed(turn)
    if isinstance(env.action_space, gym.spaces.Discrete):
        return env.action_space.sample(mask=env.action_masks().astype(np.int8))
    return env.action_space.sample()


def test_it_can_be_looked_at(env_id: str) -> None:
    modes = gym.make(env_id).metadata["render_modes"]
    assert {"ansi", "rgb_array"} <= set(modes)
    for mode in modes:
        env: Any = gym.make(env_id, render_mode=mode).unwrapped
        env.reset(seed=0)
        env.step(_legal(env, 0))
        before = pickle.dumps(env.get_state())
        view = env.render()
        assert pickle.dumps(env.get_state()) == before, "looking must not change the world"
        if mode == "ansi":
            assert isinstance(view, str)
            assert view.endswith("\n")
        else:
            assert view.dtype == np.uint8
            assert view.ndim == 3
            assert view.shape[2] == 3
            assert view.min() < view.max()
        batch: Any = gym.make_vec(env_id, num_envs=2, render_mode=mode)
        batch.reset(seed=0)
        assert len(batch.render()) == 2
    assert gym.make(env_id).unwrapped.render() is None
    with pytest.raises(ValueError, match="render_mode must be one of"):
        gym.make_vec(env_id, render_mode="hologram")


def test_info_uses_no_name_that_means_something_else(env_id: str) -> None:
    """Gymnasium's and SB3's wrappers put their own things under these names."""
    env: Any = gym.make(env_id)
    names = set(env.reset(seed=0)[1]) | set(env.step(_legal(env.unwrapped, 0))[4])
    assert not names & {"episode", "final_obs", "final_info", "terminal_observation", "TimeLimit.truncated"}
    assert not any(name.startswith("_") for name in names)
