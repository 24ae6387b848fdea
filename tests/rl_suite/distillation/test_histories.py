"""Histories survive the disk; damage is named; the doctor finds what is wrong with them."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from agents.tabular import QLearning
from envs.grid_kernels import MOVES
from rl_suite.checkpoint import write_atomically
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation import collect as collect_module
from rl_suite.distillation.collect import collect
from rl_suite.distillation.dataset import Windows, rewards_before
from rl_suite.distillation.doctor import examine, main
from rl_suite.distillation.histories import (
    ARRAYS,
    MANIFEST,
    Histories,
    Manifest,
    load_histories,
    save_manifest,
    save_shard,
)
from rl_suite.distillation.sources.players import make_player
from rl_suite.distillation.sources.sources import make_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.sweeps.contract import JobError

ROOM = "rl_suite/DarkRoom-v0"


def settings(*words):
    return load_experiment(DEFAULT_CONFIG, ["experiment=darkroom_distillation,smoke", *words]).distillation


def family_of(section):
    return TaskFamily.named(section.world.id, section.world.options)


def histories_of(*words, n=8, seed=0, **changes):
    section = settings(*words)
    source = section.source.model_copy(update=changes)
    return make_histories(family_of(section), source, n, np.random.default_rng(seed))


def plan(n=10, seed=0):
    return Manifest(ROOM, {}, {"name": "explorer"}, "train", 20, 5, seed, n, [])


def make(n, rng):
    section = settings()
    return make_histories(family_of(section), section.source, n, rng)


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)


def test_a_stopped_collection_goes_on_to_the_same_histories(tmp_path):
    collect(tmp_path / "whole", plan(), 4, make)
    answers = iter([False, True])
    collect(tmp_path / "parts", plan(), 4, make, stop=lambda: next(answers))
    assert len(load_histories(tmp_path / "parts")[0]) == 4
    assert not load_histories(tmp_path / "parts")[1].complete
    collect(tmp_path / "parts", plan(), 4, make)
    assert same(load_histories(tmp_path / "whole")[0], load_histories(tmp_path / "parts")[0])
    assert load_histories(tmp_path / "parts")[1].complete


def test_processes_write_the_histories_of_one(tmp_path):
    told = []
    collect(tmp_path / "one", plan(), 4, make)
    make_there = partial(make_histories, family_of(settings()), settings().source)
    collect(tmp_path / "two", plan(), 4, make_there, told.append, processes=2)
    assert (tmp_path / "one" / MANIFEST).read_bytes() == (tmp_path / "two" / MANIFEST).read_bytes()
    assert same(load_histories(tmp_path / "one")[0], load_histories(tmp_path / "two")[0])
    assert told[-1] == 10
    with pytest.raises(JobError, match="too_few_arguments"):
        collect(tmp_path / "three", plan(), 4, too_few_arguments, processes=2)


def too_few_arguments():
    """A source that cannot be called."""


def test_a_corrupt_shard_is_named_skipped_and_rebuilt(tmp_path):
    collect(tmp_path, plan(), 4, make)
    whole = load_histories(tmp_path)[0]
    shard = tmp_path / "shard_00001.npz"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    rest, _, problems = load_histories(tmp_path)
    assert len(rest) == 6
    assert len(problems) == 1
    assert "shard_00001.npz: corrupt shard" in problems[0]
    assert examine(tmp_path)[0].verdict == "problem"
    rebuilt = collect(tmp_path, plan(), 4, make)
    assert "shard_00001.npz" in rebuilt[0]
    assert same(load_histories(tmp_path)[0], whole)


def test_other_histories_in_the_folder_are_refused(tmp_path):
    collect(tmp_path, plan(), 8, make)
    with pytest.raises(UserError, match="another recipe"):
        collect(tmp_path, plan(seed=1), 8, make)


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    collect(tmp_path, plan(), 4, make, stop=lambda: (tmp_path / "shard_00000.npz").exists())

    def full(path, data):
        raise UserError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr("rl_suite.distillation.histories.write_atomically", full)
    with pytest.raises(UserError, match="No space left"):
        collect_module.collect(tmp_path, plan(), 4, make)
    monkeypatch.setattr("rl_suite.distillation.histories.write_atomically", write_atomically)
    assert len(load_histories(tmp_path)[0]) == 4


def test_no_histories_is_one_line(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2
    assert "no histories here" in capsys.readouterr().err
    (tmp_path / "manifest.json").write_text("[1]")
    assert main(["check", str(tmp_path)]) == 2
    (tmp_path / "manifest.json").write_text(json.dumps({"format": "something else"}))
    assert main(["check", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("explorer", ROOM),
        ("q_learning", ROOM),
        ("expert", ROOM),
        ("noisy_expert", ROOM),
        ("explorer", "rl_suite/DarkKeyToDoor-v0"),
        ("expert", "rl_suite/DarkKeyToDoor-v0"),
        ("explorer", "rl_suite/DarkRoomHard-v0"),
        ("sweeper", "rl_suite/DarkRoomHard-v0"),
        ("expert", "rl_suite/DarkRoomHard-v0"),
        ("ucb", "rl_suite/BernoulliBandit-v0"),
        ("thompson", "rl_suite/AdversarialBandit-v0"),
        ("expert", "rl_suite/BernoulliBandit-v0"),
    ],
)
@pytest.mark.parametrize("labels", ["intended", "behaviour", "optimal"])
def test_every_source_writes_histories(name, world, labels):
    words = (
        f"distillation.source.name={name}",
        f"distillation.world.id={world}",
        f"distillation.source.labels={labels}",
    )
    histories = histories_of(*words)
    assert np.isfinite(histories.rewards).all()
    assert same(histories, histories_of(*words))
    if labels == "behaviour":
        assert (histories.labels == histories.actions).all()


def test_an_expert_earns_the_optimum():
    histories = histories_of("distillation.source.name=expert", "distillation.source.silent=0", n=65)
    far = np.abs(histories.tasks // 9 - 4) + np.abs(histories.tasks % 9 - 4)
    assert (histories.returns() == (21 - np.maximum(far, 1))[:, None]).all()
    doors = histories_of(
        "distillation.source.name=expert",
        "distillation.source.silent=0",
        "distillation.world.id=rl_suite/DarkKeyToDoor-v0",
    )
    assert (doors.returns() == 2).all()


def test_the_explorer_finds_every_goal_and_keeps_it():
    words = ["distillation.source.episodes=12", "distillation.source.silent=0"]
    quiet = "{memory: 280, noise: 0.0, forget: 0.0}"
    histories = histories_of(*words, f"distillation.source.explorer={quiet}", n=65)
    far = np.abs(histories.tasks // 9 - 4) + np.abs(histories.tasks % 9 - 4)
    assert (histories.returns()[:, -1] == 21 - np.maximum(far, 1)).all()


def test_a_sweep_without_noise_sees_every_cell_of_a_large_room():
    words = ("distillation.world.id=rl_suite/DarkRoomHard-v0", "distillation.source.name=sweeper")
    calm = ("distillation.source.sweeper.noise=0", "distillation.source.episodes=30")
    seen = histories_of(*words, *calm, n=2, silent=1.0).next_observations[0]
    assert len(np.unique(seen, axis=0)) == 17 * 17
    with pytest.raises(ValueError, match="same cell"):
        histories_of("distillation.source.name=sweeper", "distillation.world.id=rl_suite/DarkKeyToDoor-v0")


def test_noise_in_what_q_learning_does_is_not_in_its_labels():
    words = ("distillation.source.name=q_learning", "distillation.source.episodes=40", "distillation.source.silent=0")
    still, wild = (histories_of(*words, f"distillation.source.q_learning.noise={noise}", n=64) for noise in (0.0, 1.0))

    def disagreement(histories):
        allowed = np.take_along_axis(histories.labels, histories.actions[..., None].astype(np.int64), axis=2) > 0
        return 1 - allowed.mean()

    assert disagreement(still) < 0.05  # epsilon alone
    assert disagreement(wild) > 0.2
    assert np.bincount(wild.actions.ravel(), minlength=5).min() > 0.19 * wild.actions.size
    player = make_player("source", family_of(settings(*words)), settings(*words).source, 0)
    assert isinstance(player, QLearning)


def test_detours_are_labelled_with_the_way_to_the_goal():
    words = ("distillation.world.id=rl_suite/DarkRoomHard-v0", "distillation.source.name=sweeper")
    settings = ("distillation.source.silent=0", "distillation.source.episodes=60")
    sweeper = "distillation.source.sweeper={noise: 0.0, episode_steps: 20, detours: %s}"
    straight = histories_of(*words, *settings, sweeper % 0.0, n=16)
    detours = histories_of(*words, *settings, sweeper % 1.0, n=16)
    found = straight.returns().argmax(1)
    assert (straight.returns()[:, -10:] == 1).all()
    assert (detours.returns().mean(1) < 0.3).all()  # the plan passes each goal now and then
    for goal, row, episode in zip(straight.tasks, range(16), found, strict=True):
        later = slice(20 * (episode + 1), None)
        cells, labels = detours.observations[row, later].astype(int), detours.labels[row, later]
        searching = rewards_before(detours.rewards, detours.first)[row, later] == 0
        away = np.abs(cells - np.divmod(goal, 17)).sum(1)
        steps = np.abs(cells[:, None] + np.array(MOVES) - np.divmod(goal, 17)).sum(2) - away[:, None]
        assert (steps[searching][labels[searching] > 0] < 0).all()


def test_ppo_histories_hold_terminal_observations():
    histories = histories_of("distillation.source.name=ppo", "distillation.source.silent=0")
    assert histories.actions.shape == (8, 80)
    ends = np.flatnonzero(histories.first[0])[1:]
    moved = np.abs(histories.next_observations[:, ends - 1].astype(int) - histories.observations[:, ends - 1]).sum(-1)
    assert (moved <= 1).all()  # one move away, not back in the centre
    assert (histories.observations[:, ends] == 4).all()


def test_thinned_histories_keep_whole_episodes():
    histories = histories_of()
    thin = histories.select_episodes([0, 3])
    assert (thin.observations[:, 20:] == histories.observations[:, 60:80]).all()
    assert thin.returns().shape == (8, 2)
    with pytest.raises(ValueError, match="at least 2 steps"):
        Histories(*(getattr(histories, name)[:, :1] for name in ARRAYS[:-1]), tasks=histories.tasks)


def findings(tmp_path, histories):
    shard = save_shard(tmp_path, 0, histories)
    save_manifest(tmp_path, replace(plan(len(histories)), shards=[shard]))
    return [f.text for f in examine(tmp_path) if f.verdict == "problem"]


def test_the_doctor_finds_each_disease(tmp_path):
    healthy = histories_of("distillation.source.silent=0", "distillation.source.episodes=10", n=32)
    assert findings(tmp_path, healthy) == []
    reset = healthy.next_observations.copy()
    reset[:, 19:-1:20] = healthy.observations[:, 20::20]
    assert "reset, not terminal" in findings(tmp_path, replace(healthy, next_observations=reset))[0]
    leaked = np.where(np.arange(32) == 3, 38, healthy.tasks)  # 38 = (4, 2), a test goal
    assert "outside the train split: [38]" in findings(tmp_path, replace(healthy, tasks=leaked))[0]
    backwards = healthy.rewards[:, ::-1].copy()
    assert any("improve" in text for text in findings(tmp_path, replace(healthy, rewards=backwards)))
    shifted = np.roll(healthy.first, 1, axis=1)
    assert any("hidden boundary" in text for text in findings(tmp_path, replace(healthy, first=shifted)))
    labels = healthy.labels * 2
    assert any("not probabilities" in text for text in findings(tmp_path, replace(healthy, labels=labels)))


def test_windows_shift_what_came_before():
    histories = histories_of()
    windows = Windows(histories, 5, histories.n_steps, 1.0, False, "history", seed=0)
    steps, labels = windows.batch(0, 4)
    assert (steps.action[:, 0] == 5).all()
    row = next(i for i in range(8) if (histories.observations[i] == steps.observation[0].numpy()).all())
    assert (steps.action[0, 1:].numpy() == histories.actions[row, :-1]).all()
    assert (steps.reward[0, 1:].numpy() == histories.rewards[row, :-1]).all()
    assert np.allclose(labels[0].numpy(), histories.labels[row], atol=1e-3)
    again, _ = windows.batch(0, 4)
    assert all((a == b).all() for a, b in zip(steps, again, strict=True))
    with pytest.raises(ValueError, match="does not fit"):
        Windows(histories, 5, histories.n_steps + 1, 1.0, False, "history", seed=0)


def test_renaming_actions_renames_labels_alike():
    words = ("distillation.source.name=expert", "distillation.world.id=rl_suite/BernoulliBandit-v0")
    soft = histories_of(*words)
    hard = replace(soft, labels=soft.labels.argmax(-1).astype(np.int8))
    for histories in (soft, hard):
        steps, labels = Windows(histories, 5, 50, 1.0, True, "history", seed=1).batch(0, 8)
        named = labels.argmax(-1) if labels.ndim == 3 else labels
        assert (steps.action[:, 1:] == named[:, :-1]).all()  # the expert does what it means to do
    assert len(set(named[:, 0].tolist())) > 1


def test_rewards_before_starts_anew_with_every_episode():
    rewards = np.array([[0.0, 2.0, 0.0, 1.0, 1.0, 0.0]])
    first = np.array([[True, False, False, False, True, False]])
    assert rewards_before(rewards, first).tolist() == [[0, 0, 1, 1, 0, 1]]


def test_shuffled_transitions_stay_whole():
    words = (
        "distillation.source.name=noisy_expert",
        "distillation.source.labels=optimal",
        "distillation.source.silent=0",
    )
    histories = histories_of(*words)
    windows = Windows(histories, 5, 80, 1.0, False, "decisions", seed=0, shuffle=True)
    steps, labels = windows.batch(0, 16)
    goal_found = steps.reward > 0
    assert goal_found.any()
    moves = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]])
    reached = (steps.observation.long() + moves[steps.action])[goal_found].clamp(0, 8)  # each with its own action
    rows = [i for i, found in enumerate(goal_found) for _ in range(int(found.sum()))]
    assert all(
        len({tuple(cell) for cell, row in zip(reached.tolist(), rows, strict=True) if row == i}) <= 1 for i in rows
    )
    assert labels.shape == (16, 80, 5)
    with pytest.raises(ValueError, match="a history has an order"):
        Windows(histories, 5, 80, 1.0, False, "history", seed=0, shuffle=True)
