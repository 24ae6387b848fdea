"""SAC, TD3, TQC and CrossQ: they train, go on with the same bits, learn, and say what they cannot do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.snapshot import restore, snapshot
from rl_suite.seeding import seed_everything

ALGORITHMS = ("sac", "td3", "tqc", "crossq")
TINY = ["experiment=pendulum_sac,smoke", "train.total_timesteps=160", "evaluation.n_tasks=1", "env.n_envs=2"]


def trained(folder: Path, *words: str) -> Path:
    """The folder of a run that has ended."""
    assert run_job(load_experiment(DEFAULT_CONFIG, [*words, f"runs_dir={folder}", "name=mine"]))
    return folder / "mine" / "0"


def model_of(*words: str) -> Any:
    config = load_experiment(DEFAULT_CONFIG, words)
    seed_everything(config.seed)
    return build_model(config, build_env(config, config.env.train_kwargs, config.env.n_envs))


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif hasattr(a, "tobytes"):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trains_is_evaluated_and_exported(algorithm: str, tmp_path: Path) -> None:
    run = trained(tmp_path, *TINY, f"algorithm={algorithm}")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("train/critic_loss" in line for line in lines)
    assert {"model.zip", "evaluation.json", "report.html"} <= {path.name for path in run.iterdir()}


class SaveAt(BaseCallback):
    """Saves at the start of a rollout, as training does."""

    def __init__(self, step: int, path: Path):
        super().__init__()
        self.step, self.path = step, path

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps == self.step:
            save_checkpoint(self.path, snapshot(self.model))


@pytest.mark.parametrize("algorithm", ["sac", "td3", "tqc"])  # CrossQ knows no observations that are dictionaries
def test_goes_on_with_the_same_bits(algorithm: str, tmp_path: Path) -> None:
    words = [
        "experiment=smoke",
        f"algorithm={algorithm}",
        "env.id=rl_suite/DurotaxisRatio-v0",
        "policy.name=MultiInputPolicy",
        "policy.kwargs={net_arch: [8]}",
        f"{algorithm}.learning_starts=8",
        "normalize.reward=true",
    ]
    whole = model_of(*words)
    whole.learn(64, SaveAt(32, tmp_path / "middle.ckpt"))
    resumed = model_of(*words)
    assert restore(resumed, load_checkpoint(tmp_path / "middle.ckpt"))
    resumed.learn(32, reset_num_timesteps=False)
    ours, theirs = snapshot(whole), snapshot(resumed)
    for part in ("parameters", "variables", "replay", "last", "random"):
        assert_same(ours[part], theirs[part])
    if algorithm != "td3":
        assert set(ours["variables"]) == {"log_ent_coef"}
        assert ours["variables"]["log_ent_coef"].item() != 0  # it learns


@pytest.mark.parametrize("variables", [{}, {"log_ent_coef": torch.tensor([float("nan")])}, {"log_ent_coef": 1.0}])
def test_a_weight_of_the_entropy_that_does_not_fit_is_refused(variables: dict[str, Any]) -> None:
    model = model_of(*TINY).learn(2)
    content = snapshot(model)
    content["variables"] = variables
    with pytest.raises(ValueError, match=r"variables\.log_ent_coef must be finite"):
        restore(model, content)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=darkroom,smoke", "algorithm=sac"], "sac with policy MlpPolicy cannot act"),
        (["experiment=darkroom,smoke", "algorithm=td3"], "td3 with policy MlpPolicy cannot act"),
        (["experiment=pendulum_sac,smoke", "sac.buffer_size=1000000000000"], "what sac remembers of 4 copies needs"),
        (["experiment=pendulum_sac,smoke", "td3.tau=0.1"], "td3: algorithm=sac reads sac instead"),
        (["experiment=pendulum_sac,smoke", "sac.ent_coef=-1"], "sac.ent_coef"),
        (["experiment=pendulum_sac,smoke", "algorithm=crossq", "policy.name=CnnPolicy"], "policy of CrossQ"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model_of(*words)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_swings_the_pendulum_up(algorithm: str, tmp_path: Path) -> None:
    found = json.loads(
        (trained(tmp_path, "experiment=pendulum_sac", f"algorithm={algorithm}") / "evaluation.json").read_text()
    )
    ours, random = (found["agents"][name]["mean"]["estimate"] for name in ("trained", "random"))
    assert random < -900
    assert ours > -350
