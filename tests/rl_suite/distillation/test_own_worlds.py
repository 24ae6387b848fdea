"""Worlds of one's own are found by module, and what cannot be distilled is told what it lacks."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.in_context import InContextModel, Steps
from agents.tabular import UCB1, QLearning
from rl_suite.distillation.sources.ppo import ppo_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.path.parent))


def named(world, **options):
    return TaskFamily.named(f"point_toy:toys/{world}-v0", options)


def test_a_world_is_found_through_its_module():
    family = named("Point")
    assert family.episode_steps == 20
    assert family.n_actions == 5
    assert family.make(3, "train").observe(np.arange(3)).shape == (3, 2)


@pytest.mark.parametrize(
    ("env_id", "options", "lacks"),
    [
        ("point_toy:toys/Plain-v0", {}, "a plain Gymnasium environment.*TaskWorld.*CONTRIBUTING.md"),
        ("CartPole-v1", {}, "a plain Gymnasium environment.*TaskWorld"),
        ("rl_suite/Durotaxis-v0", {}, "without numbered tasks.*TaskWorld"),
        ("rl_suite/DarkRoomTrial-v0", {}, "without Trial"),
        ("point_toy:toys/Endless-v0", {}, "max_episode_steps"),
        ("point_toy:toys/Shifted-v0", {}, r"Discrete actions from 0, not Discrete\(5, start=1\)"),
        ("point_toy:toys/Nothing-v0", {}, "Nothing"),
        ("no_such_module:toys/Point-v0", {}, "no_such_module"),
        ("point_toy:toys/Point-v0", {"colour": 1}, "colour"),
        ("rl_suite/DarkRoom-v0", {"tasks": [1, 2]}, "options.tasks: .*splits"),
        ("rl_suite/DarkRoom-v0", {"split": "test"}, "options.split: .*splits"),
        ("rl_suite/DarkRoom-v0", {"world": "x:y"}, "'world' belongs to the id"),
    ],
)
def test_what_is_lacking_is_said(env_id, options, lacks):
    with pytest.raises(UserError, match=lacks):
        TaskFamily.named(env_id, options)


def ppo_section(episodes):
    from rl_suite.cli import DEFAULT_CONFIG
    from rl_suite.experiments import load_experiment

    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom_ppo_distillation,smoke"])
    return config.distillation.source.model_copy(update={"episodes": episodes})


def test_positions_stay_real_and_early_ends_are_refused():
    histories = ppo_histories(named("Point"), ppo_section(2), 4, np.random.default_rng(0))
    assert histories.observations.dtype == np.float32
    assert len(np.unique(histories.observations)) > 2
    with pytest.raises(UserError, match="this world terminates"):
        ppo_histories(named("Point", ends=True), ppo_section(20), 4, np.random.default_rng(3))


@pytest.mark.parametrize(
    ("seen", "acts"),
    [
        (spaces.Discrete(3, start=-1), spaces.Discrete(3)),
        (spaces.Discrete(3), spaces.Discrete(3, start=1)),
        (spaces.MultiDiscrete([3, 3], start=[0, 1]), spaces.Discrete(3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("reader", [InContextModel, QLearning, UCB1])
def test_numbers_that_do_not_begin_at_0_are_refused(reader, seen, acts):
    with pytest.raises(ValueError, match="from 0"):
        reader(seen, acts)


def test_numbers_from_0_are_read():
    model = InContextModel(spaces.MultiDiscrete([3, 3]), spaces.Discrete(3))
    zeros = torch.zeros(1, 2).long()
    steps = Steps(torch.tensor([[[0, 2], [2, 0]]]), zeros, zeros.float(), zeros.bool(), zeros, zeros)
    assert model(steps)[0].shape == (1, 2, 3)
