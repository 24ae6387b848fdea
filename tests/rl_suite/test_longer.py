"""A finished run goes on in its own folder where it is told to train longer; every other change is another run."""

import json
from pathlib import Path

import pytest
import yaml

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, config_model, load_experiment
from rl_suite.job import run_job
from rl_suite.naming import beside_others
from rl_suite.run import Run

TINY = ["train.evaluate_every=64", "train.checkpoint_every=64", "evaluation.n_tasks=1"]
RUNS = {
    "sb3": (["experiment=darkroom,smoke", *TINY], "train.total_timesteps", 128, 256),
    "distillation": (["experiment=darkroom_distillation,smoke"], "distillation.fit.steps", 2, 4),
    "meta_learning": (["experiment=sinusoid_maml,smoke"], "meta_learning.loop.steps", 2, 4),
    "symbolic": (
        ["experiment=symbolic_search,smoke", "search.polynomials=false", "search.inner_constants=false"],
        "search.budget",
        200,
        400,
    ),
}


def loaded(kind: str, length: int, folder: Path, *words: str) -> ExperimentConfig:
    own, key, _, _ = RUNS[kind]
    return load_experiment(DEFAULT_CONFIG, [*own, f"{key}={length}", f"runs_dir={folder}", *words])


@pytest.mark.parametrize("kind", RUNS)
def test_longer_training_goes_on_in_the_same_folder(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key, short, long = RUNS[kind]
    first, longer = loaded(kind, short, tmp_path), loaded(kind, long, tmp_path)
    assert config_model(kind).length == key
    assert run_job(first)
    run = Run.open(Run.place(first))
    metrics = run.path / "metrics.jsonl"
    logged = metrics.read_text().splitlines()[0]
    last = run.checkpoints.steps()[-1].name
    assert beside_others(longer, []) == (longer, None)
    assert run_job(longer)
    assert f"goes on with {key}: {short} there, {long} now" in capsys.readouterr().err
    assert metrics.read_text().startswith(logged)
    assert run.status == "complete"
    assert len(json.loads((run.path / "run.json").read_text())["starts"]) == 2
    assert run.checkpoints.steps()[-1].name > last
    assert run_job(longer)
    assert "is complete" in capsys.readouterr().out


def test_what_is_not_only_longer_is_another_run(tmp_path: Path) -> None:
    first = loaded("sb3", 256, tmp_path)
    assert run_job(first)
    before = (Run.place(first) / "config.yaml").read_bytes()
    for other in (loaded("sb3", 128, tmp_path), loaded("sb3", 512, tmp_path, "ppo.gamma=0.5")):
        free, said = beside_others(other, ["ppo.gamma=0.5"])
        assert free.name
        assert said is not None
        with pytest.raises(UserError, match="another configuration"):
            run_job(other)
    assert (Run.place(first) / "config.yaml").read_bytes() == before


def test_a_kill_between_the_record_and_the_configuration_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, longer = loaded("meta_learning", 2, tmp_path), loaded("meta_learning", 4, tmp_path)
    assert run_job(first)

    def killed(run: Run, content: bytes) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_write_config", killed)
        with pytest.raises(UserError, match="full"):
            Run.start(longer)
    assert run_job(longer)
    run = Run.open(Run.place(first))
    assert yaml.safe_load(run.config_path.read_text())["meta_learning"]["loop"]["steps"] == 4
    assert run.status == "complete"


@pytest.mark.parametrize("kind", KINDS)
def test_the_length_is_a_setting_of_its_kind(kind: str) -> None:
    model = config_model(kind)
    if model.length is not None:
        assert model.length.split(".")[0] in model.model_fields
