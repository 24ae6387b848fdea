"""Learning rates that adapt: forgotten gradients are an error, wrong rates are mended, and a resume is exact."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning import AdaptiveOptimizer
from rl_suite.meta_learning.tuning.schedules import Plateau, factor_at, trend

X = torch.linspace(-2, 2, 64)[:, None]
Y = torch.sin(2 * X)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        optimizer.step(loss.item())
    return float(F.mse_loss(model(X), Y).detach())


def test_the_documents_example_says_that_backward_is_missing():
    model = nn.Linear(4, 2)
    optimizer = AdaptiveOptimizer(model=model, base_optimizer="adam", use_meta_learning=True, meta_learning_rate=0.001)
    before = copy.deepcopy(model.state_dict())
    loss = model(torch.ones(1, 4)).square().sum()
    optimizer.zero_grad()
    with pytest.raises(UserError, match="backward"):
        optimizer.step(loss.item())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loss.backward()
    optimizer.step(loss.item())
    with pytest.raises(UserError, match="backward"):  # the gradients of the last step still lie there
        optimizer.step(loss.item())
    stats = optimizer.get_optimization_stats()
    assert stats["step_count"] == 1
    assert stats["meta_learning"]["lr_modifier"] == 1
    assert stats["loss_stats"]["last"] == loss.item()


@pytest.mark.parametrize("base", ["adam", "adamw", "sgd", torch.optim.RMSprop])
def test_without_adaptation_it_is_the_base_bit_for_bit(base):
    rate = 1e-2
    model, plain = network(), network()
    optimizer = AdaptiveOptimizer(model, base, use_meta_learning=False, lr=rate)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    other = kinds.get(base, torch.optim.RMSprop)(plain.parameters(), lr=rate)
    train(model, optimizer, 5)
    for _ in range(5):
        other.zero_grad()
        F.mse_loss(plain(X), Y).backward()
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_the_rate_follows_the_hypergradient_by_hand():
    """f = w^2 / 2 by plain descent: the second gradient points as the first step went, so the rate grows."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimizer = AdaptiveOptimizer(model, "sgd", meta_learning_rate=0.5, lr=0.1)
    rates = []
    for _ in range(3):
        optimizer.zero_grad()
        (model.weight.square().sum() / 2).backward()
        optimizer.step()
        rates.append(optimizer.current_lr)
    assert rates == pytest.approx([0.1, 0.1 * math.exp(0.5), 0.1 * math.exp(1.0)])
    assert float(model.weight.detach()) == pytest.approx(math.prod(1 - rate for rate in rates))


@pytest.mark.parametrize("base", ["adam", "sgd"])
def test_a_rate_100_times_too_low_is_mended(base):
    rate = {"adam": 1e-4, "sgd": 1e-3}[base]
    alone, adapted = network(), network()
    stuck = train(alone, AdaptiveOptimizer(alone, base, use_meta_learning=False, lr=rate), 500)
    freed = train(adapted, AdaptiveOptimizer(adapted, base, lr=rate), 500)
    assert freed < 0.2 * stuck


def test_a_rate_100_times_too_high_is_mended():
    """Plain descent explodes here; steps that led nowhere are taken back."""
    alone, adapted = network(), network()
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        train(alone, AdaptiveOptimizer(alone, "sgd", use_meta_learning=False, lr=20.0), 500)
    optimizer = AdaptiveOptimizer(adapted, "sgd", lr=20.0)
    assert train(adapted, optimizer, 500) < 0.25
    assert optimizer.current_lr < 2.0


def test_prodigy_needs_no_rate():
    model = network()
    optimizer = AdaptiveOptimizer(model, "adam", adaptation="prodigy")
    assert train(model, optimizer, 400) < 0.01
    assert 1e-4 < optimizer.current_lr < 1.0  # it began at a millionth


@pytest.mark.parametrize("more", [{}, {"adaptation": "prodigy"}, {"schedule": "plateau"}])
def test_a_resume_is_exact(more):
    model = network()
    optimizer = AdaptiveOptimizer(model, **more)
    train(model, optimizer, 60)
    twin = copy.deepcopy(model)
    other = AdaptiveOptimizer(twin, **more)
    other.load_state(copy.deepcopy(optimizer.save_state()))
    train(model, optimizer, 60)
    train(twin, other, 60)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert other.get_optimization_stats() == optimizer.get_optimization_stats()


def test_schedules():
    assert [factor_at("step", step, 100) for step in (0, 25, 50, 99)] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert factor_at("exponential", 50, 100) == pytest.approx(0.1)
    plateau = Plateau()
    for mean in [1.0, *[1.0] * 10]:
        plateau.see(mean)
    assert plateau.factor == 0.5
    model = network()
    optimizer = AdaptiveOptimizer(model, "adam", False, schedule="cosine", total_steps=10, lr=1.0)
    train(model, optimizer, 6)
    assert optimizer.current_lr == pytest.approx(0.5)


def test_convergence_is_seen_and_not_before():
    falling = [1 / (1 + step) for step in range(100)]
    assert trend(falling)["converged"] is False
    assert trend(falling)["improving"] is True
    assert trend([0.5] * 100)["converged"] is True
    assert trend([0.5] * 99)["converged"] is False


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"base_optimizer": "adan"}, "did you mean 'adam'"),
        ({"schedule": "cosine"}, "needs total_steps"),
        ({"adaptation": "prodigy", "base_optimizer": "sgd"}, "form of Adam"),
        ({"adaptation": "prodigy", "meta_learning_rate": 0.1}, "hypergradients only"),
        ({"model": nn.ReLU()}, "no parameter"),
        ({"base_optimizer": torch.optim.LBFGS}, "LBFGS takes no step"),
        ({"base_optimizer": torch.optim.SparseAdam}, "SparseAdam takes no step"),
        ({"base_optimizer": dict}, "a class of torch.optim"),
        ({"base_optimizer": "adam", "momentum": 0.9}, "Adam.*momentum"),
        ({"base_optimizer": torch.optim.RMSprop, "lr": -1.0}, "RMSprop: lr must be"),
        ({"adaptation": "prodigy", "momentum": 0.9}, "Prodigy.*momentum"),
    ],
)
def test_bad_input_is_one_line(arguments, problem):
    with pytest.raises(UserError, match=problem):
        AdaptiveOptimizer(**{"model": nn.Linear(1, 1), **arguments})
