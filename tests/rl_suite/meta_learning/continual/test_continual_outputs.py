"""Which outputs compete in each scenario, and the cuts of progressive networks."""

import pytest
import torch
from torch import nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.strategies.progressive import ProgressiveNetwork

CLASSES = [[0, 3], [1, 2]]


def test_scenarios():
    task, domain, incremental = (Outputs(scenario, CLASSES) for scenario in ("task", "domain", "class"))
    for outputs in (task, domain, incremental):
        outputs.begin(0)
    assert task.active(1) == [1, 2]
    assert domain.active(1) is None
    assert incremental.active(0) == [0, 3]
    incremental.begin(1)
    assert incremental.active(0) == [0, 1, 2, 3]
    assert task.earlier_heads(1) == [[0, 3]]
    assert incremental.earlier_heads(1) == [[0, 3]]
    assert domain.earlier_heads(1) is None


def test_every_example_of_a_mixed_batch_has_the_outputs_of_its_own_task():
    outputs = Outputs("task", CLASSES)
    masked = outputs.mask(torch.zeros(3, 4), torch.tensor([0, 1, 0]))
    assert masked.isfinite().tolist() == [
        [True, False, False, True],
        [False, True, True, False],
        [True, False, False, True],
    ]


def test_bad_outputs():
    with pytest.raises(UserError, match="scenario"):
        Outputs("whatever")
    with pytest.raises(UserError, match="at least one class"):
        Outputs("task", [[0], []])


@pytest.mark.parametrize(
    ("template", "x"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), torch.randn(2, 5)),
        (nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.ReLU()), nn.Linear(4, 3)), torch.randn(2, 5)),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)),
            torch.randn(2, 1, 8, 8),
        ),
        (nn.Sequential(nn.Linear(5, 3), nn.Flatten()), torch.randn(2, 5)),
    ],
)
def test_columns_have_the_shape_of_the_template(template, x):
    network = ProgressiveNetwork(template)
    assert torch.equal(network(x), template(x))
    network.add_column()
    assert torch.equal(network(x), template(x))
    first = network(x, 0).detach()
    network.add_column()
    trained = [p for p in network.parameters() if p.requires_grad]
    network(x, 1).sum().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    assert torch.equal(network(x, 0), first)
    assert network(x, 1).shape == first.shape


def test_a_column_sees_the_hidden_layers_before_it():
    network = ProgressiveNetwork(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)))
    for _ in range(3):
        network.add_column()
    assert [len(adapters) for column in network.adapters for adapters in column] == [0, 1, 2]
    with torch.no_grad():
        network.adapters[2][0][0].weight.fill_(1.0)
    x = torch.randn(2, 5)
    hidden = network.columns[0][0](x)
    alone = network.columns[2][1](network.columns[2][0](x))
    assert torch.allclose(network(x, 2), alone + hidden.sum(-1, keepdim=True), atol=1e-6)
    with pytest.raises(UserError, match="3 columns"):
        network(x, 3)
