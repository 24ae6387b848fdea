"""The diagonal Fisher information against closed forms and a plain loop."""

import torch
import torch.nn.functional as F
from torch import nn

from rl_suite.meta_learning.continual import fisher


def test_logistic_model_has_the_closed_form():
    """Two-class softmax with the second logit's weights fixed at 0 is logistic regression: p (1 - p) x^2."""
    torch.manual_seed(0)
    weights, x = torch.randn(4), torch.randn(50, 4)

    class Logistic(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(weights.clone())

        def forward(self, inputs):
            drive = inputs @ self.w
            return torch.stack([drive, torch.zeros_like(drive)], -1)

    p = torch.sigmoid(x @ weights)
    expected = (p * (1 - p))[:, None] * x.square()
    assert torch.allclose(fisher.classifier_fisher(Logistic(), x)["w"], expected.mean(0), atol=1e-6)


def test_it_is_the_mean_of_squares_not_the_square_of_the_mean():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)), torch.randn(17, 3)
    y = torch.randint(4, (17,))
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for example, label in zip(x, y, strict=True):
        model.zero_grad()
        F.cross_entropy(model(example[None]), label[None]).backward()
        for name, parameter in model.named_parameters():
            expected[name] += parameter.grad.square() / len(x)
    found = fisher.classifier_fisher(model, x, y)
    assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in expected.items())
    by_loss = fisher.loss_fisher(model, x, y, F.cross_entropy)
    assert all(torch.allclose(by_loss[name], value, atol=1e-6) for name, value in expected.items())


def test_expected_fisher_averages_over_the_models_own_labels(monkeypatch):
    torch.manual_seed(0)
    model, x = nn.Linear(3, 4), torch.randn(6, 3)
    p = model(x).softmax(-1).detach()
    total = torch.zeros_like(model.weight)
    for label in range(4):
        for row in range(6):
            empirical = fisher.classifier_fisher(model, x[row : row + 1], torch.tensor([label]))["weight"]
            total += p[row, label] * empirical / 6
    monkeypatch.setattr(fisher, "NUMBERS_AT_ONCE", 130)  # two examples at a time
    assert torch.allclose(fisher.classifier_fisher(model, x)["weight"], total, atol=1e-6)


def test_only_the_selected_outputs_compete():
    model, x = nn.Linear(3, 4), torch.randn(6, 3)
    found = fisher.classifier_fisher(model, x, select=lambda logits: logits[..., [1, 2]])
    assert found["weight"][[0, 3]].abs().max() == 0
    assert found["weight"][[1, 2]].min() > 0


def test_frozen_parameters_have_none_and_modes_stay():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    model[1].eval()
    found = fisher.classifier_fisher(model, torch.randn(5, 3))
    assert set(found) == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert model.training
    assert not model[1].training


def test_shared_modules_are_counted_once():
    torch.manual_seed(0)
    shared, x = nn.Linear(3, 3), torch.randn(20, 3)
    model = nn.Sequential(shared, nn.Tanh(), shared)
    expected = torch.zeros(3, 3)
    for row in x:
        logits = model(row[None])[0]
        for p, log_p in zip(logits.softmax(-1).detach(), logits.log_softmax(-1), strict=True):
            (gradient,) = torch.autograd.grad(log_p, shared.weight, retain_graph=True)
            expected += p * gradient.square() / len(x)
    found = fisher.classifier_fisher(model, x)
    assert set(found) == {"0.weight", "0.bias"}
    assert torch.allclose(found["0.weight"], expected, atol=1e-6)
