"""A sweep does what is left of it, loses no run to another, and reports seeds together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.run import Run
from rl_suite.sweeps.command import sweep_command
from rl_suite.sweeps.plan import Plan, is_sweep, read_plan
from rl_suite.sweeps.sweep import run_plan, sweep

ROOT = Path(__file__).resolve().parents[3]
TINY = ("train.total_timesteps=64", "train.evaluate_every=64", "train.checkpoint_every=64", "evaluation.n_tasks=2")


def plan_of(*words: str) -> Plan:
    return read_plan(DEFAULT_CONFIG, words)


def finish(config: ExperimentConfig, value: float) -> None:
    """What a run leaves behind, without the work."""
    with Run.start(config) as run:
        run.log(1, {"eval/mean_reward": value})
        iqm = {"estimate": value, "low": value, "high": value}
        (run.path / "evaluation.json").write_text(json.dumps({"agents": {"trained": {"iqm": iqm}}}))
        run.finish("complete")
        (run.path / "report.html").touch()


def test_modifiers_apply_to_every_experiment(tmp_path: Path) -> None:
    plan = plan_of("experiment=darkroom,bandit_ppo,smoke", "seeds=3,5-6", f"runs_dir={tmp_path}", "ppo.gamma=0.5")
    assert [config.experiment for config in plan.experiments] == ["darkroom,smoke", "bandit_ppo,smoke"]
    assert [(config.folder_name, config.seed) for config in plan][:3] == [
        ("darkroom-smoke", 3),
        ("bandit_ppo-smoke", 3),
        ("darkroom-smoke", 5),
    ]
    assert len(plan) == len(list(plan)) == 6
    assert {config.model_dump()["ppo"]["gamma"] for config in plan} == {0.5}


def test_which_words_make_a_sweep() -> None:
    assert is_sweep(["executor=serial"])
    assert is_sweep(["seeds=1"])
    assert not is_sweep(["experiment=darkroom,smoke", "seed=0,1"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=darkroon", "seeds=0"], "did you mean 'darkroom'"),
        (["seeds=0", "seed=1"], "say the same"),
        (["seeds=1-0"], "written as"),
        (["seeds=0-4294967296"], "more than"),
        (["seeds=4294967296"], "seed"),
        (["seeds=0", "workers=many"], "workers must be a whole number"),
        (["seeds=0", "ppo.gama=1"], "did you mean 'ppo.gamma'"),
        (["experiment=darkroom,bandit_ppo", "seeds=0", "name=x"], "leave it out"),
    ],
)
def test_mistakes_are_said_before_anything_begins(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_plan(DEFAULT_CONFIG, words)


def test_a_modifier_says_so_with_true_or_false(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"defaults": {}, "experiments": {"a": {"modifier": "yes"}}}))
    with pytest.raises(UserError, match=r"experiments\.a\.modifier must be true or false"):
        read_plan(path, ["experiment=a", "seeds=0"])


def test_only_what_is_left_is_run_and_all_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["experiment=darkroom,smoke", "seeds=0-4", f"runs_dir={tmp_path}"]
    plan, called = plan_of(*words), []

    def stand_in(config: ExperimentConfig) -> bool:
        called.append(config.seed)
        if config.seed == 3 and len(called) < 5:
            raise ZeroDivisionError("seed three")
        finish(config, float(config.seed))
        return True

    monkeypatch.setattr("rl_suite.sweeps.job.run_job", stand_in)
    finish(plan[1], 1.0)
    first = run_plan(plan)
    assert called == [0, 2, 3, 4]
    assert (first.total, first.complete, first.failed, first.stopped) == (5, 4, 1, False)
    ((folder, error),) = first.failures
    assert folder == tmp_path / "darkroom-smoke" / "3"
    assert "ZeroDivisionError: seed three" in error
    assert "in stand_in" in (folder / "output.txt").read_text()
    assert first.report is not None
    assert "Only 4 of 5 runs are whole." in first.report.read_text()
    second = run_plan(plan)
    assert called == [0, 2, 3, 4, 3]
    assert (second.complete, second.failed) == (5, 0)
    # 25 % of five seeds are cut off at both ends, rounded down: one each; the mean of 1, 2, 3
    (only,) = second.groups
    assert only.iqm.value == pytest.approx(2.0)
    assert only.iqm.low is not None
    assert 0 <= only.iqm.low <= 2


def test_a_whole_run_of_other_settings_is_no_part_of_the_sweep(tmp_path: Path) -> None:
    plan = plan_of("experiment=darkroom,smoke", "seeds=0-1", f"runs_dir={tmp_path}")
    finish(plan_of("experiment=darkroom,smoke", "seeds=1", "ppo.gamma=0.5", f"runs_dir={tmp_path}")[0], 1.0)
    finish(plan[0], 1.0)
    result = run_plan(plan)
    assert (result.complete, result.failed) == (1, 1)
    assert "another configuration" in result.failures[0][1]


def test_a_program_can_sweep(tmp_path: Path) -> None:
    result = sweep(["darkroom", "smoke"], [0, 1], words=[*TINY, f"runs_dir={tmp_path}"])
    assert (result.complete, result.failed) == (2, 0)
    assert result.report == tmp_path / "darkroom-smoke.html"
    assert "results: " in (tmp_path / "darkroom-smoke" / "1" / "output.txt").read_text()


def test_experiments_that_measure_different_things_share_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=darkroom,symbolic_search,smoke", "seeds=0", f"runs_dir={tmp_path}"]
    darkroom, law = plan_of(*words)
    finish(darkroom, 2.0)
    with Run.start(law) as run:
        (run.path / "laws.json").write_text(json.dumps({"target": "y", "law": {"formula": "x", "nmse": 0.25}}))
        run.log(1, {"a": 1.0})
        run.finish("complete")
        (run.path / "report.html").touch()
    assert sweep_command(DEFAULT_CONFIG, words, 75) == 0
    page = (tmp_path / "darkroom-smoke+symbolic_search-smoke.html").read_text()
    assert page.count("compared by:") == 2
    assert "2 of 2 runs are complete" in capsys.readouterr().out


def listen_to_ctrl_c() -> None:
    """In a child: tests that run in the background of a shell ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_saves_the_runs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The worker is in the middle of a run that would take minutes."""
    words = ["experiment=darkroom,smoke", "seeds=0-3", "executor=processes", "workers=1", f"runs_dir={tmp_path}"]
    long = [*words, "train.total_timesteps=100000000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "train.py"), "--stopped-exit-code", "75", *long]
    driver = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c
    )
    try:
        checkpoints = tmp_path / "darkroom-smoke" / "0" / "checkpoints"
        deadline = time.monotonic() + 300
        while not list(checkpoints.glob("*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        driver.send_signal(signal.SIGINT)
        output, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 75
    assert "0 of 4 runs are complete" in output
    assert "to run what is left" in output
    assert json.loads((tmp_path / "darkroom-smoke" / "0" / "run.json").read_text())["status"] == "stopped"
    assert not (tmp_path / "darkroom-smoke" / "1" / "run.json").exists()
