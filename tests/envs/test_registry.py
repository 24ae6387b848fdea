"""What every registered world must do; a new world is tested by being registered."""

import importlib
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_checker import data_equivalence as same
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as wrappers
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs  # noqa: F401  # registers the worlds
from envs.world import world_class

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


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_batch_is_what_gymnasium_makes_of_single_ones(env_id: str, mode: AutoresetMode) -> None:
    """Row i of a batch is the single environment with seed s + i: observations, ends, infos, final infos."""
    ours: Any = gym.make_vec(env_id, num_envs=5, max_episode_steps=SHORT, autoreset_mode=mode)
    kwargs = {"autoreset_mode": mode}
    theirs = gym.make_vec(env_id, num_envs=5, vectorization_mode="sync", vector_kwargs=kwargs, max_episode_steps=SHORT)
    rng = np.random.default_rng(0)
    (first, infos), (their_first, their_infos) = ours.reset(seed=11), theirs.reset(seed=11)
    assert same(first, their_first, exact=True)
    np.testing.assert_equal(masked(infos), masked(their_infos))
    ends = 0
    for _ in range(2 * SHORT + 2):
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


def test_without_autoreset_ended_rows_wait_for_a_reset(env_id: str) -> None:
    env: Any = gym.make_vec(env_id, num_envs=3, max_episode_steps=2, autoreset_mode="DISABLED")
    assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.reset(seed=0)
    last = rollout(env, 2, np.random.default_rng(8))[-1]
    assert (last[2] | last[3]).all()
    assert "final_obs" not in last[4]
    with pytest.raises(ResetNeeded, match=r"rows \[0, 1, 2\]"):
        rollout(env, 1, np.random.default_rng(9))
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(ResetNeeded, match=r"rows \[1\]"):
        rollout(env, 1, np.random.default_rng(9))
    state = env.get_state()
    env.reset(options={"reset_mask": np.array([False, True, False])})
    rollout(env, 1, np.random.default_rng(9))
    env.set_state(state)
    with pytest.raises(ResetNeeded, match=r"rows \[1\]"):
        rollout(env, 1, np.random.default_rng(9))


def test_vector_wrappers_of_gymnasium_work(env_id: str) -> None:
    """``NormalizeObservation`` takes no other mode than NEXT_STEP, and flat observations only."""
    env: Any = gym.make_vec(env_id, num_envs=3, max_episode_steps=SHORT, autoreset_mode="NEXT_STEP")
    wrapped: Any = wrappers.RecordEpisodeStatistics(env)
    if isinstance(env.single_observation_space, gym.spaces.Box):
        wrapped = wrappers.NormalizeObservation(wrapped)
    wrapped.reset(seed=0)
    lengths = []
    for _ in range(2 * SHORT + 2):
        infos = wrapped.step(legal_actions(env, np.random.default_rng(0)))[4]
        lengths += infos["episode"]["l"][infos["_episode"]].tolist() if "episode" in infos else []
    assert lengths
    assert max(lengths) <= SHORT


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
def test_unknown_keywords_are_type_errors_that_name_the_nearest(env_id: str, make: Any) -> None:
    world = world_class(gym.spec(env_id).kwargs["world"])
    for known in (*world.keywords(gym.spec(env_id).kwargs), "render_mode"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{known}x'; did you mean '"):
            make(env_id, **{f"{known}x": 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        make(env_id, frameskip=1)


@pytest.mark.parametrize("limit", [0, -2, 2.5, "5", 10**400])
def test_a_limit_of_steps_is_a_whole_number_above_0(env_id: str, limit: Any) -> None:
    with pytest.raises(ValueError, match="max_episode_steps must be a whole number above 0"):
        gym.make_vec(env_id, num_envs=2, max_episode_steps=limit)
    if limit in (0, -2):
        with pytest.raises(ValueError, match="max_episode_steps"):
            gym.make(env_id, max_episode_steps=limit)


def test_unknown_options_of_reset_are_refused_by_name(env_id: str) -> None:
    single: Any = gym.make(env_id)
    for env in (single, single.unwrapped, gym.make_vec(env_id, num_envs=2)):
        for name in ("goal_cell", "tsak", 3):
            with pytest.raises(ValueError, match=f"reset has no option '{name}'"):
                env.reset(options={name: 1})
        with pytest.raises(ValueError, match="options of reset must be a mapping"):
            env.reset(options=[("task", 1)])
        env.reset(options={})
    with pytest.raises(ValueError, match="reset has no option 'reset_mask'"):
        single.reset(options={"reset_mask": np.ones(1, dtype=np.bool_)})


def test_a_step_needs_a_reset(env_id: str) -> None:
    single: Any = gym.make(env_id).unwrapped
    with pytest.raises(ResetNeeded):
        single.step(_legal(single, 0))
    for mode in AutoresetMode:
        batch = gym.make_vec(env_id, num_envs=2, autoreset_mode=mode)
        with pytest.raises(ResetNeeded):
            rollout(batch, 1, np.random.default_rng(0))
    batch = gym.make_vec(env_id, num_envs=2)
    batch.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ResetNeeded, match=r"rows \[1\]"):
        rollout(batch, 1, np.random.default_rng(0))


def test_actions_that_are_no_numbers_are_refused_in_a_line(env_id: str) -> None:
    single: Any = gym.make(env_id).unwrapped
    batch: Any = gym.make_vec(env_id, num_envs=2)
    single.reset(seed=0)
    batch.reset(seed=0)
    legal = np.asarray(_legal(single, 0))
    wrong = [
        legal.astype(complex),
        legal.astype(object),
        legal.astype(str),
        legal.astype("V8"),
        None,
        "north",
        {"a": 1},
    ]
    for action in wrong:
        with pytest.raises(ValueError, match="actions must be") as caught:
            single.step(action)
        assert "\n" not in str(caught.value)
        with pytest.raises(ValueError, match="actions must"):
            batch.step([action, action])
    for action in ([[0], [0, 1]], [1], np.zeros((2, 2, 2, 2))):
        with pytest.raises(ValueError, match=r"action"):
            batch.step(action)


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
