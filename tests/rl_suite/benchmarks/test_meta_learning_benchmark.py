"""What the benchmark of gradient learners compares is the same computation."""

import json

import pytest
import torch
from torch.nn import functional as F

from rl_suite.benchmarks import meta_learning as benchmark
from rl_suite.errors import UserError
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


def test_sinusoids_are_measured_against_their_limits(tmp_path):
    mean = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    results = {row: {"mean": mean} for row in ("unadapted", "after 1 step", "after 10 steps")}
    settings = {"training_cpu_seconds": 9, "learner": "maml", "shots": 5}
    (tmp_path / "evaluation.json").write_text(json.dumps({"results": results, "settings": settings}))
    rows = benchmark.sinusoid_rows(benchmark.read_sinusoids(tmp_path))
    assert [(row.name, row.verdict) for row in rows] == [
        ("maml, 5 points, after 1 step", "reached"),
        ("maml, 5 points, after 10 steps", "MISSED"),
        ("maml, 5 points, training", ""),
    ]
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match="not the evaluation of a finished run"):
        benchmark.read_sinusoids(tmp_path)
