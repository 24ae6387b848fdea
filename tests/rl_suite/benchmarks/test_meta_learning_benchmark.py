"""What the benchmark of gradient learners compares is the same computation."""

import torch
from torch.nn import functional as F

from rl_suite.benchmarks import meta_learning as benchmark
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_mlp


def test_ours_and_the_plain_loop_take_the_same_step():
    tasks, nets = SinusoidTasks(5, 5, 0).batch(0, 3), []
    for kind in ("plain", "ours"):
        torch.manual_seed(0)
        nets.append(make_mlp(1, 1, hidden=8))
        if kind == "plain":
            step = benchmark.plain_step(nets[-1], F.mse_loss, tasks)
        else:
            learner = MAML(nets[-1], benchmark.LR, num_inner_steps=benchmark.STEPS, order="second")
            step = benchmark.our_step(learner, tasks)
        step()
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_sinusoids_are_measured_against_their_limits(monkeypatch):
    monkeypatch.setattr(benchmark, "SINUSOID_STEPS", 3)
    trial = benchmark.train_sinusoid("10 points", (), {1: 0.4}, seed=0)
    rows = benchmark.sinusoid_rows(trial)
    assert [row.name for row in rows] == ["10 points, after 1", "10 points, training"]
    assert rows[0].verdict == "MISSED"
    assert rows[0].ours == trial["errors"]["1"]["estimate"]
