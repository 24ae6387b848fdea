"""Each penalty alone, on a loop of one's own, against values computed by hand."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.fisher import trainable
from rl_suite.meta_learning.continual.penalties import EWC, LwF, OnlineEWC, SynapticIntelligence


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def shift(model, distance):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += distance


def test_ewc_after_a_shift_is_half_lambda_fisher_distance_squared(model):
    ewc = EWC(model, strength=50.0)
    assert ewc.penalty().item() == 0
    fisher = ewc.consolidate(torch.randn(20, 3))
    assert ewc.penalty().item() == 0
    shift(model, 0.3)
    expected = 50.0 / 2 * sum(value.sum() for value in fisher.values()) * 0.3**2
    assert ewc.penalty().item() == pytest.approx(expected.item(), rel=1e-4)


def test_ewc_is_the_sum_over_tasks(model):
    ewc, parts = EWC(model, strength=2.0), []
    for task in range(3):
        fisher = ewc.consolidate(torch.randn(20, 3) * (task + 1))
        parts.append((fisher, {name: p.detach().clone() for name, p in trainable(model).items()}))
        shift(model, 0.1 * (task + 1))
    expected = sum((f[n] * (p - a[n]) ** 2).sum() for f, a in parts for n, p in trainable(model).items())
    penalty = ewc.penalty()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-4)
    gradient = torch.autograd.grad(penalty, list(model.parameters()))
    by_hand = torch.autograd.grad(expected, list(model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradient, by_hand, strict=True))


def test_online_ewc_decays_and_moves_its_anchor(model):
    online = OnlineEWC(model, strength=1.0, decay=0.5)
    first = online.consolidate(torch.randn(20, 3))
    shift(model, 0.1)
    second = online.consolidate(torch.randn(20, 3))
    assert online.penalty().item() == 0
    assert torch.allclose(online.importance["0.weight"], 0.5 * first["0.weight"] + second["0.weight"])


def test_ewc_of_a_regression_needs_targets(model):
    ewc = EWC(model, loss_fn=F.mse_loss)
    with pytest.raises(UserError, match="targets"):
        ewc.consolidate(torch.randn(5, 3))
    assert ewc.consolidate(torch.randn(5, 3), torch.randn(5, 2))["0.weight"].sum() > 0


def test_si_measures_what_each_step_brought(model):
    """With plain SGD the contribution of a step is learning_rate * gradient^2."""
    si, optimizer = SynapticIntelligence(model, 1.0, damping=0.01), torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(10, 3), torch.randint(2, (10,))
    start, expected = copy.deepcopy(model.state_dict()), torch.zeros(4, 3)
    for _ in range(5):
        optimizer.zero_grad()
        (F.cross_entropy(model(x), y) + si.penalty()).backward()
        si.before_step()
        optimizer.step()
        si.after_step()
        expected += 0.1 * model[0].weight.grad.square()
    assert torch.allclose(si.path["0.weight"], expected, atol=1e-6)
    moved = model[0].weight.detach() - start["0.weight"]
    importance = si.consolidate()
    assert torch.allclose(importance["0.weight"], expected / (moved.square() + 0.01), atol=1e-5)
    assert si.path["0.weight"].abs().max() == 0


def test_si_importance_adds_up_over_tasks(model):
    si, optimizer = SynapticIntelligence(model, 0.5), torch.optim.SGD(model.parameters(), lr=0.1)
    totals = []
    for task in range(3):
        x, y = torch.randn(10, 3), torch.full((10,), task % 2)
        for _ in range(3):
            optimizer.zero_grad()
            (F.cross_entropy(model(x), y) + si.penalty()).backward()
            si.before_step()
            optimizer.step()
            si.after_step()
        totals.append({name: value.clone() for name, value in si.consolidate().items()})
    for before, after in pairwise(totals):
        assert all((after[name] >= before[name]).all() for name in after)
        assert any((after[name] > before[name]).any() for name in after)
    shift(model, 0.2)
    expected = 0.5 * sum(value.sum() for value in totals[-1].values()) * 0.2**2  # c * sum, without a half
    assert si.penalty().item() == pytest.approx(expected.item(), rel=1e-4)


def test_si_leaves_the_gradient_of_its_own_penalty_out(model):
    si = SynapticIntelligence(model, 3.0)
    si.importance = {name: torch.ones_like(p) for name, p in trainable(model).items()}
    si.anchor = {name: p.detach() - 0.5 for name, p in trainable(model).items()}
    x, y = torch.randn(10, 3), torch.randint(2, (10,))
    own = torch.autograd.grad(F.cross_entropy(model(x), y), model[0].weight)[0]
    (F.cross_entropy(model(x), y) + si.penalty()).backward()
    si.before_step()
    shift(model, 0.01)
    si.after_step()
    assert torch.allclose(si.path["0.weight"], -own * 0.01, atol=1e-6)


def test_lwf_keeps_answers(model):
    lwf, x = LwF(model, temperature=2.0), torch.randn(8, 3)
    assert lwf.penalty(x).item() == 0
    before = model(x).detach()
    lwf.consolidate()
    assert lwf.penalty(x).item() == pytest.approx(0, abs=1e-6)
    shift(model, 0.5)
    p, q = (before / 2).softmax(-1), (model(x) / 2).softmax(-1)
    expected = 4 * (p * (p.log() - q.log())).sum(-1).mean()
    assert lwf.penalty(x).item() == pytest.approx(expected.item(), rel=1e-4)
    assert lwf.penalty(x, heads=[[0, 1]]).item() == pytest.approx(expected.item(), rel=1e-4)
    assert not any(p.requires_grad for p in lwf.teacher.parameters())


@pytest.mark.parametrize("make", [EWC, OnlineEWC, SynapticIntelligence, LwF])
def test_they_go_on_from_their_state(model, make):
    one, other = make(model), make(model)
    one.consolidate(torch.randn(4, 3)) if isinstance(one, EWC) else one.consolidate()
    shift(model, 0.2)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    x = [torch.randn(4, 3)] if make is LwF else []
    assert other.penalty(*x).item() == one.penalty(*x).item()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: EWC(m, strength=-1.0), "negative"),
        (lambda m: EWC(m, samples=0), "samples"),
        (lambda m: OnlineEWC(m, decay=1.5), "decay"),
        (lambda m: SynapticIntelligence(m, damping=0.0), "damping"),
        (lambda m: LwF(m, temperature=0.0), "temperature"),
    ],
)
def test_bad_numbers(model, call, message):
    with pytest.raises(UserError, match=message):
        call(model)
