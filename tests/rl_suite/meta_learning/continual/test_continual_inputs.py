"""Odd batches, layers and labels in continual learning."""

import pytest
import torch
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning import EWC, ContinualLearner, OnlineEWC


class Recurrent(nn.Module):
    """A recurrent classifier: ``torch.func.vmap`` has no rule for its layer."""

    def __init__(self):
        super().__init__()
        self.read, self.head = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.read(x)[0][:, -1])


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 1, 0, 1])])
def test_importance_of_recurrent_layers_is_that_of_every_example_alone(labels):
    torch.manual_seed(0)
    model, x = Recurrent(), torch.randn(5, 4, 3)
    found = EWC(model).consolidate(x, labels)
    expected = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for i in range(len(x)):
        log_p = torch.log_softmax(model(x[i : i + 1])[0], -1)
        for label in range(2) if labels is None else [int(labels[i])]:
            weight = log_p[label].exp().item() if labels is None else 1.0
            gradients = torch.autograd.grad(log_p[label], list(model.parameters()), retain_graph=True)
            for name, gradient in zip(expected, gradients, strict=True):
                expected[name] += weight * gradient.square() / len(x)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("penalty", [EWC, OnlineEWC])
def test_examples_that_say_nothing_are_not_remembered(penalty):
    ewc = penalty(nn.Linear(3, 2))
    with pytest.raises(UserError, match="not finite"):
        ewc.consolidate(torch.full((2, 3), float("nan")))
    with pytest.raises(UserError, match="there are none"):
        ewc.consolidate(torch.ones(0, 3))
    assert float(ewc.penalty()) == 0.0


def normalised():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("strategy", ["naive", "ewc", "replay", "lwf", "joint"])
def test_a_last_batch_of_one_example_joins_the_one_before(strategy):
    learner = ContinualLearner(normalised(), strategy=strategy, batch_size=4)
    for i in range(2):
        learner.train_task((torch.randn(9, 3), torch.randint(2, (9,))), i, num_epochs=1)


def test_what_is_wrong_with_examples_is_said():
    x = torch.randn(4, 3)
    with pytest.raises(UserError, match="two examples at a time"):
        ContinualLearner(normalised(), strategy="naive").train_task((x[:1], torch.tensor([0])), 0, num_epochs=1)
    learner = ContinualLearner(nn.Linear(3, 2), strategy="naive")
    with pytest.raises(UserError, match="targets must be a tensor, not list"):
        learner.train_task((x, ["a", "b", "a", "b"]), 0, num_epochs=1)
    with pytest.raises(UserError, match=r"labels must be 0 \.\.\. outputs - 1"):
        learner.train_task((x, torch.tensor([5, 9, 5, 9])), 0, num_epochs=1)
    with pytest.raises(UserError, match="to evaluate on"):
        learner.evaluate_all_tasks({0: {"train": (x, torch.tensor([0, 1, 0, 1]))}})
    measured = learner.evaluate_all_tasks({0: {"val": (x, torch.tensor([0, 1, 0, 1]))}})
    assert 0.0 <= measured["average_accuracy"] <= 1.0
