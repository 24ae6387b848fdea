"""Run folders: they remember, refuse to be overwritten, rewind, and stop when asked."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def tags_and_steps(run: Run) -> list[tuple[int, str]]:
    """(step, tag) of every number in metrics.jsonl, in order."""
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], tag) for line in lines for tag in line if tag != "step"]


def test_what_was_logged_after_a_checkpoint_at_its_own_step_is_forgotten(tmp_path: Path) -> None:
    for last in (False, True):
        run = Run.start(config_in(tmp_path))
        saved = run.checkpoints.read_latest()
        run.go_on_from(saved)
        assert (saved is None) is not last
        if saved is None:
            run.log(5, {"train/loss": 1.0})
            run.save(5, {"step": 5})
        run.log(5, {"eval/temperature": 0.5})  # the kill comes after it
        run.close()
    assert tags_and_steps(run) == [(5, "train/loss"), (5, "eval/temperature")]
    events = EventAccumulator(str(run.path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("eval/temperature")] == [(5, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(5, 1.0)]


def test_without_a_checkpoint_nothing_that_was_logged_stays(tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(0, {"train/loss": 1.0})
    with Run.start(config_in(tmp_path)) as run:
        run.go_on_from(None)
        assert not (run.path / "metrics.jsonl").read_text()
        assert not list(run.path.glob("events*"))


def test_garbage_after_the_checkpoint_does_not_matter(tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
        run.save(1, {"step": 1})
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b"\0\xff\0")  # a loss of power
    with Run.start(config_in(tmp_path)) as run:
        run.go_on_from(run.checkpoints.read_latest())
    assert tags_and_steps(run) == [(1, "train/loss")]


def test_every_start_is_kept_and_other_versions_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
    with Run.start(config_in(tmp_path)) as run:
        pass
    assert not capsys.readouterr().err
    record = json.loads(run.record_path.read_text())
    assert len(record["starts"]) == 2
    assert record["starts"][0]["time"] <= record["starts"][1]["time"]
    record["starts"][1] |= {"git_commit": "deadbeef", "packages": {"torch": "1.0.0\x1b[2J"}, "python": "2.7"}
    run.record_path.write_text(json.dumps(record))
    with Run.start(config_in(tmp_path)) as run:
        run.finish("complete")
    told = capsys.readouterr().err
    for part in ("deadbeef", "1.0.0", "2.7", "its bits may differ"):
        assert part in told
    assert "\x1b" not in told
    assert told.count("\n") == 1
    record = json.loads(run.record_path.read_text())
    assert [start["git_commit"] == "deadbeef" for start in record["starts"]] == [False, True, False]
    assert record["command"] == record["starts"][2]["command"]
    Run.start(config_in(tmp_path)).close()
    assert json.loads(run.record_path.read_text()) == record  # a complete run is not started again


def test_a_record_of_one_start_is_read(tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
    record = json.loads(run.record_path.read_text())
    del record["starts"]
    run.record_path.write_text(json.dumps({**record, "git_commit": "deadbeef", "status": "stopped"}))
    with Run.start(config_in(tmp_path)) as run:
        assert run.status == "running"
    starts = json.loads(run.record_path.read_text())["starts"]
    assert [start["git_commit"] == "deadbeef" for start in starts] == [True, False]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.save(1, {"step": 1})
    token = "0123456789abcdef"
    left = [run.path / f".run.json.{token}", run.path / "checkpoints" / f".step_000000000002.ckpt.{token}"]
    (run.path / "histories").mkdir()
    left.append(run.path / "histories" / f".shard_00000.npz.{token}")
    mine = [run.path / ".notes", run.path / f"x.{token}", run.path / f".x.{token[:-1]}"]
    for path in (*left, *mine):
        path.write_text("half")
    written = run.path / f".evaluation.json.{token}"
    with written.open("w") as file:  # by evaluate.py, at this moment
        fcntl.flock(file, fcntl.LOCK_EX)
        Run.start(config_in(tmp_path)).close()
        assert written.exists()
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in mine)


@pytest.mark.parametrize("how", ["deleted", "moved", "another in its place"])
def test_a_folder_that_goes_away_stops_the_run(how: str, tmp_path: Path) -> None:
    with Run.start(config_in(tmp_path)) as run:
        run.log(1, {"train/loss": 1.0})
        if how == "deleted":
            shutil.rmtree(run.path)
        else:
            run.path.rename(tmp_path / "elsewhere")
        if how == "another in its place":
            run.path.mkdir()
            (run.path / ".lock").touch()
        before = sorted(tmp_path.rglob("*"))
        for act in (
            lambda: run.log(2, {"train/loss": 1.0}),
            lambda: run.save(2, {"step": 2}),
            lambda: run.save_best({"step": 2}),
            lambda: run.finish("complete"),
        ):
            with pytest.raises(UserError, match="was deleted or moved while the run was writing"):
                act()
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("call", ["os.write", "os.fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_no_log_lets_an_error_of_the_disk_through(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.start(config_in(tmp_path))
    run.log(1, {"train/loss": 1.0})
    run.save(1, {"step": 1})

    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(call, fail)
    acts = [lambda: run.save(2, {"step": 2})]
    if call == "os.write":
        acts += [lambda: run.log_line(2, {"a": 1.0}), lambda: run.writer.add_scalar("a", 1.0, 2)]
        acts += [lambda: run.writer.add_histogram("h", np.ones(3), 2)]
    for act in acts:
        if call == "os.write" and act is acts[0]:
            continue  # checkpoints are written by Python's own files
        with pytest.raises(UserError, match=os.strerror(number)):
            act()
    run.close()
    monkeypatch.undo()
    saved = Run.open(run.path).checkpoints.read_latest()
    assert saved is not None
    assert saved.content == {"step": 1}


def test_a_line_that_the_disk_took_only_half_of_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    with Run.start(config_in(tmp_path)) as run:
        run.log_line(1, {"a": 1.0})
        run.save(1, {"step": 1})
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(UserError, match="No space left"):
            run.log_line(2, {"a": 1.0})
        monkeypatch.undo()
    with Run.start(config_in(tmp_path)) as run:
        run.rewind(1)
        run.log_line(2, {"a": 2.0})
    assert tags_and_steps(run) == [(1, "a"), (2, "a")]


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
