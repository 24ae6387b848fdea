"""One row for all classes: they begin alike, and stay so, and only the support set tells them apart."""

import pytest
import torch
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning import ANIL, MAML, EpisodeSource, MetaSGD, Reptile, from_arrays
from rl_suite.meta_learning.learners.shared_head import SharedHead


def make_episodes():
    rng = torch.Generator().manual_seed(0)
    kinds = torch.rand(8, 1, 4, 4, generator=rng).repeat_interleave(6, 0)
    images = (kinds + 0.1 * torch.rand(48, 1, 4, 4, generator=rng)).clamp(0, 1)
    return EpisodeSource(from_arrays(images, [i // 6 for i in range(48)]), n_way=4, k_shot=1, k_query=3, seed=0)


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))


@pytest.mark.parametrize("kind", [MAML, ANIL, MetaSGD, Reptile])
def test_rows_stay_alike_and_learn(kind):
    options = {} if kind is Reptile else {"order": "second"}
    learner = kind(network(), 0.2, 0.02, 2, shared_head=True, **options)
    episodes, body = make_episodes(), learner.model[1].weight.detach().clone()
    losses = [learner.meta_train_step(episodes.batch(4 * i, 4))["avg_task_loss"] for i in range(30)]
    head = learner.model[3]
    assert torch.equal(head.weight, head.weight[:1].expand_as(head.weight))
    assert torch.equal(head.bias, head.bias[:1].expand_as(head.bias))
    assert not torch.equal(body, learner.model[1].weight)
    assert sum(losses[-5:]) < sum(losses[:5])


def test_permuting_the_classes_permutes_the_answers():
    learner = MAML(network(), 0.2, 0.02, 2, shared_head=True)
    task = make_episodes().task(0)
    order = torch.tensor([2, 0, 3, 1])
    (plain,) = learner.outputs([task])
    (permuted,) = learner.outputs([task._replace(support_y=order[task.support_y])])
    assert torch.allclose(plain, permuted[:, order], atol=1e-6)
    (unadapted,) = learner.outputs([task], steps=0)
    assert torch.allclose(unadapted, unadapted[:, :1].expand_as(unadapted))


def test_gradients_of_rows_become_their_mean():
    shared = SharedHead(nn.Sequential(nn.Linear(1, 2)))
    gradients = {"model.0.weight": torch.tensor([[1.0], [3.0]]), "rates.0/weight": torch.tensor([1.0, 3.0])}
    found = shared.share(gradients)
    assert found["model.0.weight"].tolist() == [[2.0], [2.0]]
    assert found["rates.0/weight"].tolist() == [1.0, 3.0]  # of two steps, not of two rows
    found = shared.share({"rates.0/weight": torch.tensor([[1.0], [3.0]]), "rates.0/bias": torch.tensor([1.0, 3.0])})
    assert [value.flatten().tolist() for value in found.values()] == [[2.0, 2.0], [2.0, 2.0]]


def test_a_model_without_a_linear_end_is_refused():
    with pytest.raises(UserError, match="ends with ReLU"):
        MAML(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), shared_head=True)
