"""Both continual problems as runs: they go on with the same bits, are examined again, and are drawn."""

import json

import numpy as np
import pytest
from PIL import Image

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.experiment import build_session

SMALL = {
    "continual_digits": ["meta_learning.continual.repeats=1", "meta_learning.continual.sequences=[split_task]"],
    "continual_rooms": [],
}


def session_of(experiment, *words):
    words = [f"experiment={experiment},smoke", *SMALL[experiment], *words]
    return build_session(load_experiment(DEFAULT_CONFIG, words))


def strategies_of(session):
    return dict.fromkeys(cell.strategy for cell in session.lessons.cells)


@pytest.mark.parametrize("experiment", SMALL)
def test_a_stopped_run_goes_on_with_the_same_bits(experiment, tmp_path):
    whole = session_of(experiment)
    n_tasks = whole.lessons.n_tasks
    for step in range(whole.total_steps):
        whole.step(step)
    parts = session_of(experiment)
    for step in range(parts.total_steps):
        parts.step(step)
        if step % n_tasks == 0:  # in the middle of every cell
            save_checkpoint(tmp_path / "state", {"session": parts.state_dict()})
            parts = session_of(experiment)
            parts.load_state_dict(load_checkpoint(tmp_path / "state")["session"])
    assert parts.lessons.rows == whole.lessons.rows
    for one, other in zip(parts.lessons.knowledge, whole.lessons.knowledge, strict=True):
        weights, others = next(iter(one.values())), next(iter(other.values()))
        assert all((weights[name] == others[name]).all() for name in others)
    assert parts.validate().score == whole.total_steps


@pytest.mark.parametrize("experiment", SMALL)
def test_pupils_are_examined_again(experiment, tmp_path):
    session = session_of(experiment)
    with pytest.raises(UserError, match="to its end"):
        session.evaluate({})
    for step in range(session.total_steps):
        session.step(step)
    taught = [rows[-1] for rows in session.lessons.rows]
    for rows in session.lessons.rows:
        rows[-1] = [0.0 for _ in rows[-1]]
    report = session.evaluate({"training_steps": 1.0})
    assert [rows[-1] for rows in session.lessons.rows] == taught
    report.save(tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text())
    (sequence,) = content["matrices"]
    assert set(content[sequence]) == set(strategies_of(session))
    assert np.shape(content["matrices"][sequence]["naive"]["R"])[1:] == (session.lessons.n_tasks,) * 2
    session.pictures(tmp_path)
    with Image.open(tmp_path / f"{sequence}.png") as picture:
        assert picture.width > 600
        assert np.asarray(picture.convert("L")).std() > 10


def test_one_strategy_stands_between_its_controls():
    assert list(strategies_of(session_of("continual_rooms", "meta_learning.learner=ewc"))) == ["naive", "ewc", "joint"]
    with pytest.raises(UserError, match="there are all, naive"):
        session_of("continual_rooms", "meta_learning.learner=wish")


def test_progressive_networks_are_left_out_where_nobody_tells_the_task():
    cells = build_session(load_experiment(DEFAULT_CONFIG, ["experiment=continual_digits,smoke"])).lessons.cells
    assert {cell.sequence for cell in cells if cell.strategy == "progressive"} == {"split_task"}


@pytest.mark.parametrize(
    ("experiment", "word", "message"),
    [
        ("continual_digits", "meta_learning.continual.per_sequence={split_task: {nonsense: 1}}", "nonsense"),
        ("continual_digits", "meta_learning.continual.per_sequence={split_task: {damping: -1}}", "damping"),
        ("continual_digits", "meta_learning.continual.data=mnist", "MNIST is not on this machine"),
        ("continual_digits", "meta_learning.continual.tasks=3", "evenly"),
        ("continual_rooms", "meta_learning.continual_worlds.n_envs=2", "n_envs|batch_size"),
        ("continual_rooms", "meta_learning.continual_worlds.id=rl_suite/Nowhere-v0", "Nowhere"),
        ("continual_rooms", "meta_learning.continual_worlds.id=rl_suite/Durotaxis-v0", "continual_worlds.id"),
    ],
)
def test_bad_settings_get_one_clear_line(experiment, word, message, monkeypatch, tmp_path):
    monkeypatch.setenv("RL_SUITE_DATA", str(tmp_path))
    with pytest.raises(UserError, match=message):
        session_of(experiment, word).step(0)
