"""Task sets are what they say, and their splits share nothing."""

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs  # noqa: F401  # registers the worlds
from envs.gridworld import DARK_ROOM_TEST_GOALS, DarkRoom
from envs.streams import Streams
from envs.tasks import PARTS, TaskSet, TaskSplit

fractions = st.floats(0.0, 0.45)


@given(n=st.integers(1, 300), validation=fractions, test=fractions, seed=st.integers(0, 9), shuffled=st.booleans())
def test_split_parts_are_disjoint_and_complete(
    n: int, validation: float, test: float, seed: int, shuffled: bool
) -> None:
    tasks = TaskSet(range(n)).shuffle(seed) if shuffled else TaskSet(range(n))
    split = tasks.split(validation, test)
    parts = [set(getattr(split, name)) for name in PARTS]
    assert sum(map(len, parts)) == n == len(set.union(*parts))
    assert set(split.select("all")) == set(range(n))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_shuffle_is_a_permutation_that_the_seed_decides(seed: int) -> None:
    tasks = TaskSet(range(50))
    assert tasks.shuffle(seed) == tasks.shuffle(seed)
    assert sorted(tasks.shuffle(seed)) == list(tasks)
    assert tasks.shuffle(seed) != tasks.shuffle(seed + 1)


@pytest.mark.parametrize("tasks", [TaskSet(range(100, 120)), TaskSet([7, 3, 5])])
def test_samples_are_members_and_reach_all(tasks: TaskSet) -> None:
    streams: Streams = np.arange(4000, dtype=np.uint64)
    drawn = tasks.sample(streams, np.arange(4000))
    assert set(drawn.tolist()) == set(tasks)
    assert tasks.has(drawn).all()
    chosen = tasks.choose(np.random.default_rng(0), 3, replace=False)
    assert len(set(chosen.tolist())) == 3
    assert tasks.has(chosen).all()
    with pytest.raises(ValueError, match="cannot choose"):
        tasks.choose(np.random.default_rng(0), len(tasks) + 1, replace=False)


def test_a_space_of_seeds_costs_nothing() -> None:
    seeds = TaskSet(range(2**40))
    split = seeds.split(validation=1 / 8, test=1 / 8)
    assert len(split.test) == 2**37
    assert split.train[-1] + 1 == split.validation[0]
    assert len(split.select("train+validation")) == 7 * 2**37
    assert len(split.select("all")) == 2**40
    assert 2**40 not in seeds
    assert seeds == TaskSet(range(2**40))
    with pytest.raises(ValueError, match="do not touch"):
        split.select("train+test")
    with pytest.raises(ValueError, match="too many to shuffle"):
        seeds.shuffle(0)


def test_overlap_is_refused() -> None:
    nothing = TaskSet(range(0))
    with pytest.raises(ValueError, match="train and test tasks overlap"):
        TaskSplit(TaskSet([1, 2]), TaskSet([3]), TaskSet(range(2, 9)))
    with pytest.raises(ValueError, match="train and validation tasks overlap"):
        TaskSplit(TaskSet(range(5)), TaskSet(range(4, 6)), nothing)
    with pytest.raises(ValueError, match="validation and test tasks overlap"):
        TaskSplit(nothing, TaskSet([8, 9]), TaskSet([9]))


@pytest.mark.parametrize("wrong", ["", "training", "train+", "train+train", "all+test", 33, None, 0.5, ["train"]])
def test_unknown_splits_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="split must be 'all', or of"):
        TaskSet(range(10)).split(0.2, 0.2).select(wrong)


def test_bad_task_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        TaskSet([1, 1])
    with pytest.raises(ValueError, match="sum below 1"):
        TaskSet(range(10)).split(0.5, 0.5)
    with pytest.raises(ValueError, match="has no tasks"):
        TaskSet(range(10)).split(0.0, 0.5).select("validation")


def test_published_dark_room_split() -> None:
    """``random.seed(0)``, shuffle the 81 goals, keep the last eight: those are the test goals."""
    goals = [(row, column) for row in range(9) for column in range(9)]
    random.Random(0).shuffle(goals)
    assert tuple(goals[73:]) == DARK_ROOM_TEST_GOALS
    assert [row * 9 + column for row, column in goals[73:]] == list(DarkRoom(split="test").tasks)
    assert len(DarkRoom(split="train+validation").tasks) == 73
    assert len(DarkRoom(split="train").tasks) == 65
    optimum = [np.clip(21 - abs(row - 4) - abs(column - 4), 0, 20) for row, column in goals]
    assert np.mean(optimum[73:]) == 17.25
    assert round(float(np.mean(optimum[:73])), 2) == 16.47


@pytest.mark.parametrize(
    "env_id", ["DarkRoom", "DarkRoomHard", "DarkRoomPermuted", "DarkKeyToDoor", "BernoulliBandit", "DarkRoomTrial"]
)
def test_worlds_draw_from_their_split_only(env_id: str) -> None:
    seen = {}
    for split in PARTS:
        env = gym.make_vec(f"rl_suite/{env_id}-v0", num_envs=512, split=split)
        seen[split] = set(env.reset(seed=0)[1]["task"].tolist()) | set(env.reset()[1]["task"].tolist())
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_tasks_can_be_named() -> None:
    single = gym.make("rl_suite/DarkRoom-v0")
    assert single.reset(options={"task": 7})[1]["task"] == 7
    batch = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=3)
    assert batch.reset(seed=0, options={"task": [3, 1, 2]})[1]["task"].tolist() == [3, 1, 2]
    mask = np.array([True, False, True])
    info = batch.reset(options={"task": np.array([9, 8, 7]), "reset_mask": mask})[1]
    assert info["task"][mask].tolist() == [9, 7]
    fixed = gym.make_vec("rl_suite/DarkRoom-v0", num_envs=5, tasks=[12])
    assert fixed.reset(seed=0)[1]["task"].tolist() == [12] * 5


def test_naming_a_task_of_another_split_is_refused() -> None:
    env = gym.make("rl_suite/DarkRoom-v0", split="train")
    test_task = DarkRoom(split="test").tasks[0]
    with pytest.raises(ValueError, match="must lie in the tasks of this world's split"):
        env.reset(options={"task": test_task})
    for wrong in (1.5, [1, 2], 81):
        with pytest.raises(ValueError, match=r"options\['task'\]"):
            gym.make("rl_suite/DarkRoom-v0").reset(options={"task": wrong})
    for nothing in ([], [81], [-1]):
        with pytest.raises(ValueError, match="non-empty list of this world's 81 tasks"):
            DarkRoom(tasks=nothing)
