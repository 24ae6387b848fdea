"""Progressive networks: every task gets a column of its own, which looks at the frozen columns before it.

Nothing is forgotten, by construction; the price is that parameters grow with the square of the number of tasks and
that the task must be known when an answer is needed.

References:
    Rusu et al. 2016, "Progressive Neural Networks", equation 2 (adapters are one linear map per earlier layer).
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.fisher import LossFunction
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.strategies.naive import Naive


class ProgressiveNetwork(nn.Module):
    """Columns with the architecture of a template.

    Args:
        template: ``nn.Sequential``. It is cut before every linear or convolutional layer; the activations at the
            cuts are what later columns see of earlier ones, through adapters that start at 0.
        seed: of the first parameters of every column but the first, which starts as the template.

    Raises:
        UserError: the template is no ``nn.Sequential``, or has no such layer.
    """

    def __init__(self, template: nn.Module, seed: int = 0):
        super().__init__()
        self.seed = seed
        if not isinstance(template, nn.Sequential):
            raise UserError(f"progressive columns are cut out of an nn.Sequential, not a {type(template).__name__}")
        if not any(_has_weights(module) for module in _flat(template)):
            raise UserError("progressive columns need at least one linear or convolutional layer")
        self._template = [copy.deepcopy(template)]  # in a list: it is no part of the network
        self.columns = nn.ModuleList()
        self.adapters = nn.ModuleList()

    def add_column(self) -> None:
        """A further task: freeze what is there, and put a fresh column beside it."""
        self.requires_grad_(False)
        column = nn.ModuleList(_blocks(copy.deepcopy(self._template[0])))
        if len(self.columns):
            with torch.random.fork_rng(devices=[]):  # the layers draw from the global generator
                torch.manual_seed(self.seed + len(self.columns))
                for module in column.modules():
                    if hasattr(module, "reset_parameters"):
                        module.reset_parameters()  # type: ignore[operator]
        laterals = nn.ModuleList()
        for block in list(column)[1:]:
            own = nn.ModuleList(_adapter(_weighted(block)) for _ in self.columns)
            laterals.append(own)
        self.columns.append(column)
        self.adapters.append(laterals)

    def forward(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer of one task's column, the latest by default; before the first task, that of the template."""
        if not len(self.columns):
            answer: Tensor = self._template[0](x)
            return answer
        last = len(self.columns) - 1 if task is None else task
        if not 0 <= last < len(self.columns):
            raise UserError(f"there are {len(self.columns)} columns, none for task {task}")
        hidden: list[Tensor] = []  # of the columns so far, at the present depth
        for depth in range(len(self.columns[0])):  # type: ignore[arg-type]
            deeper = []
            for c in range(last + 1):
                block = self.columns[c][depth]  # type: ignore[index]
                if depth == 0:
                    deeper.append(block(x))
                    continue
                head, weighted, tail = _split(block)
                drive = weighted(head(hidden[c]))
                for earlier, adapter in enumerate(self.adapters[c][depth - 1]):  # type: ignore[index, arg-type]
                    drive = drive + adapter(head(hidden[earlier]))
                deeper.append(tail(drive))
            hidden = deeper
        return hidden[last]


class Progressive(Naive):
    """One column of a :class:`ProgressiveNetwork` per task."""

    def __init__(self, model: nn.Module, outputs: Outputs, loss_fn: LossFunction, seed: int):
        if outputs.scenario != "task":
            raise UserError("progressive networks must be told the task when they answer: scenario 'task' only")
        super().__init__(ProgressiveNetwork(model, seed), outputs, loss_fn)
        self.column_of: dict[int, int] = {}

    @property
    def network(self) -> ProgressiveNetwork:
        """The columns."""
        assert isinstance(self.model, ProgressiveNetwork)
        return self.model

    def begin_task(self, task: int) -> None:
        """A fresh column, unless this task has one."""
        if task not in self.column_of:
            self.network.add_column()
            self.column_of[task] = len(self.network.columns) - 1

    def forward(self, x: Tensor, task: int | Tensor) -> Tensor:
        """The answer of the task's own column; of the latest, where the task has none yet."""
        one = task if isinstance(task, int) else int(task[0])
        return self.outputs.mask(self.network(x, self.column_of.get(one)), task)

    def state_dict(self) -> dict[str, Any]:
        """Which column is whose."""
        return {"columns": {str(task): column for task, column in self.column_of.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Grow the columns, whose parameters the model's own state then fills."""
        for task in state["columns"]:
            self.begin_task(int(task))


def _has_weights(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


def _flat(network: nn.Sequential) -> Iterator[nn.Module]:
    """The modules of a network of networks, in the order in which they are called."""
    for module in network:
        if isinstance(module, nn.Sequential):
            yield from _flat(module)
        else:
            yield module


def _blocks(network: nn.Sequential) -> list[nn.Sequential]:
    """One block per weighted layer: what reshapes its input, the layer, and the activations behind it."""
    blocks: list[list[nn.Module]] = [[]]
    for module in _flat(network):
        current = blocks[-1]
        full = any(_has_weights(part) for part in current)
        if full and (_has_weights(module) or isinstance(module, nn.Flatten)):
            blocks.append([])
        blocks[-1].append(module)
    if not any(_has_weights(part) for part in blocks[-1]):
        last = blocks.pop()
        blocks[-1] += last
    return [nn.Sequential(*block) for block in blocks]


def _split(block: nn.Module) -> tuple[nn.Sequential, nn.Module, nn.Sequential]:
    """(before, weighted layer, after) of one block."""
    parts = list(block.children())
    at = next(i for i, part in enumerate(parts) if _has_weights(part))
    return nn.Sequential(*parts[:at]), parts[at], nn.Sequential(*parts[at + 1 :])


def _weighted(block: nn.Module) -> nn.Module:
    return _split(block)[1]


def _adapter(layer: nn.Module) -> nn.Module:
    """A layer of the same shape without bias, at 0: a fresh column first is what it would be alone."""
    adapter = copy.deepcopy(layer)
    adapter.register_parameter("bias", None)
    with torch.no_grad():
        adapter.weight.zero_()  # type: ignore[operator, union-attr]
    return adapter
