"""One training loop: it resumes to the same bits, evaluates what was best, and stops at what is not finite."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.meta_learning import experiment
from rl_suite.meta_learning.session import EpisodicSession, measure
from rl_suite.run import Run

SIZES = ["meta_learning.loop.steps=6", "meta_learning.loop.checkpoint_every=2"]


def config_of(tmp_path, *words):
    return load_experiment(DEFAULT_CONFIG, ["experiment=sinusoid_maml,smoke", f"runs_dir={tmp_path}", *SIZES, *words])


def trained(tmp_path, *words):
    config = config_of(tmp_path, *words)
    with Run.start(config) as run:
        experiment.train(config, run)
    return config, Run.open(run.path)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.parametrize("learner", ["maml", "meta_sgd", "maml_plus_plus", "reptile"])
def test_a_killed_run_ends_with_the_same_bits(learner, tmp_path, monkeypatch):
    word = f"meta_learning.learner={learner}"
    monkeypatch.setattr(EpisodicSession, "pictures", lambda self, folder: None)  # tested elsewhere, and slow
    _, whole = trained(tmp_path / "whole", word)
    step = EpisodicSession.step

    def killed(self, number):
        if number == 5:
            raise KeyboardInterrupt
        return step(self, number)

    monkeypatch.setattr(EpisodicSession, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "halved", word)
    monkeypatch.setattr(EpisodicSession, "step", step)
    _, halved = trained(tmp_path / "halved", word)
    a, b = (load_checkpoint(run.checkpoints.latest()) for run in (whole, halved))
    assert a["step"] == b["step"] == 6
    for part in ("session", "random", "best"):
        assert equal(a[part], b[part])
    reports = [json.loads((run.path / "evaluation.json").read_text())["results"] for run in (whole, halved)]
    assert reports[0] == reports[1]


def test_a_signal_stops_and_saves(tmp_path):
    config = config_of(tmp_path)
    with Run.start(config) as run:
        run.stop_requested = True
        experiment.train(config, run)
    assert Run.open(run.path).status == "stopped"
    assert load_checkpoint(run.checkpoints.latest())["step"] == 1
    _, run = trained(tmp_path)
    assert run.status == "complete"


def test_evaluation_has_controls_and_pictures(tmp_path):
    config, run = trained(tmp_path, "meta_learning.gradient.test_steps=2")
    report = experiment.evaluate(config, EvaluationRequest(run=run))
    names = {"after 2 steps", "after 1 step", "after 5 steps", "after 10 steps"}
    assert set(report.scores) == names | {"unadapted", "adapted to shuffled targets", "untrained, adapted"}
    assert all(scores.n == 8 for scores in report.scores.values())
    assert report.settings["checkpoint_of_step"] == load_checkpoint(run.checkpoints.for_evaluation())["step"]
    assert report.settings["training_steps"] == 6
    assert {path.name for path in run.path.glob("*.png")} == {"adaptation.png", "fits.png"}
    assert json.loads((run.path / "evaluation.json").read_text())["results"]["unadapted"]["n"] == 8


def test_what_is_not_finite_is_never_saved(tmp_path):
    with pytest.raises(NonFiniteError):
        trained(tmp_path, "meta_learning.learner=meta_sgd", "meta_learning.gradient.inner_lr=1e30")
    run = Run.open(tmp_path / "sinusoid_maml-smoke" / "0")
    assert run.checkpoints.latest() is None


def test_steps_that_explode_at_the_test_are_left_out_and_it_is_said(tmp_path, monkeypatch):
    config, run = trained(tmp_path, "meta_learning.gradient.test_steps=1")
    content = load_checkpoint(run.checkpoints.for_evaluation())
    for name, value in content["session"]["learner"].items():
        if name.startswith("model"):
            content["session"]["learner"][name] = value * 30  # steep enough to overshoot further with every step
    save_checkpoint(run.checkpoints.best_path, content)
    report = experiment.evaluate(config, EvaluationRequest(run=run))
    assert "after 10 steps" not in report.scores
    assert any("after 10 steps: left out" in note and "not finite after inner step" in note for note in report.notes)
    session = experiment.build_session(config)
    experiment.restore(session, content, run.path)
    (tmp_path / "drawn").mkdir()
    session.pictures(tmp_path / "drawn")  # as far as the steps stay finite
    assert {path.name for path in (tmp_path / "drawn").iterdir()} >= {"fits.png"}


def test_a_score_that_overflows_is_named_and_its_row_left_out(tmp_path):
    session = experiment.build_session(config_of(tmp_path))
    problem = replace(session.problem, score=lambda values, task: values.new_tensor(math.inf))
    with pytest.raises(NonFiniteError, match="the squared error of task 0 is inf: its steps diverge"):
        measure(session.learner.outputs, problem, problem.test, 2)
    huge = {"huge": lambda tasks: [values.double() * 1e200 for values in session.learner.outputs(tasks)]}
    session.problem = replace(session.problem, controls=huge)
    report = session.evaluate({})
    assert list(report.scores) == [session.problem.adapted]
    assert "huge: left out, because the squared error of task 0 is inf" in report.notes[0]


def test_a_checkpoint_of_another_learner_is_refused(tmp_path):
    config, run = trained(tmp_path)
    other = config_of(tmp_path, "meta_learning.learner=meta_sgd")
    with pytest.raises(UserError, match="does not fit"):
        experiment.evaluate(other, EvaluationRequest(run=run))
    content = load_checkpoint(run.checkpoints.for_evaluation())
    content["session"]["learner"]["model.0.weight"][0] = torch.nan
    save_checkpoint(run.checkpoints.best_path, content)
    with pytest.raises(UserError, match=r"learner\.model\.0\.weight holds NaN"):
        experiment.evaluate(config, EvaluationRequest(run=run))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["meta_learning.learner=mmal"], "did you mean 'maml'"),
        (["meta_learning.gradient.inner_steps=0"], "greater than or equal to 1"),
        (["meta_learning.learner=reptile", "meta_learning.gradient.inequality=1.0"], "reptile has no query loss"),
        (["meta_learning.loop.warmup=6"], "warmup must be shorter"),
    ],
)
def test_settings_that_cannot_be_are_refused(words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        trained(tmp_path, *words)


def test_a_device_that_is_not_used_is_refused(tmp_path):
    with pytest.raises(UserError, match="computed on the processor"):
        experiment.build_session(config_of(tmp_path, "device=cuda"))


def test_a_baseline_alone_is_no_evaluation(tmp_path):
    with pytest.raises(UserError, match="controls stand beside every learner"):
        experiment.evaluate(config_of(tmp_path), EvaluationRequest(baseline="random"))
