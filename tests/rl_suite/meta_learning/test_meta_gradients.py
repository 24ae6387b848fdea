"""Meta-gradients are those of the hand-unrolled computation, whichever way they are computed."""

import copy
import subprocess
import sys

import pytest
import torch
from gradient_toys import relative, toy_images, toy_model, toy_tasks, unrolled_loss
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.engine import choose_task_axis, evaluate
from rl_suite.meta_learning.learners.fairness import Fairness
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_conv4
from rl_suite.meta_learning.learners.variants import ANIL, MAMLPlusPlus, MetaSGD
from rl_suite.meta_learning.tasks import unstack_tasks

LR = 0.1


def meta_gradient(learner, tasks, axis="loop"):
    parameters = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    return evaluate(learner._objective, parameters, tasks, combine=learner.combination(), task_axis=axis)


def by_hand(model, tasks, steps, second, rates=None):
    losses = [unrolled_loss(model, task, LR, steps, second, rates) for task in unstack_tasks(tasks)]
    leaves = [*model.parameters(), *(rates.values() if rates else ())]
    return torch.autograd.grad(torch.stack(losses).mean(), leaves)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("order", ["first", "second"])
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_maml_is_the_unrolled_computation(steps, order, dtype, allowed):
    model, tasks = toy_model().to(dtype), toy_tasks(dtype=dtype)
    learner = MAML(model, LR, num_inner_steps=steps, order=order)
    found = meta_gradient(learner, tasks)
    for ours, hand in zip(found.gradients.values(), by_hand(model, tasks, steps, order == "second"), strict=True):
        assert relative(ours, hand) < allowed


def test_first_order_is_the_detached_computation_to_the_bit():
    model, tasks = toy_model(), toy_tasks(n=1)
    ours = meta_gradient(MAML(model, LR, num_inner_steps=2, order="first"), tasks).gradients
    detached = torch.autograd.grad(unrolled_loss(model, unstack_tasks(tasks)[0], LR, 2, False), model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(ours.values(), detached, strict=True))


def test_meta_sgd_is_the_unrolled_computation():
    model, tasks = toy_model().double(), toy_tasks(dtype=torch.float64)
    learner = MetaSGD(model, LR, num_inner_steps=2, order="second")
    rates = {name.replace("/", "."): value for name, value in learner.rates.items()}
    hand = by_hand(model, tasks, 2, True, rates)
    found = meta_gradient(learner, tasks).gradients
    names = [*(f"model.{name}" for name, _ in model.named_parameters()), *(f"rates.{name}" for name in learner.rates)]
    assert all(relative(found[name], expected) < 1e-10 for name, expected in zip(names, hand, strict=True))


def test_anil_is_maml_whose_body_has_rate_zero():
    model, tasks = toy_model().double(), toy_tasks(dtype=torch.float64)
    rates = {
        name: torch.tensor(LR * name.startswith("2."), dtype=torch.float64) for name, _ in model.named_parameters()
    }
    losses = [unrolled_loss(model, task, LR, 3, True, rates) for task in unstack_tasks(tasks)]
    hand = torch.autograd.grad(torch.stack(losses).mean(), list(model.parameters()))
    found = meta_gradient(ANIL(model, LR, num_inner_steps=3), tasks).gradients
    assert all(relative(a, b) < 1e-10 for a, b in zip(found.values(), hand, strict=True))


VARIANTS = {
    "second": lambda m: MAML(m, LR, num_inner_steps=2, order="second"),
    "six steps, recomputed": lambda m: MAML(m, 0.02, num_inner_steps=6, order="second"),
    "clipped": lambda m: MAML(m, LR, num_inner_steps=2, order="second", inner_clip=0.05),
    "meta_sgd": lambda m: MetaSGD(m, LR, num_inner_steps=2, order="second"),
    "plus_plus": lambda m: MAMLPlusPlus(m, LR, num_inner_steps=2, anneal_steps=10),
    "anil": lambda m: ANIL(m, LR, num_inner_steps=2),
    "fair": lambda m: MAML(
        m, LR, num_inner_steps=2, order="second", fairness=Fairness("theil", inequality=0.5, entropy=0.3)
    ),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("axis", ["loop", "vmap"])
def test_meta_gradients_agree_with_finite_differences(name, axis):
    torch.manual_seed(1)
    model, tasks = toy_model(outputs=3).double(), toy_tasks(classes=3, dtype=torch.float64)
    learner = VARIANTS[name](model)
    found = meta_gradient(learner, tasks, axis).gradients
    for parameter_name, parameter in learner.named_parameters():
        direction, h = torch.randn_like(parameter), 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * h * direction
            values.append(float(meta_gradient(learner, tasks, axis).value))
            with torch.no_grad():
                parameter -= sign * h * direction
        slope = (values[0] - values[1]) / (2 * h)
        assert float((found[parameter_name] * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("axis", ["threads", "vmap"])
def test_task_axes_agree(name, axis):
    learner, tasks = VARIANTS[name](toy_model(outputs=3)), toy_tasks(classes=3, n=4)
    one, other = meta_gradient(learner, tasks, "loop"), meta_gradient(learner, tasks, axis)
    assert relative(other.losses, one.losses) < 1e-5
    for key, gradient in one.gradients.items():
        assert torch.equal(other.gradients[key], gradient) or (
            axis == "vmap" and relative(other.gradients[key], gradient) < 1e-5
        )


def test_task_axes_agree_on_convolutions():
    torch.manual_seed(0)
    learner = MAML(make_conv4(5, size=16, width=4), LR, num_inner_steps=2, order="second")
    tasks = toy_images()
    found = {axis: meta_gradient(learner, tasks, axis) for axis in ("loop", "threads", "vmap")}
    for key, gradient in found["loop"].gradients.items():
        assert torch.equal(found["threads"].gradients[key], gradient)
        scale = max(float(g.abs().max()) for g in found["loop"].gradients.values())
        assert float((found["vmap"].gradients[key] - gradient).abs().max()) < 1e-5 * scale


@pytest.mark.slow  # compiles for a minute
def test_the_compiled_stack_agrees():
    learner, tasks = MAML(toy_model(), LR, num_inner_steps=2, order="second"), toy_tasks()
    one, other = meta_gradient(learner, tasks, "loop"), meta_gradient(learner, tasks, "compile")
    assert all(relative(other.gradients[key], g) < 1e-5 for key, g in one.gradients.items())


def test_tasks_of_many_shapes_are_looped_over():
    learner = MAML(toy_model(), LR)
    ragged = [*unstack_tasks(toy_tasks(n=1)), *unstack_tasks(toy_tasks(n=1, shots=7))]
    assert learner._axis(ragged) != "vmap"
    assert learner.meta_train_step(ragged)["meta_loss"] > 0
    with pytest.raises(UserError, match="one shape"):
        MAML(toy_model(), LR, task_axis="vmap").meta_train_step(ragged)


def test_auto_stacks_small_dense_networks_and_loops_over_one_task(monkeypatch):
    monkeypatch.setattr("rl_suite.meta_learning.engine.workers", lambda: 2)
    tasks, one = toy_tasks(), toy_tasks(n=1)
    assert choose_task_axis("auto", tasks, small=True, draws=False) == "vmap"
    assert choose_task_axis("auto", one, small=True, draws=False) == "loop"
    assert choose_task_axis("auto", tasks, small=False, draws=False) == "threads"
    assert choose_task_axis("auto", tasks, small=False, draws=True) == "loop"
    with pytest.raises(UserError, match="cannot be repeated"):
        choose_task_axis("threads", tasks, small=False, draws=True)
    with pytest.raises(UserError, match="unknown task_axis"):
        choose_task_axis("thread", tasks, small=False, draws=False)


def test_recomputed_steps_have_the_same_gradient_to_the_bit_even_with_dropout():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))
    found = []
    for recompute in (False, True):
        learner = MAML(copy.deepcopy(model), LR, num_inner_steps=4, order="second", recompute=recompute)
        torch.manual_seed(5)
        found.append(meta_gradient(learner, toy_tasks()).gradients)
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


PEAK = """
import sys, torch
sys.path.insert(0, {tests!r})
from gradient_toys import toy_images
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_conv4
torch.set_num_threads(1)
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
tasks, peaks = toy_images(n=1, shots=25, queries=25, size=28), []
for steps in (1, 10):
    MAML(make_conv4(5), 0.01, num_inner_steps=steps, order="second", task_axis="loop").meta_train_step(tasks)
    peaks.append(peak())
print(*peaks)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ten_second_order_steps_need_less_than_twice_the_memory_of_one():
    from pathlib import Path

    script = PEAK.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    one, ten = map(int, done.stdout.split())
    assert ten < 2 * one
