import math

import pytest
import torch
from torch.distributions import VonMises

from agents.hybrid.circular import SharedAngles, angle_entropy, angle_kl, angle_log_prob, angle_mode, sample_angle

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


COUNTS, GRAPH = torch.tensor([2, 0, 3]), torch.tensor([0, 0, 2, 2, 2])


def shared(scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return SharedAngles(
        lead=torch.tensor([[[1.0, 0.5]], [[0.0, 0.0]], [[-2.0, 0.3]]]) * scale,
        offset=0.5 * torch.randn(5, 1, generator=generator),
        log_kappa=torch.tensor([1.2]),
        graph=GRAPH,
        counts=COUNTS,
    )


def with_hidden_direction(angles, values):
    """The same density by summing over the hidden direction on a grid: (B,)."""
    z = torch.linspace(-math.pi, math.pi, 2001)[:-1]
    kappa = angles.log_kappa.exp()
    result = []
    for b in range(3):
        rows = b == GRAPH
        lead = angles.lead[b, 0]
        total = VonMises(torch.atan2(lead[1], lead[0]), lead.norm().clamp(min=1e-6)).log_prob(z)
        for value, offset in zip(values[rows, 0], angles.offset[rows, 0], strict=True):
            total = (
                total + VonMises(torch.tensor(0.0), kappa).log_prob(value * math.pi - offset - z) + math.log(math.pi)
            )
        result.append(torch.logsumexp(total, 0) + math.log(2 * math.pi / len(z)))
    return torch.stack(result)


def test_shared_angles_have_the_density_of_their_hidden_direction():
    torch.manual_seed(0)
    angles = shared()
    values = angles.sample()
    assert values.shape == (5, 1)
    assert values.abs().max() <= 1.0
    torch.testing.assert_close(angles.log_prob(values), with_hidden_direction(angles, values), rtol=1e-3, atol=2e-3)
    alone = torch.special.i0e(torch.tensor(0.0))  # an empty graph has density 1
    assert angles.log_prob(values)[1].item() == pytest.approx(float(alone.log()), abs=1e-5)


def test_entropy_of_shared_angles_is_close_and_their_divergence_is_a_bound():
    torch.manual_seed(0)
    p, q = shared(), shared(scale=-0.5)
    draws = [p.sample() for _ in range(3000)]
    entropy = torch.stack([-p.log_prob(values) for values in draws]).mean(0)
    torch.testing.assert_close(p.entropy(), entropy, rtol=0, atol=0.15)
    divergence = torch.stack([p.log_prob(values) - q.log_prob(values) for values in draws]).mean(0)
    assert (p.kl(q) >= divergence - 0.05).all()
    assert p.kl(q)[0] < 4 * divergence[0] + 0.5
    assert p.kl(p).abs().max() < 1e-5


def test_shared_angles_turn_together():
    torch.manual_seed(0)
    angles = shared(scale=0.0)
    values = torch.stack([angles.sample()[:, 0] for _ in range(4000)]) * math.pi - angles.offset[:, 0]
    units = torch.stack([torch.cos(values), torch.sin(values)], -1)
    assert units.mean(0).norm(dim=-1).max() < 0.05  # no direction is preferred
    within = (units[:, 2] * units[:, 3]).sum(-1).mean()
    kappa = torch.tensor(1.2).exp()
    assert within.item() == pytest.approx((torch.special.i1e(kappa) / torch.special.i0e(kappa)).item() ** 2, abs=0.03)
    assert (units[:, 0] * units[:, 3]).sum(-1).mean().abs() < 0.04  # another graph
    ahead = shared()
    torch.testing.assert_close(ahead.mode()[0, 0] * math.pi, math.atan2(0.5, 1.0) + ahead.offset[0, 0])
