"""Data that cells are trained and compared on."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rl_suite.errors import UserError
from rl_suite.loading import require_counts
from rl_suite.meta_learning.tuning.cells import build_model_from_architecture
from rl_suite.meta_learning.tuning.spaces import Architecture

STEPS = 100
RATE = 1e-2
BATCH = 64


class CellTask:
    """Trains any architecture of a space of cells and returns its validation accuracy; DARTS reads its data.

    Args:
        x: training inputs (n, *input_shape).
        y: their classes (n,).
        x_valid: validation inputs (m, *input_shape).
        y_valid: their classes (m,).
        steps: of Adam, per architecture.
        seed: of weights and batches, the same for every architecture.
    """

    def __init__(self, x: Tensor, y: Tensor, x_valid: Tensor, y_valid: Tensor, steps: int = STEPS, seed: int = 0):
        if len(x) != len(y) or len(x_valid) != len(y_valid) or not len(x) or not len(x_valid):
            sizes = f"{len(x)} and {len(y)}, {len(x_valid)} and {len(y_valid)}"
            raise UserError(f"inputs and classes must be as many, and some, not {sizes}")
        require_counts(steps=steps)
        self.train, self.valid = (x, y), (x_valid, y_valid)
        self.steps, self.seed = steps, seed

    def __call__(self, architecture: Architecture) -> float:
        """Accuracy on the validation data of a network trained from scratch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = build_model_from_architecture(architecture)
            generator = torch.Generator().manual_seed(self.seed)
            optimizer = torch.optim.Adam(model.parameters(), RATE)
            for _ in range(self.steps):
                inputs, classes = draw_batch(self.train, generator)
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), classes).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        model.eval()
        with torch.no_grad():
            return float((model(self.valid[0]).argmax(1) == self.valid[1]).float().mean())


def draw_batch(data: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some random rows of inputs and classes."""
    rows = torch.randint(len(data[0]), (min(BATCH, len(data[0])),), generator=generator)
    return data[0][rows], data[1][rows]
