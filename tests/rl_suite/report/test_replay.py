"""What is played on the page is what happened, and a file of anything else is refused in one line."""

import base64
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from agents.baselines import RandomAgent
from agents.durotaxis_baselines import UpGradient
from envs.gridworld import DarkRoom
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.problems.episode_pictures import replay_of
from rl_suite.meta_learning.tasks import Task
from rl_suite.recording import record
from rl_suite.report.replay import ColonyReplay, FewShotReplay, RoomReplay, as_script, read_replay
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.evaluation import evaluation_spec
from rl_suite.sb3.watch import look_of

ROOM: dict[str, Any] = {
    "kind": "room",
    "about": "a room",
    "size": 3,
    "landmarks": [["G", 8]],
    "cells": [4, 5, 8, 4],
    "rewards": [0.0, 0.0, 1.0, 0.0],
    "episodes": [0, 0, 0, 1],
}


def test_a_trial_in_a_room_is_noted_step_by_step() -> None:
    family = TaskFamily.named("rl_suite/DarkRoom-v0", {"size": 5})
    spec = EvaluationSpec("rl_suite/DarkRoom-v0", make_envs=lambda n: family.trials(n, 2, "test"), seed=3)
    agent = RandomAgent(family.make(1, "test").action_space, seed=0)
    replay = record(agent, spec).replay("about")
    assert isinstance(replay, RoomReplay)
    assert len(replay.cells) == 2 * family.episode_steps
    assert set(replay.episodes) == {0, 1}
    assert replay.cells[0] == 12  # the centre of 5 x 5
    goal = replay.landmarks[0][1]
    inside = [i for i in range(1, len(replay.cells)) if replay.episodes[i] == replay.episodes[i - 1]]
    assert all((replay.rewards[i] == 1) == (replay.cells[i] == goal) for i in inside)


def test_a_colony_is_noted_on_its_field() -> None:
    options = {"action_mode": "delete_ratio", "max_nodes": 64}
    spec = EvaluationSpec("rl_suite/Durotaxis-v0", options, seed=1, max_episode_steps=20)
    with closing(spec.make()) as env:
        agent = UpGradient(env.single_action_space, seed=0)
    replay = record(agent, spec).replay("about")
    assert isinstance(replay, ColonyReplay)
    assert 2 < len(replay.moments) <= 20
    field = np.array(replay.field)
    assert field.min() == 0
    assert field.max() == 255
    rows, columns = np.indices(field.shape)
    side = (len(field) - 1) / 2
    along = replay.up[0] * (columns - side) - replay.up[1] * (rows - side)
    assert np.corrcoef(field.ravel(), along.ravel())[0, 1] > 0.9
    first = replay.moments[0]
    assert all(replay.kpa[0] <= value <= replay.kpa[1] for value in first.kpa)
    assert len(json.dumps(replay.model_dump())) < 3_000_000


@pytest.mark.parametrize("level", ["graph", "node"])
def test_what_an_agent_weighs_is_noted_beside_what_it_does(level: str) -> None:
    name = "durotaxis_wsa" if level == "graph" else "durotaxis_per_node"
    words = [f"experiment={name},smoke", f"policy.kwargs.wsa_config={{level: {level}}}", "policy.kwargs.use_wsa=true"]
    words.append("policy.kwargs.ptms=[{model_type: graph_cnn, options: {width: 4}}, {model_type: graph_cnn}]")
    config = load_experiment(DEFAULT_CONFIG, words)
    model = build_model(config, build_env(config, config.env.train_kwargs, 4))
    look = look_of(model)
    assert look is not None
    assert len(look.models) == 2
    replay = record(model, evaluation_spec(config, {}), most=4, look=look).replay("about")
    assert isinstance(replay, ColonyReplay)
    assert replay.models == look.models
    for moment in replay.moments:
        assert len(moment.looks) == (1 if level == "graph" else len(moment.x))
        np.testing.assert_allclose(np.sum(moment.looks, axis=1), 1, atol=2e-3)
    assert replay.moments[0].looks != replay.moments[-1].looks


def test_an_agent_without_models_weighs_nothing() -> None:
    config = load_experiment(DEFAULT_CONFIG, ["experiment=durotaxis,smoke"])
    model = build_model(config, build_env(config, config.env.train_kwargs, 4))
    assert look_of(model) is None
    assert look_of(RandomAgent(model.action_space, seed=0)) is None


def test_pictures_are_taken_of_every_moment() -> None:
    spec = EvaluationSpec("rl_suite/DarkRoom-v0", {"size": 3}, max_episode_steps=5)
    camera = record(RandomAgent(DarkRoom(1, size=3).action_space, seed=0), spec, pictures=True)
    assert len(camera.pictures) == 5
    assert camera.pictures[0].ndim == 3
    assert len(record(RandomAgent(DarkRoom(1, size=3).action_space, seed=0), spec, most=2).cells) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells": [4, 5, 9, 4]},
        {"cells": [4, 5, 8]},
        {"landmarks": [["G", -1]]},
        {"landmarks": [["<script>", 1]]},
        {"size": 10**9},
        {"kind": "palace"},
        {"rewards": [float("nan")] * 4},
        {"more": 1},
        {"cells": [True, 5, 8, 4]},
    ],
)
def test_what_is_no_replay_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "replay.json"
    path.write_text(json.dumps({**ROOM, **wrong}))
    with pytest.raises(UserError, match="no replay"):
        read_replay(path)


def test_text_of_a_replay_cannot_end_the_script(tmp_path: Path) -> None:
    path = tmp_path / "replay.json"
    path.write_text(json.dumps({**ROOM, "about": "</script><script>alert(1)</script>"}))
    text = as_script(read_replay(path))
    assert "<" not in text
    assert json.loads(text)["about"].startswith("</script>")


def few_shot() -> FewShotReplay:
    """Two classes; the outputs are right about the first query and wrong about the second."""
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(2, 1, 1, 2).expand(2, 1, 2, 2)
    task = Task(pictures, torch.tensor([0, 1]), pictures, torch.tensor([0, 1]))
    return replay_of(lambda tasks: [torch.tensor([[2.0, 0.0], [2.0, 0.0]])], [task])


def test_few_shot_episodes_are_noted_question_by_question() -> None:
    replay = few_shot()
    (episode,) = replay.episodes
    assert base64.b64decode(episode.given[0]) == bytes([0, 255, 0, 255])  # ink is dark
    assert [question.label for question in episode.questions] == [0, 1]
    assert episode.questions[0].shares == pytest.approx([0.8808, 0.1192])


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 3},
        {"size": 10**9},
        {"channels": 3},
        {"channels": 2},
        {"episodes": []},
        {
            "episodes": [
                {"given": ["AAAAAA==", "AAAAAA=="], "questions": [{"picture": "A", "label": 0, "shares": [1, 0]}]}
            ]
        },
        {
            "episodes": [
                {"given": ["AAAAAA=="] * 2, "questions": [{"picture": "AAAAAA==", "label": 2, "shares": [1, 0]}]}
            ]
        },
        {"episodes": [{"given": ["AAAAAA=="] * 2, "questions": [{"picture": "AAAAAA==", "label": 0, "shares": [1]}]}]},
        {"episodes": [{"given": ["AAAAAA=="], "questions": [{"picture": "AAAAAA==", "label": 0, "shares": [1]}]}]},
    ],
)
def test_what_is_no_few_shot_replay_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "replay.json"
    path.write_text(json.dumps({**few_shot().model_dump(), **wrong}))
    with pytest.raises(UserError, match="no replay"):
        read_replay(path)


DRIVER = """
<script>
const say = () => document.getElementById("moment").textContent;
const scrub = document.getElementById("scrub"), canvas = document.querySelector("#replay canvas");
const before = canvas.toDataURL();
scrub.value = 2;
scrub.dispatchEvent(new Event("input"));
const box = canvas.getBoundingClientRect(), after = say();
const middle = {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
canvas.dispatchEvent(new PointerEvent("pointermove", middle));
document.title = [after, say(), before !== canvas.toDataURL()].join(" | ");
</script>
"""


def test_a_browser_scrubs_and_hovers(tmp_path: Path, driven: Callable[[str], list[str]]) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"experiment": "room", "seed": 0}))
    (tmp_path / "replay.json").write_text(json.dumps(ROOM))
    scrubbed, hovered, changed = driven(DRIVER)
    assert scrubbed.startswith("step 2, episode 1: return 1")
    assert "cell (1, 1): 1 visits" in hovered
    assert changed == "true"


def test_a_browser_steps_through_few_shot_episodes(tmp_path: Path, driven: Callable[[str], list[str]]) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"experiment": "omniglot", "seed": 0}))
    (tmp_path / "replay.json").write_text(few_shot().model_dump_json())
    first, _, changed = driven(DRIVER.replace("scrub.value = 2", "scrub.value = 1"))
    assert first.startswith("episode 1, question 2: it shows class 2; the answer is 1, believed to 88 %, and is wrong")
    assert "so far 1 of 2 right" in first
    assert changed == "true"
