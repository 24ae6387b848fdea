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

from rl_suite.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SIZES = ["train.total_timesteps=4096", "train.checkpoint_every=512", "train.evaluate_every=2048", "train.log_every=512"]
WORLDS = {
    "darkroom": ["experiment=darkroom,smoke", *SIZES],
    "bandit": ["experiment=bandit_ppo,smoke", "normalize.observation=true", "normalize.reward=true", *SIZES],
    "dqn": ["experiment=darkroom,smoke", "algorithm=dqn", *SIZES],
}
NAMES = {"darkroom": "darkroom-smoke", "bandit": "bandit_ppo-smoke", "dqn": "darkroom-smoke"}


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
