"""A run that was killed or stopped and resumed ends with the same bits as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.experiments import load_experiment
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.evaluation import validation_score
from rl_suite.sb3.snapshot import restore, snapshot
from rl_suite.sb3.watch import watchers
from rl_suite.seeding import seed_everything

ROOT = Path(__file__).resolve().parents[3]
FEW = ["train.total_timesteps=2048", "train.checkpoint_every=256", "train.evaluate_every=512", "train.log_every=256"]
PTMS = (  # one frozen throughout, one that thaws and one that joins on the way
    "policy.kwargs.ptms=[{model_type: FROZEN}, "
    "{model_type: graph_cnn, options: {width: 4}, unfreeze_at: 384}, "
    "{model_type: graph_cnn, options: {width: 4}, freeze: false, join_at: 128}]"
)
WORLDS = {
    "darkroom": ["experiment=darkroom,smoke", *FEW],
    "attention": ["experiment=durotaxis_wsa,smoke", PTMS.replace("FROZEN", "resnet18_random"), *FEW],
}
NAMES = {"darkroom": "darkroom-smoke", "attention": "durotaxis_wsa-smoke"}


def command(world: str, folder: Path) -> list[str]:
    return [sys.executable, "train.py", *WORLDS[world], f"runs_dir={folder}"]


def start(world: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(world, folder), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_checkpoint(process: subprocess.Popen[str], checkpoints: Path) -> None:
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("step_*.ckpt")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def final(folder: Path, world: str) -> dict[str, Any]:
    path = folder / NAMES[world] / "0" / "checkpoints"
    return load_checkpoint(sorted(path.glob("step_*.ckpt"))[-1])


def assert_same_bits(a: Any, b: Any, path: str = "") -> None:
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            if key != "t":  # wall-clock time of an episode
                assert_same_bits(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_bits(x, y, f"{path}[{index}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif hasattr(a, "tobytes"):
        assert a.tobytes() == b.tobytes(), path
    else:
        assert a == b, path


@pytest.mark.slow  # the drill does the same in forks of one process
@pytest.mark.parametrize("world", WORLDS)
def test_killed_and_resumed_is_bit_identical(world: str, tmp_path: Path) -> None:
    whole = subprocess.run(command(world, tmp_path / "whole"), cwd=ROOT, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    process = start(world, tmp_path / "killed")
    wait_for_checkpoint(process, tmp_path / "killed" / NAMES[world] / "0" / "checkpoints")
    process.kill()
    process.communicate()
    resumed = subprocess.run(command(world, tmp_path / "killed"), cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert_same_bits(final(tmp_path / "whole", world), final(tmp_path / "killed", world))


def test_attention_over_models_continues_with_the_same_bits(tmp_path: Path) -> None:
    """Models join and thaw, heads are fitted, caches are filled: none of it may show after a resumption."""
    words = ["experiment=durotaxis_wsa,smoke", PTMS.replace("FROZEN", "graph_cnn")]
    config = load_experiment(ROOT / "config.yaml", words)
    path = tmp_path / "middle.ckpt"

    class SaveInTheMiddle(BaseCallback):
        """As RunCallback does: evaluate, then save, at the start of a rollout."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.model.num_timesteps == 256:
                validation_score(config, self.model)
                save_checkpoint(path, snapshot(self.model))

    def model_and_watchers() -> tuple[Any, list[BaseCallback]]:
        seed_everything(config.seed)
        model = build_model(config, build_env(config, config.env.train_kwargs, config.env.n_envs))
        return model, watchers(config, model)

    whole, looking_on = model_and_watchers()
    whole.learn(512, [SaveInTheMiddle(), *looking_on])
    resumed, looking_on = model_and_watchers()
    assert restore(resumed, load_checkpoint(path))
    assert resumed.policy.multi_ptm.active.tolist() == [True, True, True]  # it has joined
    resumed.learn(256, looking_on, reset_num_timesteps=False)
    assert not resumed.policy.multi_ptm.ptms[1].frozen  # it has thawed
    ours, theirs = snapshot(whole), snapshot(resumed)
    for key in ("parameters", "last", "random"):
        assert_same_bits(ours[key], theirs[key], key)


def test_sigterm_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    process = start("darkroom", tmp_path)
    wait_for_checkpoint(process, tmp_path / "darkroom-smoke" / "0" / "checkpoints")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "to resume: python train.py experiment=darkroom,smoke" in output
    resumed = subprocess.run(command("darkroom", tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    again = subprocess.run(command("darkroom", tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert "is complete" in again.stdout
