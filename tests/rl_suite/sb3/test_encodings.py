"""A graph policy leaves its encodings for the projector; other policies leave nothing."""

from pathlib import Path

import numpy as np
import pytest

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
from rl_suite.run import Run
from rl_suite.viz.projector import CONFIG

WORDS = ["evaluation.n_tasks=1", "train.total_timesteps=64", "train.evaluate_every=64", "replay_steps=2"]


def trained(experiment: str, folder: Path, *words: str) -> Path:
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={experiment},smoke", f"runs_dir={folder}", *WORDS, *words])
    assert run_job(config)
    return Run.place(config)


def test_every_step_of_eight_episodes_is_a_point(tmp_path: Path) -> None:
    run = trained("durotaxis_per_node", tmp_path, "env.max_episode_steps=6")
    points = np.loadtxt(run / "projector_features.tsv")
    labels = (run / "projector_labels.tsv").read_text().splitlines()
    assert labels[0] == "step\tnodes"
    assert len(points) == len(labels) - 1
    steps = [int(line.split("\t")[0]) for line in labels[1:]]
    assert steps.count(0) >= 8
    assert max(steps) <= 5
    assert np.ptp(points, axis=0).max() > 0  # not the same point over and over


@pytest.mark.parametrize("experiment", ["darkroom"])
def test_policies_without_graphs_have_none(experiment: str, tmp_path: Path) -> None:
    assert not (trained(experiment, tmp_path) / CONFIG).exists()
