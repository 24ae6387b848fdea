"""What batch normalisation does is said, and only what was asked for leaks between queries."""

import warnings

import pytest
import torch
from gradient_toys import toy_images
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.functional import FunctionalModule
from rl_suite.meta_learning.learners.maml import MAML, TransductiveWarning
from rl_suite.meta_learning.learners.nets import make_conv4
from rl_suite.meta_learning.learners.variants import ANIL, MAMLPlusPlus
from rl_suite.meta_learning.tasks import Task, unstack_tasks


def conv():
    torch.manual_seed(0)
    return make_conv4(5, size=16, width=4)


def test_batch_statistics_are_transductive_and_it_is_said_once():
    learner, task = MAML(conv(), 0.1), unstack_tasks(toy_images())[0]
    with pytest.warns(TransductiveWarning, match="each other's statistics"):
        together = learner.outputs([task])[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = learner.outputs([task._replace(query_x=task.query_x[:2], query_y=task.query_y[:2])])[0]
    assert not torch.allclose(together[:2], alone, atol=1e-3)  # what is asked beside it changes the answer


@pytest.mark.parametrize("policy", ["frozen", "per_step", "support"])
@pytest.mark.parametrize("kind", [MAML, ANIL])
def test_other_policies_judge_every_query_alone(policy, kind):
    model = conv()
    model(torch.randn(8, 1, 16, 16))
    learner, tasks = kind(model, 0.1, batch_norm=policy), toy_images()
    for _ in range(2):
        learner.meta_train_step(tasks)
    task = unstack_tasks(tasks)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = learner.outputs([task])[0]
        alone = learner.outputs([task._replace(query_x=task.query_x[:1], query_y=task.query_y[:1])])[0]
    assert torch.allclose(together[:1], alone, atol=1e-5)


def test_statistics_follow_every_inner_step():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.ones_(model[0].weight)
    function, x = FunctionalModule(model, "per_step", steps=2), torch.tensor([[1.0], [3.0]])
    weights = function.weights
    for _ in range(200):
        function.observe(weights, x, 0)
        function.observe({**weights, "0.weight": 2 * weights["0.weight"]}, x, 1)
    assert [float(v) for v in function.statistics.row("1", 0)] == pytest.approx([2, 2])  # mean 2, variance 2
    assert [float(v) for v in function.statistics.row("1", 1)] == pytest.approx([4, 8])
    assert [float(v) for v in function.statistics.row("1", 9)] == [0, 1]  # the last row, which has seen nothing
    judged = function.forward({k: v.detach() for k, v in weights.items()}, torch.tensor([[2.0]]), step=0, judged=True)
    assert float(judged) == pytest.approx(0, abs=1e-5)
    training = function.forward(weights, x, step=0).detach()
    assert training.flatten().tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_a_single_example_has_no_statistics():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    with pytest.raises(UserError, match="single example"):
        MAML(model, 0.1).adapt_to_task(torch.zeros(1, 2), torch.tensor([0]))
    MAML(model, 0.1, batch_norm="frozen").adapt_to_task(torch.zeros(1, 2), torch.tensor([0]))
    with pytest.raises(UserError, match="keeps none"):
        MAML(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False), nn.Linear(2, 2)), batch_norm="frozen")


def test_statistics_per_step_are_saved_and_agree_over_task_axes():
    tasks = toy_images()
    learners = {
        axis: MAMLPlusPlus(conv(), 0.1, num_inner_steps=2, task_axis=axis) for axis in ("loop", "threads", "vmap")
    }
    outputs = {}
    for axis, learner in learners.items():
        learner.meta_train_step(tasks)
        outputs[axis] = torch.stack(learner.outputs(tasks))
    assert torch.equal(outputs["threads"], outputs["loop"])
    assert torch.allclose(outputs["vmap"], outputs["loop"], atol=1e-3)
    twin = MAMLPlusPlus(conv(), 0.1, num_inner_steps=2)
    twin.load_meta_state(learners["loop"].get_meta_state())
    assert torch.equal(torch.stack(twin.outputs(tasks)), outputs["loop"])


@pytest.mark.parametrize("kind", [MAML, ANIL])
def test_queries_normalised_by_the_support_agree_over_task_axes(kind):
    tasks, found = toy_images(), {}
    for axis in ("loop", "threads", "vmap"):
        learner = kind(conv(), 0.1, num_inner_steps=2, order="second", batch_norm="support", task_axis=axis)
        loss = learner.meta_train_step(tasks)["meta_loss"]
        found[axis] = loss, torch.stack(learner.outputs(tasks))
    assert found["threads"][0] == found["loop"][0]
    assert found["vmap"][0] == pytest.approx(found["loop"][0], rel=1e-5)
    assert torch.equal(found["threads"][1], found["loop"][1])


def test_support_statistics_by_hand():
    model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1))
    function = FunctionalModule(model[:1], "support")
    x = torch.tensor([[1.0], [3.0], [5.0]])  # the support set, 1 and 3, has mean 2 and variance 1
    with torch.no_grad():
        assert function.forward(function.weights, x, context=2).flatten().tolist() == pytest.approx([3.0], abs=1e-4)
    learner = MAML(model, 0.1, batch_norm="support")
    weights = learner.adapt_to_task(x[:2], torch.zeros(2, 1))
    with pytest.raises(UserError, match="give forward_with its support_x"):
        learner.forward_with(x, weights)
    alone = learner.forward_with(x[2:], weights, support_x=x[:2])
    assert torch.allclose(alone, learner.forward_with(x, weights, support_x=x[:2])[2:])


@pytest.mark.parametrize("kind", [MAML, ANIL])
def test_one_call_for_support_and_queries_is_the_same_as_two(kind, monkeypatch):
    """ANIL computes features once; adapting and asking separately must give the same outputs."""
    torch.manual_seed(0)
    learner = kind(make_conv4(2, 16, width=4), 0.1, num_inner_steps=2, order="second", batch_norm="support")
    rng = torch.Generator().manual_seed(1)
    support, query = torch.rand(4, 1, 16, 16, generator=rng), torch.rand(6, 1, 16, 16, generator=rng)
    labels = torch.tensor([0, 1, 0, 1])
    (together,) = learner.outputs([Task(support, labels, query, torch.zeros(6, dtype=torch.int64))])
    weights = learner.adapt_to_task(support, labels)
    apart = learner.forward_with(query, weights, support_x=support)
    assert torch.allclose(together, apart, atol=1e-5)
