"""The MAML family learns, never changes the module while adapting, and says what went wrong."""

import copy
import gc
import warnings

import numpy as np
import pytest
import torch
from gradient_toys import toy_images, toy_model, toy_tasks
from torch import nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.engine import InnerLoop, adapt
from rl_suite.meta_learning.learners.maml import MAML, TransductiveWarning
from rl_suite.meta_learning.learners.nets import make_conv4, make_mlp
from rl_suite.meta_learning.learners.variants import (
    ANIL,
    MAMLFirstOrder,
    MAMLPlusPlus,
    MAMLSecondOrder,
    MetaSGD,
    MultiTaskMAML,
    Reptile,
)
from rl_suite.meta_learning.rules import fixed_rate
from rl_suite.meta_learning.tasks import Task, unstack_tasks

FAMILY = {
    "first": lambda m: MAMLFirstOrder(m, 0.02, 0.005, 3),
    "second": lambda m: MAMLSecondOrder(m, 0.02, 0.005, 3),
    "meta_sgd": lambda m: MetaSGD(m, 0.02, 0.005, 3, "second"),
    "plus_plus": lambda m: MAMLPlusPlus(m, 0.02, 0.005, 3, anneal_steps=50),
    "anil": lambda m: ANIL(m, 0.02, 0.005, 3),
    "reptile": lambda m: Reptile(m, 0.02, 0.5, 5),
    "multi_task": lambda m: MultiTaskMAML(m, 0.02, 0.005, 3, num_tasks=2),
}


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def lines(start, size):
    """Tasks y = a x + b around a common line: what is common can be learned, the rest must be adapted to."""
    tasks = []
    for index in range(start, start + size):
        rng = np.random.default_rng(index)
        slope, bias = rng.normal(2, 0.3), rng.normal(-1, 0.3)
        x = torch.from_numpy(rng.uniform(-1, 1, (15, 1))).float()
        y = slope * x + bias
        tasks.append(Task(x[:5], y[:5], x[5:], y[5:]))
    return tasks


def error_on_lines(learner):
    tasks = lines(10_000, 40)
    outputs = learner.outputs(tasks)
    return float(np.mean([float((o - t.query_y).square().mean()) for o, t in zip(outputs, tasks, strict=True)]))


@pytest.mark.parametrize("name", FAMILY)
def test_every_relative_learns_to_adapt(name):
    torch.manual_seed(0)
    learner = FAMILY[name](make_mlp(1, 1, hidden=16))
    before = error_on_lines(learner)
    for step in range(120):
        values = learner.meta_train_step(lines(8 * step, 8))
    assert all(isinstance(value, float) for value in values.values())
    assert error_on_lines(learner) < 0.25 * before


@pytest.mark.parametrize("name", FAMILY)
def test_adaptation_never_changes_the_module(name):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.LazyLinear(5)
    )
    images = toy_images()
    model(images.support_x[0])
    learner = FAMILY[name](model)
    before, modes = snapshot(learner), [part.training for part in model.modules()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TransductiveWarning)
        weights = learner.adapt_to_task(images.support_x[0], images.support_y[0])
        learner.forward_with(images.query_x[0], weights)
        learner.outputs(images)
        learner.predict(images.support_x[0], images.support_y[0], images.query_x[0])
    assert same(before, snapshot(learner))
    assert modes == [part.training for part in model.modules()]
    assert not any(parameter.grad is not None for parameter in learner.parameters())
    learner.meta_train_step(images)
    buffers = {name for name, _ in model.named_buffers()}
    assert buffers
    assert all(torch.equal(before[f"model.{name}"], value) for name, value in model.named_buffers())


def test_fast_weights_are_applied():
    learner, task = MAMLSecondOrder(toy_model(), 0.1), unstack_tasks(toy_tasks())[0]
    weights = learner.adapt_to_task(task.support_x, task.support_y)
    adapted, before = learner._forward_with_weights(task.support_x, weights), learner.model(task.support_x)
    assert (adapted - task.support_y).square().mean() < (before - task.support_y).square().mean()
    assert torch.autograd.grad(adapted.sum(), learner.model[0].weight)[0].abs().sum() > 0  # the graph is whole
    first = MAMLFirstOrder(toy_model(), 0.1).adapt_to_task(task.support_x, task.support_y)
    assert not any(value.requires_grad for value in first.values())


def test_more_steps_than_in_training():
    learner, task = MAML(toy_model(), 0.05, num_inner_steps=1), unstack_tasks(toy_tasks())[0]
    losses = []
    for steps in (0, 1, 20):
        weights = learner.adapt_to_task(task.support_x, task.support_y, steps)
        losses.append(float((learner.forward_with(task.support_x, weights) - task.support_y).square().mean()))
    assert losses[2] < losses[1] < losses[0]
    along = learner.outputs_along([task], 20)[0]
    assert len(along) == 21
    assert torch.allclose(along[-1], learner.outputs([task], 20)[0])
    plus = MAMLPlusPlus(toy_model(), 0.05, num_inner_steps=2)
    assert plus.outputs([task], 7)[0].isfinite().all()  # later steps use the last rates


class Twice(nn.Module):
    """One layer under two names, and a buffer that scales."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.b = self.a
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.scale * self.b(torch.tanh(self.a(x)))


def test_a_shared_layer_has_one_copy_of_its_weights():
    torch.manual_seed(0)
    model, task = Twice(), unstack_tasks(toy_tasks())[0]
    learner = MAML(model, 0.1, num_inner_steps=1, order="second")
    weights = learner.adapt_to_task(task.support_x, task.support_y)
    assert sorted(weights) == ["a.bias", "a.weight"]
    twin = copy.deepcopy(model)  # an ordinary step of SGD on the shared layer
    loss = (twin(task.support_x) - task.support_y).square().mean()
    for parameter, gradient in zip(twin.parameters(), torch.autograd.grad(loss, twin.parameters()), strict=True):
        parameter.data -= 0.1 * gradient
    assert torch.allclose(learner.forward_with(task.query_x, weights), twin(task.query_x), atol=1e-6)
    layer = nn.Linear(3, 3)
    stack = MAML(nn.Sequential(layer, nn.Tanh(), layer), 0.1, num_inner_steps=2, order="second", task_axis="vmap")
    alone = MAML(stack.model, 0.1, num_inner_steps=2, order="second", task_axis="loop")
    tasks = toy_tasks(inputs=3, outputs=3)
    for a, b in zip(stack.outputs(tasks), alone.outputs(tasks), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_any_loss_is_adapted_with():
    def absolute(outputs, targets):
        return (outputs - targets).abs().mean()

    task = unstack_tasks(toy_tasks())[0]
    learner = MAML(toy_model(), 0.05, num_inner_steps=10, loss=absolute)
    after = learner.forward_with(task.support_x, learner.adapt_to_task(task.support_x, task.support_y))
    assert absolute(after, task.support_y) < absolute(learner.model(task.support_x), task.support_y)


def test_the_engine_adapts_a_policy_by_its_own_loss():
    """A policy-gradient loss is a function of weights and a rollout, like any other."""
    torch.manual_seed(0)
    policy, states = nn.Linear(3, 2), torch.randn(64, 3)
    actions, returns = torch.randint(2, (64,)), torch.randn(64)

    def loss(weights, rollout, step):
        seen, done, gained = rollout
        logits = torch.func.functional_call(policy, dict(weights), (seen,))
        return -(torch.distributions.Categorical(logits=logits).log_prob(done) * gained).mean()

    weights = dict(policy.named_parameters())
    rollout = states, actions, returns
    one_by_one = weights
    for _ in range(2):  # a rollout is collected anew between the steps
        one_by_one = adapt(loss, one_by_one, rollout, InnerLoop(1), fixed_rate(0.5), differentiable=False)[-1]
    path = adapt(loss, weights, rollout, InnerLoop(2, order="second"), fixed_rate(0.5))
    assert all(torch.allclose(one_by_one[name], path[-1][name]) for name in weights)
    assert loss(path[-1], rollout, 2) < loss(path[0], rollout, 0)


def test_labels_of_any_kind_in_any_order():
    torch.manual_seed(0)
    learner = MAML(nn.Linear(2, 3), 0.5, num_inner_steps=50)
    corners = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    for labels in (["cat", "dog", "ant"], torch.tensor([70, 3, 12])):
        found = learner.predict(corners, labels, corners[[2, 0, 1, 1]])
        plain = labels if isinstance(labels, list) else labels.tolist()
        assert found.tolist() == [plain[2], plain[0], plain[1], plain[1]]
    with pytest.raises(UserError, match="local_labels"):
        learner.adapt_to_task(corners, torch.tensor([70, 3, 12]))


def test_200_outer_steps_leave_nothing_behind():
    learner, tasks = MAMLSecondOrder(toy_model(), 0.01), toy_tasks()

    def count():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    for _ in range(5):
        learner.meta_train_step(tasks)
    before = count()
    for _ in range(200):
        learner.meta_train_step(tasks)
    assert count() <= before


def test_exploding_rates_stop_with_step_and_name():
    learner, tasks = MetaSGD(toy_model(), 0.1, num_inner_steps=5), toy_tasks()
    with torch.no_grad():
        for rate in learner.rates.values():
            rate.fill_(1e30)
    with pytest.raises(UserError, match=r"outer step 1, task 0: [02]\.(weight|bias) is not finite after inner step \d"):
        learner.meta_train_step(tasks)
    with pytest.raises(UserError, match=r"adaptation: [02]\.(weight|bias) is not finite after inner step \d"):
        learner.outputs(tasks)
    assert all(bool(value.isfinite().all()) for value in learner.state_dict().values())


@pytest.mark.parametrize(
    ("part", "words"), [("support_x", "task 1: support_x holds NaN"), ("query_y", "task 1: query_y holds NaN")]
)
def test_data_that_are_not_finite_are_named(part, words):
    tasks = toy_tasks()
    getattr(tasks, part)[1, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=words):
        MAML(toy_model(), 0.1).meta_train_step(tasks)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: MAML(m, num_inner_steps=0), "at least 1"),
        (lambda m: MAML(m, lr_inner=-1.0), "above 0"),
        (lambda m: MAML(m, order="third"), "unknown order"),
        (lambda m: MAML(m.requires_grad_(False)), "no parameter"),
        (lambda m: MAML(m, batch_norm="none"), "unknown batch_norm"),
        (lambda m: ANIL(m, head="tail"), "no sub-module 'tail'"),
        (lambda m: ANIL(nn.Linear(1, 1)), "has no sub-modules"),
        (lambda m: MultiTaskMAML(m, num_tasks=0), "at least 1"),
    ],
)
def test_what_cannot_be_built_is_said(make, words):
    with pytest.raises(UserError, match=words):
        make(toy_model())


def test_shapes_that_would_broadcast_are_refused():
    task = Task(torch.zeros(4, 2), torch.zeros(4), torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(UserError, match="differ in shape"):
        MAML(nn.Linear(2, 1), 0.1).meta_train_step([task])


def test_a_head_that_is_not_last_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Tanh())
    with pytest.raises(UserError, match="must be the last layer"):
        ANIL(model, 0.1, head="1").meta_train_step(toy_tasks())


def test_a_frozen_body_stays_where_it_is():
    model = toy_model()
    model[0].requires_grad_(False)
    learner, tasks = MAMLSecondOrder(model, 0.1), toy_tasks()
    before = model[0].weight.clone()
    learner.meta_train_step(tasks)
    weights = learner.adapt_to_task(tasks.support_x[0], tasks.support_y[0])
    assert torch.equal(model[0].weight, before)
    assert torch.equal(weights["0.weight"], before)


@pytest.mark.parametrize("name", FAMILY)
def test_a_saved_learner_goes_on_to_the_same_bits(name):
    tasks = [lines(8 * step, 8) for step in range(6)]
    torch.manual_seed(0)
    whole = FAMILY[name](make_mlp(1, 1, hidden=4))
    for batch in tasks:
        whole.meta_train_step(batch)
    torch.manual_seed(0)
    half = FAMILY[name](make_mlp(1, 1, hidden=4))
    for batch in tasks[:3]:
        half.meta_train_step(batch)
    torch.manual_seed(9)
    other = FAMILY[name](make_mlp(1, 1, hidden=4))
    other.load_meta_state(copy.deepcopy(half.get_meta_state()))
    for batch in tasks[3:]:
        other.meta_train_step(batch)
    assert same(snapshot(whole), snapshot(other))


def test_sinusoids_are_what_they_say():
    source = SinusoidTasks(5, 10, seed=3)
    amplitude, phase = source.curves(1030)
    task = source.task(1030)
    assert torch.allclose(task.query_y, amplitude * torch.sin(task.query_x - phase), atol=1e-5)
    batch = SinusoidTasks(5, 10, seed=3).batch(1020, 20)  # across two generators
    assert torch.equal(batch.query_y[10], task.query_y)
    assert not torch.equal(SinusoidTasks(5, 10, seed=3, split="test").task(1030).query_y, task.query_y)


def test_networks_have_the_published_sizes():
    assert sum(p.numel() for p in make_mlp(1, 1).parameters()) == 1761
    images = torch.zeros(2, 1, 28, 28)
    for down, features in (("pool", 64), ("stride", 256)):
        net = make_conv4(5, down=down)
        assert net[-1].in_features == features
        assert net(images).shape == (2, 5)
    with pytest.raises(UserError, match="too small"):
        make_conv4(5, size=8)
