"""Histories that somebody else wrote: of several lengths, examined, trained on, and not exchanged on the way."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.in_context.model import action_loss
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation import experiment as training
from rl_suite.distillation.dataset import Windows
from rl_suite.distillation.doctor import examine, main
from rl_suite.distillation.histories import Histories, Manifest, join, load_histories, save_manifest, save_shard
from rl_suite.distillation.sources.sources import make_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.run import Run

ROOM = "rl_suite/DarkRoom-v0"


def config_of(*words):
    return load_experiment(DEFAULT_CONFIG, ["experiment=darkroom_distillation,smoke", *words])


def room_histories(episodes, n=8, seed=0):
    source = config_of().distillation.source.model_copy(update={"episodes": episodes, "silent": 0.0})
    return make_histories(TaskFamily.named(ROOM, {}), source, n, np.random.default_rng(seed))


def write(folder, *parts, **changes):
    shards = [save_shard(folder, number, part) for number, part in enumerate(parts)]
    manifest = Manifest(ROOM, {}, {"name": "mine"}, "train", 20, 5, 0, sum(map(len, parts)), shards)
    save_manifest(folder, replace(manifest, **changes))
    return folder


def problems(folder):
    return [found.text for found in examine(folder) if found.verdict == "problem"]


@pytest.mark.parametrize("hard", [False, True])
def test_histories_of_different_lengths_are_joined(hard, tmp_path):
    parts = [room_histories(2), room_histories(4)]
    if hard:
        parts = [replace(part, labels=part.actions) for part in parts]  # unsigned: cannot hold -1
    both = join(parts)
    assert both.steps.tolist() == [40] * 8 + [80] * 8
    assert not both.in_step
    padding = both.labels[:8, 40:]
    assert (padding == (-1 if hard else 0)).all()
    assert not both.first[:8, 40:].any()
    np.testing.assert_array_equal(both.labels[:8, :40], parts[0].labels)
    back, _, _ = load_histories(write(tmp_path / "a", *parts))
    np.testing.assert_array_equal(back.labels, both.labels)
    again, _, _ = load_histories(write(tmp_path / "b", both))
    np.testing.assert_array_equal(again.steps, both.steps)
    with pytest.raises(ValueError, match="differ in shape"):
        join([parts[0], replace(parts[1], observations=parts[1].observations[..., :1])])


@pytest.mark.parametrize("lengths", [[1, 4], [2, 81], [2], [2.0, 2.0]])
def test_lengths_that_cannot_be_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths must"):
        replace(room_histories(4, n=2), lengths=np.array(lengths))


@pytest.mark.parametrize(("layout", "shuffle"), [("history", False), ("decisions", True)])
def test_padding_is_never_learned_from(layout, shuffle):
    short = room_histories(2, n=4)
    both = join([short, room_histories(4, n=1)])
    windows = Windows(both, 5, 60, 0.5, False, layout, seed=0, shuffle=shuffle)
    steps, labels = windows.batch(0, 64)
    inside = labels.sum(-1) > 0.5  # labels are probabilities
    padded = inside.sum(1) == 40
    assert padded.any()
    assert (inside.sum(1)[~padded] == 60).all()  # whole windows of the long history
    assert inside[padded][:, :40].all()  # padding stands last, where no earlier step looks
    logits = torch.randn(64, 60, 5, requires_grad=True)
    action_loss(logits, labels)[0].backward()
    assert (logits.grad[~inside] == 0).all()
    assert (logits.grad[inside].abs().sum(-1) > 0).all()
    assert steps.action.shape == (64, 60)


def test_a_window_longer_than_all_histories_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Windows(join([room_histories(2), room_histories(4)]), 5, 81, 0.5, False, "history", seed=0)


def test_a_run_learns_from_a_folder(tmp_path, capsys):
    folder = write(tmp_path / "mine", room_histories(4, n=64), room_histories(3, n=64, seed=1))
    assert problems(folder) == []
    words = [f"distillation.source.folder={folder}", f"runs_dir={tmp_path / 'runs'}"]
    config = config_of(*words)
    with Run.start(config) as run:
        training.train(config, run)
        assert run.status == "complete"
    assert "cannot play beside" in capsys.readouterr().out
    assert not (run.path / "histories").exists()
    write(folder, room_histories(4, n=64, seed=2))
    family = TaskFamily.named(ROOM, {})
    with pytest.raises(UserError, match="other histories than when this run began"):
        training.collect_histories(config, family, run)


def test_a_folder_that_does_not_fit_is_refused(tmp_path):
    good = room_histories(4, n=64)
    family = TaskFamily.named(ROOM, {})
    with Run.start(config_of(f"runs_dir={tmp_path / 'runs'}")) as run:
        for name, histories, changes, message in (
            ("world", good, {"env_id": "rl_suite/DarkRoomHard-v0"}, "holds histories of rl_suite/DarkRoomHard-v0"),
            ("options", good, {"env_options": {"start": [0, 0]}}, "start"),
            ("leak", replace(good, tasks=np.full(64, 38)), {}, r"outside the train split: \[38\]"),
            ("split", good, {"split": "test"}, "'test' split"),
            ("cast", replace(good, observations=np.float32(good.observations)), {}, "are real numbers"),
            ("wrap", replace(good, observations=good.observations + 9), {}, "lie outside"),
            ("starts", replace(good, first=good.first & (np.arange(80) != 20)), {}, r"episodes of \[40\] steps"),
            ("actions", replace(good, actions=good.actions + 1), {}, "actions are not all of 0 to 4"),
            ("labels", replace(good, labels=np.full(good.actions.shape, -1)), {}, "there are none"),
            ("length", good, {"episode_length": 10}, "the world's have 20"),
        ):
            folder = write(tmp_path / name, histories, **changes)
            with pytest.raises(UserError, match=message):
                training.collect_histories(config_of(f"distillation.source.folder={folder}"), family, run)


def test_the_doctor_sees_numbers_that_were_cast_or_wrapped(tmp_path):
    """Rooms wider than 256 whose cells were cast to a byte begin where the world does not."""
    options = {"size": 300, "start": [280, 290]}
    source = config_of().distillation.source.model_copy(update={"silent": 0.0})
    good = make_histories(TaskFamily.named(ROOM, options), source, 8, np.random.default_rng(0))
    changes = {"env_options": options}
    assert not any("cast" in text for text in problems(write(tmp_path / "good", good, **changes)))
    cast = {name: getattr(good, name).astype(np.uint8) for name in ("observations", "next_observations")}
    found = problems(write(tmp_path / "cast", replace(good, **cast), **changes))
    assert any("begins at [24, 34], where this world begins all at [280, 290]" in text for text in found)


def test_the_doctor_sees_first_steps_that_are_none(tmp_path):
    """An episode that ended early, while first steps are marked every 20 steps all the same."""
    good = room_histories(4, n=16)
    moved = {}
    for name in ("observations", "next_observations", "actions", "rewards", "labels"):
        values = getattr(good, name)
        moved[name] = np.concatenate([values[:, :13], values[:, 20:], values[:, :7]], axis=1)
    found = problems(write(tmp_path, replace(good, **moved)))
    assert any("do not follow from the step before" in text for text in found)
    assert any("first steps are marked where there are none" in text for text in found)


def test_the_doctor_imports_nothing_that_a_folder_names(tmp_path, capsys):
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    folder = write(tmp_path / "histories", room_histories(2), env_id="evil:evil/World-v0")
    assert main(["check", str(folder)]) == 2
    assert "would import the module evil. If you know what it would run: --trust-code" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "told"), [("noisy_expert", "give the task away"), ("explorer", "for other tasks in the same place")]
)
def test_the_doctor_says_whether_contexts_know_the_task(source, told, tmp_path):
    section = config_of(f"distillation.source.name={source}", "distillation.source.labels=optimal").distillation.source
    section = section.model_copy(update={"episodes": 14, "silent": 0.0})
    histories = make_histories(TaskFamily.named(ROOM, {}), section, 64, np.random.default_rng(0))
    folder = write(tmp_path, histories, source=section.model_dump(mode="json"))
    lines = [found for found in examine(folder) if "before any reward" in found.text]
    assert told in lines[0].text
    assert (lines[0].verdict == "note") == (source == "noisy_expert")


def test_a_history_needs_two_steps():
    with pytest.raises(ValueError, match="cannot be float64 of shape"):
        Histories(*(np.zeros((1, 1)) for _ in range(6)), tasks=np.zeros(1, dtype=np.int64))
