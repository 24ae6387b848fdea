"""Small models and tasks for the tests of gradient learners."""

import torch
from torch import nn
from torch.nn import functional as F

from rl_suite.meta_learning.tasks import Task


def toy_tasks(n=3, shots=4, queries=5, inputs=2, outputs=2, classes=None, seed=0, dtype=torch.float32):
    """A stack of regression tasks, or of classification tasks with ``classes``."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for count in (shots, queries):
        parts.append(torch.randn(n, count, inputs, generator=rng, dtype=dtype))
        if classes is None:
            parts.append(torch.randn(n, count, outputs, generator=rng, dtype=dtype))
        else:
            parts.append(torch.arange(n * count).reshape(n, count) % classes)
    return Task(*parts)


def toy_model(inputs=2, outputs=2, hidden=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


def toy_images(n=2, shots=5, queries=5, size=16, classes=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = [torch.randn(n, count, 1, size, size, generator=rng) for count in (shots, queries)]
    y = [torch.arange(count).repeat(n, 1) % classes for count in (shots, queries)]
    return Task(x[0], y[0], x[1], y[1])


def unrolled_loss(model, task, lr, steps, second, rates=None):
    """Query loss of one task, written out with ``functional_call`` and nothing of ours."""
    weights = dict(model.named_parameters())
    for _ in range(steps):
        loss = F.mse_loss(torch.func.functional_call(model, weights, (task.support_x,)), task.support_y)
        found = torch.autograd.grad(loss, list(weights.values()), create_graph=second)
        weights = {
            name: value - (lr if rates is None else rates[name]) * gradient
            for (name, value), gradient in zip(weights.items(), found, strict=True)
        }
    return F.mse_loss(torch.func.functional_call(model, weights, (task.query_x,)), task.query_y)


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())
