"""One loop, nine strategies, three scenarios."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.images import digits
from rl_suite.meta_learning.continual.learner import ContinualLearner, accuracy_matrix
from rl_suite.meta_learning.continual.metrics import summarise
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.sequences import split_tasks
from rl_suite.meta_learning.continual.strategies.registry import STRATEGIES

CLASSES = [[0, 1], [2, 3], [4, 5]]


def blobs(seed=0, n=60):
    """Three tasks of two well-separated classes each, (x, y)."""
    centres = 4 * torch.randn(6, 8, generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    tasks = []
    for own in CLASSES:
        y = torch.tensor(own).repeat(n // 2)
        tasks.append((centres[y] + torch.randn(n, 8, generator=generator), y))
    return tasks


def network(n_outputs=6):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, n_outputs))


def taught(strategy, scenario, **options):
    learner = ContinualLearner(
        network(), strategy, 60, Outputs(scenario, CLASSES), learning_rate=5e-3, batch_size=16, **options
    )
    return learner, accuracy_matrix(learner, blobs(), dict(enumerate(blobs(1))), num_epochs=10)[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_learns_every_task_when_it_is_told_which(strategy):
    learner, matrix = taught(strategy, "task", **({"ewc_lambda": 10.0} if "ewc" in strategy else {}))
    assert matrix.diagonal().min() > 0.9
    assert matrix.shape == (3, 3)
    assert learner.predict(blobs()[1][0], 1).argmax(-1).unique().tolist() == [2, 3]


@pytest.mark.parametrize("strategy", ["replay", "gdumb", "joint"])
def test_memory_solves_the_class_incremental_scenario(strategy):
    assert summarise(taught(strategy, "class")[1]).average_accuracy > 0.9


@pytest.mark.parametrize(("strategy", "options"), [("naive", {}), ("ewc", {"ewc_lambda": 100.0, "fisher_samples": 64})])
def test_ewc_alone_does_not_solve_the_class_incremental_scenario(strategy, options):
    sequence = split_tasks(digits(), 5, "class", seed=0)
    learner = ContinualLearner(
        nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), strategy, outputs=sequence.outputs, **options
    )
    matrix, _ = accuracy_matrix(learner, sequence.train, dict(enumerate(sequence.test)), num_epochs=10)
    assert matrix.diagonal().mean() > 0.8
    assert summarise(matrix).average_accuracy < 0.4


def test_ewc_forgets_less_than_nothing_against_it():
    """Alternating labels on the same inputs: the second task contradicts the first."""

    def forgotten(strategy, **options):
        learner = ContinualLearner(network(2), strategy, learning_rate=5e-3, **options)
        (x, y), (z, w) = (blobs()[task] for task in (0, 1))
        data = {0: (x, y % 2), 1: (z, 1 - w % 2)}
        learner.evaluate_all_tasks(data)
        for task in (0, 1):
            learner.train_task(data[task], task, num_epochs=20)
            result = learner.evaluate_all_tasks({t: data[t] for t in range(task + 1)})
        return result["forgetting_measure"]

    assert forgotten("ewc", ewc_lambda=300.0) <= forgotten("naive")


def test_progressive_networks_forget_nothing_at_all():
    learner, matrix = taught("progressive", "task")
    assert (matrix[-1] == matrix.diagonal()).all()
    assert len(learner.model.columns) == 3


def test_results_and_forgetting_are_reported():
    learner = ContinualLearner(network(), "replay", buffer_size=50)
    tasks = blobs()
    first = learner.train_task({"train": tasks[0], "val": tasks[0]}, 0, num_epochs=5)
    assert first["task_id"] == 0
    assert first["buffer_size"] == 50
    assert first["final_val_accuracy"] > 0.9
    loader = DataLoader(TensorDataset(*tasks[1]), batch_size=16, shuffle=True)
    assert "final_val_loss" in learner.train_task(loader, 1, num_epochs=5)
    measured = learner.evaluate_all_tasks({0: tasks[0], 1: loader})
    assert set(measured) == {"task_0", "task_1", "average_loss", "average_accuracy", "forgetting_measure"}
    expected = first["final_val_accuracy"] - measured["task_0"]["accuracy"]
    assert measured["forgetting_measure"] == pytest.approx(expected)


@pytest.mark.parametrize(("strategy", "options"), [("ewc", {"ewc_lambda": 1.0}), ("si", {}), ("replay", {})])
def test_regression(strategy, options):
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 64)[:, None]
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    learner = ContinualLearner(net, strategy, loss_fn=F.mse_loss, learning_rate=1e-2, **options)
    first = learner.train_task({"train": (x, x), "val": (x, x)}, 0, num_epochs=30)
    learner.train_task((x, x + 0.5), 1, num_epochs=30)
    measured = learner.evaluate_all_tasks({0: (x, x), 1: (x, x + 0.5)})
    assert "average_accuracy" not in measured
    assert first["final_val_loss"] < 0.01
    assert measured["task_1"]["loss"] < 0.2  # 0.25 is what the first task's answer would cost


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_saved_learner_goes_on_with_the_same_bits(strategy):
    def make():
        return ContinualLearner(network(), strategy, 40, Outputs("task", CLASSES), batch_size=16)

    tasks, one = blobs(), make()
    for task in (0, 1):
        one.train_task(tasks[task], task, num_epochs=2)
    other = make()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for learner in (one, other):
        learner.train_task(tasks[2], 2, num_epochs=2)
    x = tasks[0][0]
    assert torch.equal(one.predict(x, 2), other.predict(x, 2))
    assert torch.equal(one.predict(x, 0), other.predict(x, 0))


def test_the_learner_does_not_touch_the_outputs_it_was_given():
    outputs = Outputs("class", CLASSES)
    ContinualLearner(network(), "naive", outputs=outputs).train_task(blobs()[0], 0, num_epochs=1)
    assert outputs.seen == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ContinualLearner(network(), "wish"), "strategy must be one of naive, ewc"),
        (lambda: ContinualLearner(network(), "si", ewc_lambda=1.0), "si has no option 'ewc_lambda'; it has: si_str"),
        (lambda: ContinualLearner(network(), "progressive", outputs=Outputs("class", CLASSES)), "told the task"),
        (lambda: ContinualLearner(nn.Bilinear(2, 2, 2), "progressive"), "nn.Sequential"),
        (lambda: ContinualLearner(network()).train_task(blobs()[0], 0, num_epochs=0), "num_epochs"),
        (lambda: ContinualLearner(network()).train_task([], 0), "no examples"),
        (lambda: ContinualLearner(network()).train_task({"test": blobs()[0]}, 0), "train"),
        (lambda: ContinualLearner(network()).train_task((torch.zeros(3, 8), torch.zeros(2)), 0), "as many labels"),
        (lambda: ContinualLearner(network(), outputs=Outputs("task", CLASSES)).train_task(blobs()[0], 9), "task 9"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_a_loss_that_is_not_finite_stops():
    x, y = blobs()[0]
    with pytest.raises(FloatingPointError, match="task 0, epoch 0"):
        ContinualLearner(network()).train_task((x * math.inf, y), 0)
