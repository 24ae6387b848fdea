import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from agents.hybrid.correlated import SharedNoise

COUNTS = torch.tensor([3, 1, 0, 4])
GRAPH = torch.tensor([0, 0, 0, 1, 3, 3, 3, 3])


def noise(own, shared):
    return SharedNoise(torch.tensor(own).log(), torch.tensor(shared).log(), GRAPH, COUNTS)


def full(own, shared, n, shift=None):
    """The same as a full covariance matrix, one value at a time."""
    covariance = own**2 * torch.eye(n) + shared**2 * torch.ones(n, n)
    return MultivariateNormal(torch.zeros(n) if shift is None else shift, covariance)


OWN, SHARED = [0.5, 0.2], [0.3, 0.8]


def test_density_and_entropy_are_those_of_the_full_covariance():
    torch.manual_seed(0)
    ours, deviation = noise(OWN, SHARED), torch.randn(8, 2)
    log_prob, entropy = ours.log_prob(deviation), ours.entropy()
    for b, n in enumerate(COUNTS.tolist()):
        rows = deviation[b == GRAPH]
        pair = [(full(o, s, n), rows[:, i]) for i, (o, s) in enumerate(zip(OWN, SHARED, strict=True))] if n else []
        assert log_prob[b].item() == pytest.approx(float(sum(p.log_prob(x) for p, x in pair)), abs=1e-4)
        assert entropy[b].item() == pytest.approx(float(sum(p.entropy() for p, _ in pair)), abs=1e-4)


def test_divergence_is_that_of_the_full_covariance():
    torch.manual_seed(0)
    p, q, shift = noise(OWN, SHARED), noise([0.4, 0.6], [0.7, 0.1]), torch.randn(8, 2)
    ours = p.kl(q, shift)
    for b, n in enumerate(COUNTS.tolist()):
        expected = 0.0
        if n:
            rows = shift[b == GRAPH]
            expected = sum(
                kl_divergence(full(OWN[i], SHARED[i], n, rows[:, i]), full([0.4, 0.6][i], [0.7, 0.1][i], n)).item()
                for i in range(2)
            )
        assert ours[b].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert p.kl(p, torch.zeros(8, 2)).abs().max() < 1e-5


def test_samples_have_the_covariance():
    torch.manual_seed(0)
    draws = torch.stack([noise(OWN, SHARED).sample() for _ in range(20_000)])  # (S, M, c)
    covariance = torch.cov(draws[:, 4:, 0].t())
    expected = 0.5**2 * torch.eye(4) + 0.3**2
    torch.testing.assert_close(covariance, expected, rtol=0, atol=0.02)
    assert torch.corrcoef(draws[:, [2, 4], 1].t())[0, 1].abs() < 0.03  # other graphs know nothing of it
    torch.testing.assert_close(draws.std(0)[0], noise(OWN, SHARED).log_std.exp(), rtol=0, atol=0.02)
