"""Follow CONTRIBUTING.md to the letter."""

import importlib
import json
import runpy
import sys

import gymnasium as gym
import numpy as np
import pytest
import yaml
from gymnasium.utils.env_checker import check_env
from markdown_blocks import ROOT, blocks
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import train
from rl_suite.cli import run_command

FILES = {block.file_name: block.text for block in blocks("CONTRIBUTING.md", language="python")}
(EXPERIMENT,) = (yaml.safe_load(block.text) for block in blocks("CONTRIBUTING.md", language="yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of the document and a config.yaml with its block, importable."""
    path = tmp_path_factory.mktemp("contribution")
    for name, text in FILES.items():
        (path / name).write_text(text)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["experiments"].update(EXPERIMENT)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    before = set(gym.registry)
    sys.path.insert(0, str(path))
    yield path
    sys.path.remove(str(path))
    for name in FILES:
        sys.modules.pop(name.removesuffix(".py"), None)
    for name in set(gym.registry) - before:
        del gym.registry[name]


def run(folder, monkeypatch, *words):
    """``python train.py words`` without a new process."""
    monkeypatch.setattr(sys, "argv", ["train.py", "--config", str(folder / "config.yaml"), *words])
    run_command(train.main)


def test_the_document_has_its_parts():
    assert set(FILES) == {"my_worlds.py", "my_policies.py", "look.py"}
    assert set(EXPERIMENT) == {"corridor"}


def test_the_world_passes_the_checks(folder):
    importlib.import_module("my_worlds")
    env = gym.make("my/Corridor-v0", render_mode="ansi")
    check_env(env.unwrapped)
    check_env_sb3(env)
    batch = gym.make_vec("my/Corridor-v0", num_envs=5)
    observations, _ = batch.reset(seed=3)
    alone, _ = gym.make("my/Corridor-v0").reset(seed=3 + 4)
    np.testing.assert_array_equal(observations[4], alone)
    env.reset(seed=0)
    assert env.render().count("A") == 1


def test_the_experiment_runs_in_its_smallest_size(folder, monkeypatch, capsys):
    run(folder, monkeypatch, "experiment=corridor,smoke", f"runs_dir={folder / 'runs'}")
    assert (folder / "runs" / "corridor-smoke" / "0" / "evaluation.json").is_file()
    assert "results:" in capsys.readouterr().out


def test_the_experiment_keeps_what_the_document_says(folder, monkeypatch):
    """It reaches the oracle on cells that it never saw."""
    run(folder, monkeypatch, "experiment=corridor", f"runs_dir={folder / 'runs'}")
    stored = json.loads((folder / "runs" / "corridor" / "0" / "evaluation.json").read_text())
    assert stored["agents"]["trained"]["share_of_oracle"] == pytest.approx(1.0)
    assert stored["agents"]["trained"]["success_rate"]["estimate"] == 1.0
    assert stored["agents"]["random"]["success_rate"]["estimate"] < 1.0


def test_anything_with_predict_is_measured(folder, monkeypatch):
    monkeypatch.chdir(folder)
    runpy.run_path(str(folder / "look.py"))
    assert json.loads((folder / "evaluation.json").read_text())["agents"]["straight"]["success_rate"]["estimate"] == 1.0
