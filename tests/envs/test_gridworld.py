"""The dark rooms by hand: where each move leads, what is rewarded, what could have been earned."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the worlds
from envs.gridworld import PERMUTATIONS, DarkKeyToDoor, DarkRoom

DOWN, UP, RIGHT, LEFT, STAY = range(5)


def play(env: Any, actions: list[int]) -> tuple[list[list[int]], list[float], list[dict[str, Any]]]:
    steps = [env.step(action) for action in actions]
    return [step[0].tolist() for step in steps], [step[1] for step in steps], [step[4] for step in steps]


def test_moves_and_walls() -> None:
    env = gym.make("rl_suite/DarkRoom-v0", size=3)
    assert env.reset(seed=0, options={"task": 0})[0].tolist() == [1, 1]
    seen, _, _ = play(env, [DOWN, DOWN, RIGHT, RIGHT, UP, LEFT, LEFT, LEFT, UP, UP, STAY])
    assert seen == [[2, 1], [2, 1], [2, 2], [2, 2], [1, 2], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0], [0, 0]]


def test_dark_room_pays_at_every_step_on_the_goal() -> None:
    env = gym.make("rl_suite/DarkRoom-v0")
    env.reset(seed=0, options={"task": 4 * 9 + 6})
    _, rewards, infos = play(env, [RIGHT, RIGHT, STAY, RIGHT, LEFT])
    assert rewards == [0, 1, 1, 0, 1]
    assert [info["optimal_return"] for info in infos] == [0, 1, 2, 3, 4]


def test_hard_room_pays_once() -> None:
    env = gym.make("rl_suite/DarkRoomHard-v0")
    assert env.reset(seed=0, options={"task": 8 * 17 + 9})[0].tolist() == [8, 8]
    _, rewards, infos = play(env, [UP, DOWN, RIGHT, STAY, LEFT, RIGHT])
    assert rewards == [0, 0, 1, 0, 0, 0]
    assert [info["optimal_return"] for info in infos] == [1] * 6


def test_optimal_return_of_every_goal() -> None:
    """21 - distance steps are rewarded, at most 20: the goal under the agent's feet pays from the first step on."""
    env = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=81)
    env.reset(seed=0, options={"task": np.arange(81)})
    for _ in range(20):
        infos = env.step(np.zeros(81, dtype=np.int64))[4]
    row, column = np.divmod(np.arange(81), 9)
    expected = np.clip(21 - abs(row - 4) - abs(column - 4), 0, 20)
    assert infos["final_info"]["optimal_return"].tolist() == expected.tolist()


def test_key_opens_the_door_once() -> None:
    world = DarkKeyToDoor(start=(0, 0))
    env = gym.make("rl_suite/DarkKeyToDoor-v0", start=(0, 0))
    key, door = 1, 9 * 1 + 1  # cells (0, 1) and (1, 1)
    task = key * 81 + door
    assert task in world.tasks
    env.reset(seed=0, options={"task": task})
    _, rewards, infos = play(env, [DOWN, RIGHT, UP, STAY, DOWN, STAY, UP])
    assert rewards == [0, 0, 1, 0, 1, 0, 0], "the door is shut without the key, and both pay once"
    assert [info["optimal_return"] for info in infos] == [1, 2, 2, 2, 2, 2, 2]


def test_key_and_door_in_one_cell_need_two_steps() -> None:
    env = gym.make("rl_suite/DarkKeyToDoor-v0", start=(0, 0))
    env.reset(seed=0, options={"task": 0})
    _, rewards, infos = play(env, [STAY, STAY, STAY])
    assert rewards == [1, 1, 0]
    assert [info["optimal_return"] for info in infos] == [1, 2, 2]


def test_key_to_door_starts_anywhere() -> None:
    env = gym.make_vec("rl_suite/DarkKeyToDoor-v0", num_envs=3000)
    cells = env.reset(seed=0)[0] @ np.array([9, 1])
    assert set(cells.tolist()) == set(range(81))


def test_permuted_actions() -> None:
    """The task is the permutation: action a makes the move that stands at its place a."""
    env = gym.make("rl_suite/DarkRoomPermuted-v0")
    task = PERMUTATIONS.tolist().index([RIGHT, UP, DOWN, LEFT, STAY])
    assert env.reset(seed=0, options={"task": task})[0].tolist() == [0, 0]
    seen, _, _ = play(env, [0, 2, 3, 1, 4])
    assert seen == [[0, 1], [1, 1], [1, 0], [0, 0], [0, 0]]
    assert len(np.unique(PERMUTATIONS, axis=0)) == 120


def test_tasks_with_goals_and_permutations() -> None:
    world = DarkRoom(num_envs=2, permute_actions=True)
    world.sample_tasks(world.all_rows, np.zeros(2, dtype=np.uint64), {"task": [80, 81 * 7 + 3]})
    assert world.goal.tolist() == [80, 3]
    assert world.move_of.tolist() == PERMUTATIONS[[0, 7]].tolist()


def test_what_is_shown() -> None:
    room = gym.make("rl_suite/DarkRoom-v0", show_goal=True)
    assert room.reset(seed=0, options={"task": 9 * 2 + 7})[0].tolist() == [4, 4, 2, 7]
    permuted = gym.make("rl_suite/DarkRoomPermuted-v0", show_goal=True)
    assert permuted.reset(seed=0, options={"task": 1})[0].tolist() == [0, 0, 8, 8, 0, 1, 2, 4, 3]
    keys = gym.make("rl_suite/DarkKeyToDoor-v0", start=(0, 0), show_goal=True)
    keys.reset(seed=0, options={"task": 9 * 81 + 2})  # key (1, 0), door (0, 2)
    assert keys.step(STAY)[0].tolist() == [0, 0, 1, 0, 0, 2, 0]
    assert keys.step(DOWN)[0].tolist() == [1, 0, 1, 0, 0, 2, 1]


def test_text_shows_the_walk() -> None:
    env = gym.make("rl_suite/DarkRoom-v0", size=3, render_mode="ansi")
    env.reset(seed=0, options={"task": 0})
    env.step(RIGHT)
    assert env.render() == "G . .\n. o @\n. . .\nstep 1, return 0\n"


def test_picture_shows_goal_and_agent() -> None:
    env = gym.make("rl_suite/DarkRoom-v0", render_mode="rgb_array")
    env.reset(seed=0, options={"task": 0})
    picture: Any = env.render()
    assert picture.shape == (224, 224, 3)
    goal, agent, floor = picture[16, 16].astype(int), picture[112, 112].astype(int), picture[210, 110].astype(int)
    assert goal[0] > 200 > goal[2], "gold"
    assert agent[1] > 200 > agent[0], "teal"
    assert floor.max() < 80


@pytest.mark.parametrize("actions", [[5], [-1], [2**40]])
def test_actions_that_do_not_exist_are_refused(actions: list[int]) -> None:
    env = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=1)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"action {actions[0]} of row 0 is not one of 0..4"):
        env.step(np.array(actions))


def test_actions_must_be_whole_numbers() -> None:
    env = gym.make_vec("rl_suite/DarkKeyToDoor-v0", num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="one whole number per copy, not float64"):
        env.step(np.zeros(2))


@pytest.mark.parametrize("options", [{"start": (9, 0)}, {"goal": (0, -1)}, {"start": "corner"}])
def test_bad_cells_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"lies outside a 9x9 room|start must be"):
        DarkRoom(**options)
