import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.hybrid.segments import segment_mean, segment_sum
from agents.hybrid.squashed import entropy_of_tanh_normal, log_jacobian, log_prob_of_tanh_normal, normal_kl


def test_density_integrates_to_one():
    a = torch.linspace(-1 + 1e-4, 1 - 1e-4, 200_001, dtype=torch.float64)
    for mean, std in ((0.0, 0.5), (0.7, 0.3), (-0.4, 0.8)):
        density = log_prob_of_tanh_normal(a, torch.tensor(mean), torch.tensor(math.log(std))).exp()
        assert torch.trapezoid(density, a).item() == pytest.approx(1.0, abs=2e-3)


def test_density_by_hand():
    # u = 0: N(0; 0, 1) = 1 / sqrt(2 pi), and the Jacobian is 1.
    at_zero = log_prob_of_tanh_normal(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0))
    assert at_zero.item() == pytest.approx(-0.5 * math.log(2 * math.pi))
    # u = 1: the density of u is exp(-1/2) / sqrt(2 pi), divided by 1 - tanh(1)^2.
    at_one = log_prob_of_tanh_normal(torch.tensor(math.tanh(1.0)), torch.tensor(0.0), torch.tensor(0.0))
    assert at_one.item() == pytest.approx(
        -0.5 - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(1) ** 2), rel=1e-5
    )


def test_saturated_actions_have_finite_density_and_gradient():
    mean = torch.zeros(2, requires_grad=True)
    log_prob = log_prob_of_tanh_normal(torch.tensor([-1.0, 1.0]), mean, torch.zeros(2))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(mean.grad).all()


@given(st.floats(-1.0, 1.0), st.floats(0.1, 1.5))
def test_entropy_is_the_mean_of_minus_log_prob(mean, std):
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(100_000, generator=generator)
    u = mean + std * torch.cat([half, -half])
    exact = math.log(std) + 0.5 * math.log(2 * math.pi * math.e) + log_jacobian(u).mean().item()
    entropy = entropy_of_tanh_normal(torch.tensor(mean), torch.tensor(math.log(std))).item()
    assert entropy == pytest.approx(exact, abs=0.045)


def test_kl_is_zero_for_equals_and_agrees_with_torch():
    p, q = torch.distributions.Normal(0.3, 0.5), torch.distributions.Normal(-0.2, 0.9)
    ours = normal_kl(p.mean, p.stddev.log(), q.mean, q.stddev.log())
    assert ours.item() == pytest.approx(torch.distributions.kl_divergence(p, q).item(), rel=1e-6)
    assert normal_kl(p.mean, p.stddev.log(), p.mean, p.stddev.log()).item() == pytest.approx(0.0, abs=1e-7)


def test_segment_sum_differentiates_twice_and_skips_empty_graphs():
    counts, graph = torch.tensor([2, 0, 1]), torch.tensor([0, 0, 2])
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64, requires_grad=True)
    assert segment_sum(rows, counts, graph).tolist() == [[4.0, 6.0], [0.0, 0.0], [5.0, 6.0]]
    assert segment_mean(rows, counts, graph).tolist() == [[2.0, 3.0], [0.0, 0.0], [5.0, 6.0]]
    assert torch.autograd.gradgradcheck(lambda x: segment_sum(x**3, counts, graph), (rows,))
