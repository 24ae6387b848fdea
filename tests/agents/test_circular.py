import math

import pytest
import torch
from torch.distributions import VonMises

from agents.circular import angle_entropy, angle_kl, angle_log_prob, angle_mode, sample_angle

VECTORS = torch.tensor([[0.0, 0.0], [0.5, 0.2], [-3.0, 1.0], [0.0, -40.0], [-400.0, -1.0]])


def test_density_agrees_with_torch_and_integrates_to_one():
    value = torch.linspace(-1, 1, 20_001)
    for vector in VECTORS:
        ours = angle_log_prob(value, vector.expand(len(value), 2))
        assert torch.trapezoid(ours.exp(), value).item() == pytest.approx(1.0, abs=1e-3)
        kappa, mu = vector.norm().clamp(min=1e-6), torch.atan2(vector[1], vector[0])
        theirs = VonMises(mu, kappa).log_prob(math.pi * value) + math.log(math.pi)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-3)


def test_it_wraps_around():
    vector = torch.tensor([[-2.0, 0.0]])
    assert angle_log_prob(torch.tensor([1.0]), vector).item() == pytest.approx(
        angle_log_prob(torch.tensor([-1.0]), vector).item(), abs=1e-5
    )
    assert abs(angle_mode(vector).item()) == pytest.approx(1.0)


def test_entropy_is_the_mean_of_minus_log_prob_and_samples_have_the_mean_direction():
    torch.manual_seed(0)
    for vector in VECTORS:
        many = vector.expand(20_000, 2)
        values = sample_angle(many)
        assert values.abs().max() <= 1.0
        estimate = -angle_log_prob(values, many).mean().item()
        assert angle_entropy(vector).item() == pytest.approx(estimate, abs=0.03)
        mean = torch.stack([torch.cos(math.pi * values), torch.sin(math.pi * values)]).mean(1)
        kappa = vector.norm()
        wanted = vector / kappa.clamp(min=1e-9) * torch.special.i1e(kappa) / torch.special.i0e(kappa)
        torch.testing.assert_close(mean, wanted, rtol=0, atol=0.02)


def test_divergence():
    torch.manual_seed(0)
    p, q = torch.tensor([2.0, 1.0]), torch.tensor([-0.5, 1.5])
    values = sample_angle(p.expand(50_000, 2))
    estimate = (angle_log_prob(values, p) - angle_log_prob(values, q)).mean().item()
    assert angle_kl(p, q).item() == pytest.approx(estimate, abs=0.03)
    assert angle_kl(p, p).item() == pytest.approx(0.0, abs=1e-5)


def test_everything_is_finite_with_its_gradients_where_no_direction_is_preferred():
    vector = torch.zeros(3, 2, requires_grad=True)
    total = angle_log_prob(torch.tensor([0.3, -1.0, 1.0]), vector) + angle_entropy(vector)
    total.sum().backward()
    assert torch.isfinite(vector.grad).all()
    assert vector.grad[0, 0].item() == pytest.approx(math.cos(0.3 * math.pi), abs=1e-3)
