"""DARTS (Liu, Simonyan and Yang 2019, arXiv:1806.09055): every edge is a mixture of all operations."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rl_suite.meta_learning.tuning.cells import EDGES, NODES, NONE, CellSpace, build_operation
from rl_suite.meta_learning.tuning.darts.task import CellTask, draw_batch

Order = Literal["first", "second"]
ORDERS = ("first", "second")
# The paper takes 3e-4 over about 20,000 steps of each; here there are a hundred times fewer.
MIXTURE_RATE = 3e-2
MIXTURE_DECAY = 1e-3
BETAS = (0.5, 0.999)  # the paper's, of the mixture
WEIGHT_RATE = 2.5e-2
MOMENTUM = 0.9
CLIP = 5.0  # norm of the weights' gradient


class MixedEdge(nn.Module):
    """All operations on one edge."""

    def __init__(self, names: tuple[str, ...], width: int):
        super().__init__()
        self.operations = nn.ModuleList(build_operation(name, width) for name in names if name != NONE)
        self.places = [place for place, name in enumerate(names) if name != NONE]

    def forward(self, x: Tensor, shares: Tensor) -> Tensor:
        """The mixture (B, ...) with shares (operations,); "none" adds nothing."""
        outputs = [shares[place] * layer(x) for place, layer in zip(self.places, self.operations, strict=True)]
        return torch.stack(outputs).sum(0)


class Supernet(nn.Module):
    """Stem, mixed cells with one common mixture, mean over places, classes."""

    def __init__(self, space: CellSpace, layers: int, width: int):
        super().__init__()
        shape = space.input_shape
        self.pictures = len(shape) == 3
        names = space.choices[f"edge_{EDGES[0][0]}{EDGES[0][1]}"]
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1) if self.pictures else nn.Linear(shape[0], width)
        self.cells = nn.ModuleList(nn.ModuleList(MixedEdge(names, width) for _ in EDGES) for _ in range(layers))
        self.head = nn.Linear(width, space.num_classes)

    def forward(self, x: Tensor, mixture: Tensor) -> Tensor:
        """Logits (B, classes) under a mixture (edges, operations), before the softmax."""
        shares = mixture.softmax(1)
        h = self.stem(x)
        for cell in self.cells:
            nodes = [h]
            for node in range(1, NODES):
                incoming = [place for place, (_, end) in enumerate(EDGES) if end == node]
                parts = [cell[place](nodes[EDGES[place][0]], shares[place]) for place in incoming]  # type: ignore[index]
                nodes.append(torch.stack(parts).sum(0))
            h = nodes[-1]
        logits: Tensor = self.head(h.mean((2, 3)) if self.pictures else torch.relu(h))
        return logits


def train_mixture(
    space: CellSpace, task: CellTask, layers: int, width: int, steps: int, order: Order, seed: int
) -> Tensor:
    """Train weights on training data and the mixture on validation data, in turns.

    Args:
        space: of the cells.
        task: its data.
        layers: cells in the supernet.
        width: of its features.
        steps: of each of the two.
        order: ``"second"`` differentiates through one step of the weights, ``"first"`` takes the weights as they are.
        seed: of weights and batches.

    Returns:
        The mixture (edges, operations), before the softmax.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Supernet(space, layers, width)
    operations = len(space.choices[f"edge_{EDGES[0][0]}{EDGES[0][1]}"])
    mixture = torch.zeros(len(EDGES), operations, requires_grad=True)
    weights = torch.optim.SGD(net.parameters(), WEIGHT_RATE, momentum=MOMENTUM)
    mixing = torch.optim.Adam([mixture], MIXTURE_RATE, BETAS, weight_decay=MIXTURE_DECAY)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        training, validation = draw_batch(task.train, generator), draw_batch(task.valid, generator)
        mixture.grad = mixture_gradient(net, mixture, training, validation, WEIGHT_RATE if order == "second" else 0.0)
        mixing.step()
        weights.zero_grad()
        F.cross_entropy(net(training[0], mixture.detach()), training[1]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        weights.step()
    return mixture.detach()


def mixture_gradient(
    net: nn.Module, mixture: Tensor, training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], rate: float
) -> Tensor:
    """Gradient of the validation loss by the mixture, through one step of the weights at ``rate`` (0: first order).

    Exact: the second-order term is differentiated, where the paper takes a finite difference.
    """
    weights: dict[str, Tensor] = dict(net.named_parameters())
    if rate:
        loss = F.cross_entropy(net(training[0], mixture), training[1])
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: value - rate * slope for (name, value), slope in zip(weights.items(), slopes, strict=True)}
    loss = F.cross_entropy(functional_call(net, weights, (validation[0], mixture)), validation[1])
    return torch.autograd.grad(loss, mixture)[0]
