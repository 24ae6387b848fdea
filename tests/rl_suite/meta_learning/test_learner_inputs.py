"""What is wrong with a task, a model or a loss is said in one line, whatever learner is given it."""

import numpy as np
import pytest
import torch
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning import ANIL, MAML, EpisodeSource, FewShotLearner, MetaSGD, Reptile, Task, from_arrays


def task(n=4, dtype=torch.float32):
    return Task(*(torch.randn(n, 1, dtype=dtype) for _ in range(4)))


@pytest.mark.parametrize("learner", [MAML, MetaSGD])
@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task(), Task(*(part.numpy() for part in task()))], "task 1: support_x must be a tensor, not ndarray"),
        ([Task(torch.ones(0, 1), torch.ones(0, 1), torch.ones(2, 1), torch.ones(2, 1))], "support_x is empty"),
        ([Task(torch.ones(2, 1), torch.ones(2, 1), torch.ones(0, 1), torch.ones(0, 1))], "query_x is empty"),
        ([task(dtype=torch.float64)], r"differ in type .*\.float\(\)"),
        ([Task(*(torch.ones(3, 2) for _ in range(4)))], "inputs do not fit the model"),
    ],
)
def test_tasks_that_cannot_be_learned_from(learner, tasks, said):
    with pytest.raises(UserError, match=said):
        learner(nn.Linear(1, 1)).meta_train_step(tasks)
    with pytest.raises(UserError):
        learner(nn.Linear(1, 1)).adapt_to_task(tasks[-1].support_x[:0], tasks[-1].support_y[:0])


@pytest.mark.parametrize("task_axis", ["loop", "vmap"])
@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda outputs, targets: (outputs - targets) ** 2, r"one number, not \(4, 1\)"),
        (lambda outputs, targets: 1.0, "must be a tensor .* not float"),
        (lambda outputs, targets: None, "not NoneType"),
    ],
)
def test_losses_that_are_no_number(loss, said, task_axis):
    learner = MAML(nn.Linear(1, 1), loss=loss, task_axis=task_axis)
    with pytest.raises(UserError, match=said):
        learner.meta_train_step([task(), task()])


def test_losses_of_one_element_are_numbers():
    learner = MAML(nn.Linear(1, 1), loss=lambda outputs, targets: (outputs - targets).square().mean().reshape(1))
    assert np.isfinite(learner.meta_train_step([task(), task()])["meta_loss"])


@pytest.mark.parametrize("steps", ["5", 2.5, None, 0, -1])
def test_inner_steps_are_whole_numbers(steps):
    with pytest.raises(UserError, match="num_inner_steps must be"):
        MAML(nn.Linear(1, 1), num_inner_steps=steps)
    if steps not in (0, None):
        with pytest.raises(UserError, match="steps must be"):
            MAML(nn.Linear(1, 1)).adapt_to_task(torch.ones(2, 1), torch.ones(2, 1), steps=steps)


@pytest.mark.parametrize("make", [MAML, MetaSGD, ANIL, Reptile, lambda m: FewShotLearner("prototypical", m)])
@pytest.mark.parametrize(
    ("model", "said"),
    [(nn.Linear, "must be an nn.Module"), (torch.tanh, "must be an nn.Module"), (nn.LazyLinear(1), "no shape yet")],
)
def test_models_that_cannot_be_learned(make, model, said):
    with pytest.raises(UserError, match=said):
        make(model)


class SharedTwice(nn.Module):
    """A layer under two names, both after the first of which the head is listed."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(1, 1), nn.Linear(1, 1)
        self.again = self.inner
        self.both = nn.ModuleList([self.inner, self.again])

    def forward(self, x):
        return self.head(torch.tanh(self.again(self.inner(x))))


def test_the_head_of_anil_is_no_second_name_of_a_shared_layer():
    learner = ANIL(SharedTwice(), num_inner_steps=2)
    assert learner.head == "head"
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    weights = learner.adapt_to_task(torch.ones(3, 1), torch.zeros(3, 1))
    assert not torch.equal(weights["head.weight"], before["head.weight"])
    assert torch.equal(weights["inner.weight"], before["inner.weight"])
    assert all(torch.equal(value, before[name]) for name, value in learner.model.state_dict().items())


@pytest.mark.parametrize("algorithm", ["prototypical", "matching", "relation"])
@pytest.mark.parametrize("kind", ["numpy", "double", "vectors"])
def test_few_shot_learners_take_arrays_doubles_and_vectors(algorithm, kind):
    torch.manual_seed(0)
    images = torch.rand(6, 1, 6, 6)
    encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    if kind == "vectors":
        images, encoder = images.flatten(1), nn.Linear(36, 4)
    plain = FewShotLearner(algorithm, encoder)
    expected = plain.predict(images[:4], ["a", "b", "a", "b"], images[4:])
    given = images.numpy() if kind == "numpy" else images.double() if kind == "double" else images
    assert plain.predict(given[:4], ["a", "b", "a", "b"], given[4:]) == expected
    found = plain.train_episode(given[:4], ["a", "b", "a", "b"], given[4:], ["b", "a"])
    assert np.isfinite(found["loss"])


def test_episodes_and_images_of_the_wrong_kind():
    images, labels = torch.rand(8, 1, 4, 4), [0, 1] * 4
    with pytest.raises(UserError, match=r"n_way must be a whole number, not 2\.5"):
        EpisodeSource(from_arrays(images, labels), n_way=2.5, k_shot=1, k_query=1, seed=0)
    for wrong in ("pictures", ["a", "b"], [{}, {}]):
        with pytest.raises(UserError, match="arrays of numbers"):
            from_arrays(wrong, [0, 1])
