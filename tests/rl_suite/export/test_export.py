"""An exported folder acts as the agent does, without this suite; what cannot be exported says so in one line."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.evaluation.command import read_request
from rl_suite.experiments import load_experiment
from rl_suite.export import acting_policy, export_run
from rl_suite.export.acting import export_program, largest_difference
from rl_suite.export.card import write_card
from rl_suite.export.folder import weights_of
from rl_suite.job import run_job
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.evaluation import load_agent

PENDULUM = ["experiment=pendulum_sac,smoke", "train.total_timesteps=140", "normalize.observation=true"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SAC that normalises its observations."""
    folder = tmp_path_factory.mktemp("runs")
    assert run_job(load_experiment(DEFAULT_CONFIG, [*PENDULUM, f"runs_dir={folder}", "name=mine"]))
    return folder / "mine" / "0"


def opened(path: Path) -> Any:
    config, request = read_request(Path(), [str(path)])
    return config, request.run


def model_of(*words: str) -> tuple[Any, Any]:
    """An untrained model, and observations of two environments."""
    config = load_experiment(DEFAULT_CONFIG, words)
    env = build_env(config, config.env.train_kwargs, 2)
    model = build_model(config, env)
    return model, model.policy.obs_to_tensor(env.reset())[0]


def test_the_program_acts_on_raw_observations_as_the_agent_does(run: Path, tmp_path: Path) -> None:
    config, opened_run = opened(run)
    lines = export_run(config, opened_run, tmp_path / "out")
    assert any("policy.pt2" in line and "any number" in line for line in lines)
    act = torch.export.load(tmp_path / "out" / "policy.pt2").module()
    agent = load_agent(config, opened_run.checkpoints.for_evaluation())
    raw = np.random.default_rng(0).uniform([-1, -1, -8], [1, 1, 8], (50, 3)).astype(np.float32)
    expected, _ = agent.predict(raw, deterministic=True)
    np.testing.assert_allclose(act(torch.as_tensor(raw)).numpy(), expected, atol=1e-5)


def test_the_card_is_what_a_hub_reads(run: Path, tmp_path: Path) -> None:
    config, opened_run = opened(run)
    export_run(config, opened_run, tmp_path / "out")
    _, head, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    front = yaml.safe_load(head)
    assert front["library_name"] == "stable-baselines3"
    assert {"Pendulum-v1", "sac"} <= set(front["tags"])
    reached = json.loads((run / "evaluation.json").read_text())["agents"]["trained"]["mean"]["estimate"]
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert metric["type"] == "mean_reward"
    assert float(metric["value"].split()[0].replace(",", "")) == pytest.approx(reached, rel=0.01)
    for name in ("model.safetensors", "policy.pt2", "model.zip", "normalization.npz", "evaluation.json"):
        assert f"`{name}`" in text
        assert (tmp_path / "out" / name).is_file()


def test_the_weights_are_those_of_the_policy(run: Path, tmp_path: Path) -> None:
    config, opened_run = opened(run)
    export_run(config, opened_run, tmp_path / "out")
    weights = load_file(tmp_path / "out" / "model.safetensors")
    best = opened_run.checkpoints.read_for_evaluation().content["sb3"]["parameters"]["policy"]
    prefix = "sb3.parameters.policy."
    assert {name.removeprefix(prefix) for name in weights if name.startswith(prefix)} == set(best)
    assert not any("optimizer" in name for name in weights)
    assert all(torch.equal(weights[prefix + name], value) for name, value in best.items())


def test_only_what_acts_counts_as_weights() -> None:
    one = torch.ones(1)
    content = {
        "model": {"w": one, "n": torch.tensor(3)},
        "actor.optimizer": {"m": one},
        "random": {"torch": one},
        "x": 1,
    }
    assert set(weights_of(content)) == {"model.w"}


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="the extra onnx is not installed")
def test_onnx_acts_as_the_program_does(run: Path, tmp_path: Path) -> None:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    config, opened_run = opened(run)
    export_run(config, opened_run, tmp_path / "out", onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "policy.onnx", providers=["CPUExecutionProvider"])
    raw = np.random.default_rng(1).uniform(-1, 1, (5, 3)).astype(np.float32)
    act = torch.export.load(tmp_path / "out" / "policy.pt2").module()
    (found,) = session.run(None, {session.get_inputs()[0].name: raw})
    np.testing.assert_allclose(found, act(torch.as_tensor(raw)).numpy(), atol=1e-5)


def test_without_the_extra_onnx_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl_suite.export.acting.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '.\[onnx\]'"):
        export_run(*opened(run), tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=darkroom,smoke"],
        ["experiment=darkroom,smoke", "algorithm=dqn"],
        ["experiment=durotaxis,smoke"],
        ["experiment=pendulum_sac,smoke", "algorithm=td3"],
    ],
)
def test_programs_of_other_algorithms_and_worlds(words: list[str]) -> None:
    model, example = model_of(*words)
    module = acting_policy(model)
    program, _ = export_program(module, example)
    assert largest_difference(module, program.module(), example) == pytest.approx(0, abs=1e-5)
    observation = example if not isinstance(example, dict) else {key: value.numpy() for key, value in example.items()}
    expected, _ = model.predict(observation if isinstance(example, dict) else example.numpy(), deterministic=True)
    np.testing.assert_allclose(module(example).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=bandit_ppo,smoke"], "has a memory"),
        (["experiment=darkroom,smoke", "algorithm=maskable_ppo"], "is told which actions are allowed"),
    ],
)
def test_what_maps_no_observation_alone_to_an_action_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        acting_policy(model_of(*words)[0])


def test_an_existing_folder_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="exists"):
        export_run(*opened(run), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_texts_of_a_stranger_are_no_markup(run: Path, tmp_path: Path) -> None:
    config, opened_run = opened(run)
    hostile = config.model_copy(update={"experiment": "x](javascript:a) <script>`\n# y"})
    write_card(hostile, opened_run, tmp_path, {"a": "<b>"})
    text = (tmp_path / "README.md").read_text()
    assert "<script>" not in text
    assert "](javascript" not in text
    assert "\n# y" not in text
