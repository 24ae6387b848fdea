"""Run folders: they remember, refuse to be overwritten, rewind, and stop when asked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.run import Run


def config_in(folder: Path, *words: str) -> ExperimentConfig:
    return load_experiment(
        DEFAULT_CONFIG, ["experiment=darkroom,smoke", f"runs_dir={folder}", *(words or ["ppo.gamma=0.9"])]
    )


def test_a_run_records_how_it_was_made(tmp_path: Path) -> None:
    run = Run.start(config_in(tmp_path, "seed=7", "ppo.gamma=0.9"))
    assert run.path == tmp_path / "darkroom-smoke" / "7"
    record = json.loads((run.path / "run.json").read_text())
    assert record["status"] == "running"
    assert {"command", "python", "packages", "git_commit"} <= set(record)
    assert run.settings()["ppo"]["gamma"] == 0.9
    run.finish("complete")
    assert Run.open(run.path).status == "complete"


def test_another_configuration_is_refused_and_the_same_continues(tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
    with pytest.raises(UserError, match=r"another configuration \(ppo.gamma: 0.9 there, 0.5 now\)"):
        Run.start(config_in(tmp_path, "ppo.gamma=0.5"))
    with Run.start(config_in(tmp_path)) as run:
        assert run.settings()["ppo"]["gamma"] == 0.9


def test_a_folder_without_results_starts_afresh(tmp_path: Path) -> None:
    Run.start(config_in(tmp_path)).close()
    with Run.start(config_in(tmp_path, "ppo.gamma=0.5")) as run:
        assert run.settings()["ppo"]["gamma"] == 0.5


def test_two_processes_cannot_share_a_run(tmp_path: Path) -> None:
    run = Run.start(config_in(tmp_path))
    with pytest.raises(UserError, match="another process"):
        Run.start(config_in(tmp_path))
    run.close()


def test_unwritable_and_missing_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Run.start(config_in(tmp_path / "file"))
    with pytest.raises(UserError, match="not a run folder"):
        Run.open(tmp_path / "none")
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
    (tmp_path / "darkroom-smoke" / "0" / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        Run.start(config_in(tmp_path))


def test_rewind_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    run = Run.start(config_in(tmp_path))
    for step in (1, 2, 3):
        run.log(step, {"train/loss": float(step)})
    run.close()
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/lo')  # cut off by a kill
    run.rewind(2)
    run.log(3, {"train/loss": 30.0})
    run.close()
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["train/loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_the_first_signal_asks_and_the_handlers_go_back(tmp_path: Path) -> None:
    run = Run.start(config_in(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    with run.stop_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert run.stop_requested
    assert signal.getsignal(signal.SIGTERM) is before
    run.close()


def test_the_second_signal_ends_the_process() -> None:
    code = (
        "import os, signal, pathlib, rl_suite.run as r\n"
        "with r.Run(pathlib.Path('.')).stop_on_signals():\n"
        "    os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); print('survived')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=DEFAULT_CONFIG.parent, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert "survived" not in done.stdout
    assert "a second signal" in done.stderr
