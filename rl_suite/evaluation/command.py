"""What ``evaluate.py`` was asked: a run folder, or an experiment with a checkpoint or a baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.table import Table

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, EvaluationRequest, config_model, load_experiment
from rl_suite.loading import deep_merge, parse_overrides, validate
from rl_suite.run import Run

OWN_KEYS = ("baseline", "checkpoint")


class Reportable(Protocol):
    """What every kind of experiment returns from its evaluation."""

    def tables(self) -> Sequence[Table | str]:
        """What to print, in order."""

    def save(self, path: Path) -> None:
        """Write the report, whole or not at all."""


def read_request(
    config_path: Path, words: Sequence[str], trust_pickle: bool = False, trust_code: bool = False
) -> tuple[ExperimentConfig, EvaluationRequest]:
    """Split the words of the command line into a run folder, ``baseline=``, ``checkpoint=`` and settings.

    Raises:
        UserError: nothing to evaluate, two run folders, settings that do not fit, or a stranger's folder that names
            code from elsewhere while ``trust_code`` is false.
    """
    folders = [word for word in words if "=" not in word]
    settings = [word for word in words if "=" in word and word.partition("=")[0] not in OWN_KEYS]
    own: dict[str, Any] = parse_overrides(word for word in words if word.partition("=")[0] in OWN_KEYS and "=" in word)
    for name, value in own.items():
        if value is None or value == "":
            raise UserError(f"{name}= names nothing")
    if len(folders) > 1 or not (folders or own):
        raise UserError("name one run folder, or baseline=NAME or checkpoint=FILE with experiment=NAME; see --help")
    run = Run.open(Path(folders[0])) if folders else None
    config = _config_of_run(run, settings, trust_code) if run else load_experiment(config_path, settings)
    for name in (*own, *(["trust_pickle"] if trust_pickle else [])):
        if name not in KINDS[config.kind].played:
            raise UserError(f"{name} does nothing for an experiment of kind {config.kind}: leave it out")
    checkpoint = Path(str(own["checkpoint"])) if "checkpoint" in own else None
    return config, EvaluationRequest(
        run=None if checkpoint else run,
        checkpoint=checkpoint,
        baseline=str(own["baseline"]) if "baseline" in own else None,
        trust_pickle=trust_pickle,
    )


def write_result(report: Reportable, request: EvaluationRequest, out: Path | None) -> Path | None:
    """Write the report where ``--out`` says, or into the run folder; returns the place.

    None, and no file, where neither is named: a look at a baseline leaves nothing in the folder one stands in.
    """
    path = request.run.path / "evaluation.json" if out is None and request.run is not None else out
    if path is not None:
        report.save(path)
    return path


def _config_of_run(run: Run, words: Sequence[str], trust_code: bool) -> ExperimentConfig:
    """The configuration that the run was trained with, with settings of this call over it."""
    overrides = parse_overrides(words)
    if {"experiment", "kind"} & set(overrides):
        raise UserError(f"{run.path} knows its experiment; leave experiment= and kind= out")
    saved = {**run.settings_to_use(trust_code), "runs_dir": str(run.path.parent.parent)}
    model = config_model(str(saved.get("kind")))
    return validate(model, deep_merge(saved, overrides), overrides, (), str(run.config_path))
