"""A model with random weights is called random wherever a run tells what it used."""

import inspect
import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.report.page import write_report
from rl_suite.run import Run
from rl_suite.sb3.experiment import train
from rl_suite.sb3.sizes import shrink


@pytest.mark.usefixtures("no_downloads")
def test_random_weights_are_on_record_as_random(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    models = "[{model_type: resnet18_imagenet, missing_weights: random}, {model_type: graph_cnn, options: {width: 4}}]"
    words = ["experiment=durotaxis_wsa", f"runs_dir={tmp_path}", f"policy.kwargs.ptms={models}"]
    config = shrink(load_experiment(DEFAULT_CONFIG, words))
    with Run.start(config) as run:
        inspect.unwrap(train)(config, run)
    record = json.loads((run.path / "run.json").read_text())
    assert record["models"] == ["resnet18_random", "graph_cnn"]
    evaluation = (run.path / "evaluation.json").read_text()
    assert "resnet18_random" in evaluation
    assert "imagenet" not in evaluation
    metrics = (run.path / "metrics.jsonl").read_text()
    assert "weight_resnet18_random" in metrics
    assert "imagenet" not in metrics
    tags = EventAccumulator(str(run.path)).Reload().Tags()
    assert any("resnet18_random" in tag for tag in tags["scalars"])
    assert not any("imagenet" in tag for kind in tags.values() if isinstance(kind, list) for tag in kind)
    assert "resnet18_random" in write_report(run).read_text()
