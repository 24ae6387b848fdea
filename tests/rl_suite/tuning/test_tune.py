"""PPO's numbers are searched, the search goes on after a stop, and what it writes can be trained."""

import json

import pytest
import yaml

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.job import run_job
from rl_suite.run import Run
from rl_suite.sb3.config import SB3Config
from rl_suite.tuning import experiment
from rl_suite.tuning.trial import own_settings, with_settings


def load(*words):
    return load_experiment(DEFAULT_CONFIG, words)


def small(tmp_path, *words):
    return load("experiment=durotaxis,tune,smoke", f"runs_dir={tmp_path}", "evaluation.n_tasks=2", *words)


def test_a_search_writes_a_block_that_trains_and_resumes_to_the_same_numbers(tmp_path, monkeypatch):
    config = small(tmp_path / "whole")
    assert run_job(config)
    run = Run.open(Run.place(config))
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    *lines, last = lines
    assert lines[-1]["search/best"] == max(line["search/score"] for line in lines)
    assert all(0 <= line["search/ended_early"] < line["step"] for line in lines)
    assert (run.path / "search.png").is_file()

    found = load_experiment(run.path / "found.yaml", ["seed=5"])
    assert type(found) is SB3Config
    assert found.env == config.env
    text = yaml.safe_load((run.path / "found.yaml").read_text())
    assert set(text["experiments"]) == {"durotaxis_tuned"}
    rollout = found.ppo.n_steps * found.env.n_envs
    assert rollout % found.ppo.batch_size == 0

    report = experiment.evaluate(config, EvaluationRequest(run=run))
    assert set(report.scores) == {"own settings", "settings found"}
    assert report.scores["own settings"].n == config.tuning.confirm_seeds
    assert json.loads((run.path / "evaluation.json").read_text())["title"] == report.title
    assert last["eval/settings_found"] == pytest.approx(report.scores["settings found"].values.mean())

    stopped = small(tmp_path / "stopped")
    looks = []

    original = experiment.trial

    def trial(params, config, stop):
        for value in original(params, config, lambda: len(looks) == 3 or stop()):  # in the middle of the second one
            looks.append(value)
            yield value

    monkeypatch.setattr(experiment, "trial", trial)
    assert not run_job(stopped)
    assert Run.open(Run.place(stopped)).status == "stopped"
    monkeypatch.setattr(experiment, "trial", original)
    assert run_job(stopped)
    assert (Run.place(stopped) / "confirmed.json").read_text() == (run.path / "confirmed.json").read_text()
    again = yaml.safe_load((Run.place(stopped) / "found.yaml").read_text())
    assert again == {**text, "defaults": {**text["defaults"], "runs_dir": str(tmp_path / "stopped")}}
    again = [json.loads(line) for line in (Run.place(stopped) / "metrics.jsonl").read_text().splitlines()]
    assert [each.get("search/score") for each in again] == [*(line["search/score"] for line in lines), None]


def test_settings_fit_whatever_is_proposed():
    config = load("experiment=durotaxis,tune")
    base = config.base()
    own = own_settings(config)
    assert own["learning_rate"] == base.ppo.learning_rate
    assert own["gamma"] == 0.95
    assert own["ent_coef"] == config.tuning.space["ent_coef"].low  # 0 is not in a range on a log scale
    found = with_settings(base, {"learning_rate": 5e-3, "n_steps": 16, "batch_size": 2048})
    assert found.ppo.final_learning_rate == 0  # a schedule that ends at 0 still does
    assert found.ppo.batch_size == 1024  # a whole rollout of 64 copies
    constant = with_settings(load("experiment=tune").base(), {"learning_rate": 1e-3})
    assert constant.ppo.final_learning_rate == pytest.approx(1e-3)
    odd = with_settings(base.model_copy(update={"env": base.env.model_copy(update={"n_envs": 6})}), {"n_steps": 16})
    assert 96 % odd.ppo.batch_size == 0


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("tuning.space.gama={low: 0.9, high: 1}", "PPO has no gama"),
        ("tuning.space.gamma={low: 1, high: 0.9}", "below high|choices"),
        ("tuning.space.clip_range.high=0.05", "below high"),
        ("tuning.space.ent_coef.low=0", "above 0 with log"),
        ("tuning.trials=0", "greater than or equal to 1"),
        ("algorithm=a2c", "not of a2c"),
    ],
)
def test_bad_searches_are_one_line(word, problem):
    with pytest.raises(UserError, match=problem):
        load("experiment=durotaxis,tune", word)


def test_a_search_without_end_is_not_evaluated(tmp_path):
    config = small(tmp_path)
    with Run.start(config) as run:
        for content, problem in ((None, "not been confirmed"), ('{"a": 1}', "no returns"), ("[]", "no returns")):
            if content is not None:
                (run.path / "confirmed.json").write_text(content)
            with pytest.raises(UserError, match=problem):
                experiment.evaluate(config, EvaluationRequest(run=run))
    with pytest.raises(UserError, match="by its run folder"):
        experiment.evaluate(config, EvaluationRequest())
