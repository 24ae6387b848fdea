import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the world

WORLD = "rl_suite/Durotaxis-v0"
LADDER = (
    {"goal_distance": 40.0, "safe_radius": 60.0, "node_limit": 80, "critical_nodes": 60, "weight_distance": 0.2},
    {"goal_distance": 80.0, "safe_radius": 100.0, "substrate": "exponential"},
    {},
)


def make(n, **options) -> Any:
    return gym.make_vec(WORLD, num_envs=n, action_mode="delete_ratio", curriculum=LADDER, advance_window=4, **options)


def straight(infos, offset):
    angle = np.radians(infos["direction"] + offset)
    return np.stack([np.zeros(len(angle)), np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_copies_climb_on_measured_success_alone():
    """Row 0 walks to the goal, row 1 away from it, row 2 wins every other episode: half is not enough."""
    env = make(3, advance_at=0.75)
    _, infos = env.reset(seed=0)
    stages, episodes = [[], [], []], np.zeros(3, int)
    for _ in range(400):
        offset = np.array([0.0, 180.0, 180.0 * (episodes[2] % 2)])
        _, _, terminated, truncated, infos = env.step(straight(infos, offset))
        for row in np.flatnonzero(terminated | truncated):
            stages[row].append(int(infos["final_info"]["stage"][row]))
            episodes[row] += 1
    assert stages[0][:4] == [0] * 4
    assert stages[0][4:8] == [1] * 4
    assert set(stages[0][8:]) == {2}
    assert len(stages[0]) > 10
    assert set(stages[1]) == set(stages[2]) == {0}
    assert episodes.min() >= 8


def test_a_stage_brings_its_own_field_limits_goal_and_weights():
    env = gym.make(WORLD, action_mode="delete_ratio", curriculum=LADDER, weight_termination=9.0).unwrapped
    for stage, goal, limit, kind, weight in ((0, 40, 80, 0, 0.2), (1, 80, 128, 1, 0.1), (2, 140, 128, 0, 0.1)):
        _, info = env.reset(seed=1, options={"stage": stage})
        assert info["stage"] == stage
        assert info["substrate"] == kind
        task = env.world.colonies.task[0]
        assert (task[10], task[14], task[16]) == (goal, limit, weight)
        for _ in range(60):
            angle = math.radians(info["direction"])
            _, reward, terminated, _, info = env.step(np.array([0, math.cos(angle), math.sin(angle)], np.float32))
            if terminated:
                break
        assert info["is_success"]
        assert goal <= info["progress_px"] < goal + 12
        assert reward > 8
    with pytest.raises(ValueError, match=r"stage must be one of 0\.\.2, not 3"):
        env.reset(options={"stage": 3})


def test_node_limits_of_a_stage_end_episodes():
    env = gym.make(WORLD, action_mode="delete_ratio", curriculum=LADDER, weight_termination=9.0).unwrapped
    env.reset(seed=0)
    assert env.step(np.array([-1, 0, 0], np.float32))[2], "56 nodes doubled exceed the 80 of the first stage"
    env.reset(seed=0, options={"stage": 2})
    assert not env.step(np.array([-1, 0, 0], np.float32))[2]


def test_episodes_without_a_step_do_not_count_and_state_keeps_the_ladder():
    env = make(2)
    for _ in range(9):
        env.reset(seed=3)
    assert (env.unwrapped.world.colonies.outcomes == -1).all()
    infos = env.reset(seed=3)[1]
    for _ in range(30):
        infos = env.step(straight(infos, 0.0))[4]
    state, other = env.get_state(), make(2)
    other.set_state(state)
    np.testing.assert_array_equal(other.unwrapped.world.colonies.outcomes, env.unwrapped.world.colonies.outcomes)
    for _ in range(40):
        actions = straight(infos, 0.0)
        infos, again = env.step(actions)[4], other.step(actions)[4]
        np.testing.assert_array_equal(infos["stage"], again["stage"])
    assert infos["stage"].max() > 0


def test_without_a_curriculum_there_is_one_stage():
    env = gym.make(WORLD, action_mode="delete_ratio").unwrapped
    assert env.reset(seed=0)[1]["stage"] == 0
    with pytest.raises(ValueError, match="stage must be one of"):
        env.reset(options={"stage": 1})
