"""Measures of finished trainings: in the log and in TensorBoard, and what they say of learners that are known."""

import json

import pytest
import torch

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import KINDS, load_attribute, load_experiment
from rl_suite.meta_learning.problems.measures import efficiency_of_samples, speed_of_adaptation
from rl_suite.meta_learning.session import squared_error
from rl_suite.meta_learning.tasks import Task
from rl_suite.run import Run

CONTINUAL = [
    "experiment=continual_digits,smoke",
    "meta_learning.learner=naive",
    "meta_learning.continual.sequences=[permuted]",
]


class Approaching:
    """Comes from 0 to the targets, which are 1: as far as ``path`` says after each step."""

    def __init__(self, path):
        self.path, self.test_steps = path, len(path) - 1

    def outputs_along(self, tasks, steps):
        return [[torch.full_like(targets, share) for share in self.path] for targets in tasks.query_y]


def tasks_of(count=3, shots=2):
    return Task(
        torch.zeros(count, shots, 1), torch.ones(count, shots, 1), torch.zeros(count, 4, 1), torch.ones(count, 4, 1)
    )


def test_speed_is_the_step_with_nine_tenths_of_the_gain():
    found = speed_of_adaptation(Approaching([0.0, 0.5, 0.9, 1.0]), tasks_of(), squared_error, False)
    assert found == {"adaptation_speed": 2.0}  # errors 1, .25, .01, 0
    assert (
        speed_of_adaptation(Approaching([0.5, 0.2, 0.0]), tasks_of(), squared_error, False) == {}
    )  # it only gets worse


def test_efficiency_is_the_mean_over_the_logarithm():
    def outputs(tasks):
        missed = 1 / tasks.support_x.shape[1]
        return [targets - missed for targets in tasks.query_y]

    found = efficiency_of_samples(outputs, {n: tasks_of(shots=n) for n in (1, 2)}, squared_error)
    assert found["sample_efficiency"] == pytest.approx((1 + 0.25) / 2)
    assert efficiency_of_samples(outputs, {1: tasks_of(shots=1)}, squared_error) == {}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["experiment=sinusoid_maml,smoke"], {"meta/sample_efficiency"}),
        (CONTINUAL, {"meta/forgetting/permuted/naive"}),
        (["experiment=darkroom,smoke"], {"meta/parameter_efficiency", "meta/sample_efficiency"}),
    ],
)
def test_finished_trainings_log_them(words, names, tmp_path):
    config = load_experiment(DEFAULT_CONFIG, [*words, f"runs_dir={tmp_path}"])
    with Run.start(config) as run:
        load_attribute(KINDS[config.kind].train)(config, run)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    found = {name: value for line in lines for name, value in line.items() if name.startswith("meta/")}
    assert names <= set(found)
    assert found.get("meta/parameter_efficiency", 1.0) == 1.0  # nothing is frozen
