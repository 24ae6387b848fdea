"""A space of networks that are built and trained: cells of mixed operations, stacked, for pictures or for vectors.

A cell has four nodes; node 0 is its input, node 3 its output, and every later node is the sum of what the operations on
its edges make of earlier nodes (the cells of NAS-Bench-201, Dong and Yang 2020, arXiv:2001.00326).
"""

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rl_suite.arguments import require_whole
from rl_suite.errors import UserError
from rl_suite.loading import BRIEF
from rl_suite.meta_learning.tuning.spaces import Architecture, Code, Space, spelled

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # from, to
NODES = 4
LAYERS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 28, 36)  # cells in a stack
CHANNELS = (8, 16, 32, 64)
NONE, SKIP = "none", "skip"
IMAGE_OPERATIONS = (NONE, SKIP, "conv1", "conv3", "separable3", "average3", "max3")
VECTOR_OPERATIONS = (NONE, SKIP, "linear_relu", "linear_gelu", "linear_tanh")
LARGEST = 2**16  # layers, channels, classes, and each side of an input
GENES = ("num_layers", "channels", "operations", "input_shape", "num_classes")


class CellSpace(Space):
    """Stacks of one cell: depth, width, and an operation on each of its six edges.

    ``decode`` gives ``{"num_layers", "channels", "operations", "input_shape", "num_classes"}``, which is all that
    :func:`build_model_from_architecture` needs. Edges that lead nowhere do not count: cells that compute the same have
    one key.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, max_layers: int):
        whole = isinstance(input_shape, list | tuple) and all(isinstance(n, Integral) for n in input_shape)
        shape = tuple(int(n) for n in input_shape) if whole else ()
        if len(shape) not in (1, 3) or not all(1 <= n <= LARGEST for n in shape):
            raise UserError(
                "input_shape is (channels, height, width) or (features,), whole numbers between 1 and"
                f" {LARGEST}, not {BRIEF.repr(input_shape)}"
            )
        num_classes = require_whole("num_classes", num_classes, 1, LARGEST)
        max_layers = require_whole("max_layers", max_layers, 1, LARGEST)
        operations = IMAGE_OPERATIONS if len(shape) == 3 else VECTOR_OPERATIONS
        layers = [n for n in LAYERS if n <= max_layers]
        edges = {f"edge_{a}{b}": operations for a, b in EDGES}
        super().__init__({"num_layers": layers, "channels": CHANNELS, **edges})
        self.input_shape, self.num_classes = shape, num_classes

    def decode(self, code: Code) -> Architecture:
        """The architecture as users meet it."""
        plain = super().decode(code)
        return {
            "num_layers": plain["num_layers"],
            "channels": plain["channels"],
            "operations": [plain[f"edge_{a}{b}"] for a, b in EDGES],
            "input_shape": self.input_shape,
            "num_classes": self.num_classes,
        }

    def encode(self, architecture: Mapping[str, Any]) -> Code:
        """The code of such a mapping, whatever the order of its keys."""
        operations = architecture.get("operations", ())
        if len(operations) != len(EDGES):
            raise UserError(f"a cell has {len(EDGES)} operations, not {len(operations)}")
        named = {f"edge_{a}{b}": name for (a, b), name in zip(EDGES, operations, strict=True)}
        depth, width = architecture.get("num_layers"), architecture.get("channels")
        return super().encode({"num_layers": depth, "channels": width, **named})

    def key(self, code: Code) -> str:
        """Depth, width and what the cell computes."""
        found = self.decode(code)
        return spelled([found["num_layers"], found["channels"], cell_expression(found["operations"])])

    def has(self, code: Code) -> bool:
        """Whether the input of the cell reaches its output."""
        return cell_expression(self.decode(code)["operations"]) != ""

    def draw(self, rng: np.random.Generator) -> Code:
        """A cell whose output depends on its input."""
        while not self.has(code := super().draw(rng)):
            pass
        return code


def create_nas_search_space(input_shape: Sequence[int], num_classes: int, max_layers: int = 8) -> CellSpace:
    """The space of cells for inputs (channels, height, width) or (features,).

    >>> space = create_nas_search_space((3, 32, 32), 10, max_layers=20)
    >>> sorted(space.decode(space.draw(np.random.default_rng(0))))
    ['channels', 'input_shape', 'num_classes', 'num_layers', 'operations']
    """
    return CellSpace(input_shape, num_classes, max_layers)


def cell_expression(operations: Sequence[str]) -> str:
    """What a cell computes, in one spelling; empty where its output is always zero.

    >>> cell_expression(["conv3", "none", "none", "skip", "none", "none"])  # node 1 leads nowhere
    'x'
    >>> cell_expression(["conv3", "none", "skip", "none", "none", "conv1"])
    'conv1(conv3(x))'
    """
    nodes = ["x"]
    for node in range(1, NODES):
        parts = []
        for (a, b), name in zip(EDGES, operations, strict=True):
            if b == node and name != NONE and nodes[a]:
                parts.append(nodes[a] if name == SKIP else f"{name}({nodes[a]})")
        nodes.append(parts[0] if len(parts) == 1 else f"[{' + '.join(sorted(parts))}]" if parts else "")
    return nodes[-1]


class Cell(nn.Module):
    """The sum over a small graph; edges that lead nowhere are not built."""

    def __init__(self, operations: Sequence[str], width: int):
        super().__init__()
        self.edges = nn.ModuleDict()
        live = {NODES - 1}
        for (a, b), name in reversed(list(zip(EDGES, operations, strict=True))):
            if b in live and name != NONE and cell_reaches(operations, a):
                live.add(a)
                self.edges[f"{a}{b}"] = build_operation(name, width)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the shape given."""
        nodes: dict[int, Tensor] = {0: x}
        for a, b in EDGES:
            if f"{a}{b}" in self.edges and a in nodes:
                value = self.edges[f"{a}{b}"](nodes[a])
                nodes[b] = nodes[b] + value if b in nodes else value
        return nodes[NODES - 1]


def cell_reaches(operations: Sequence[str], node: int) -> bool:
    """Whether the input reaches a node."""
    if node == 0:
        return True
    pairs = zip(EDGES, operations, strict=True)
    return any(name != NONE and b == node and cell_reaches(operations, a) for (a, b), name in pairs)


def build_operation(name: str, width: int) -> nn.Module:
    """One operation that keeps the shape of its input."""
    if name == SKIP:
        return nn.Identity()
    if name.startswith("linear_"):
        after = {"linear_relu": nn.ReLU, "linear_gelu": nn.GELU, "linear_tanh": nn.Tanh}[name]
        return nn.Sequential(nn.Linear(width, width), after())
    if name == "average3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name == "max3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    if name == "separable3":
        depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        layers: tuple[nn.Module, ...] = (depthwise, nn.Conv2d(width, width, 1, bias=False))
    else:
        size = {"conv1": 1, "conv3": 3}[name]
        layers = (nn.Conv2d(width, width, size, padding=size // 2, bias=False),)
    return nn.Sequential(nn.ReLU(), *layers, nn.BatchNorm2d(width))


class CellNetwork(nn.Module):
    """Stem, cells (pictures are halved and channels doubled after each third of them), mean over places, classes."""

    def __init__(self, architecture: Mapping[str, Any]):
        super().__init__()
        shape, width, depth = architecture["input_shape"], architecture["channels"], architecture["num_layers"]
        self.pictures = len(shape) == 3
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1) if self.pictures else nn.Linear(shape[0], width)
        layers: list[nn.Module] = []
        halvings = {depth // 3, 2 * depth // 3} - {0} if self.pictures and min(shape[1:]) >= 2**3 else set()
        for layer in range(depth):
            if layer in halvings:
                layers.append(nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(width, 2 * width, 1)))
                width *= 2
            layers.append(Cell(architecture["operations"], width))
        self.cells = nn.Sequential(*layers)
        self.head = nn.Linear(width, architecture["num_classes"])

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of inputs (B, *input_shape)."""
        features: Tensor = self.cells(self.stem(x))
        logits: Tensor = self.head(features.mean((2, 3)) if self.pictures else torch.relu(features))
        return logits


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def build_model_from_architecture(architecture: Mapping[str, Any]) -> CellNetwork:
    """The network that an architecture of :func:`create_nas_search_space` describes.

    Raises:
        UserError: something is missing, unknown, or the output would not depend on the input.
    """
    missing = [name for name in GENES if name not in architecture]
    if missing:
        raise UserError(f"an architecture needs {', '.join(GENES)}; missing: {', '.join(missing)}")
    shape, operations = architecture["input_shape"], architecture["operations"]
    if not isinstance(shape, list | tuple) or len(shape) not in (1, 3) or not all(map(_is_size, shape)):
        raise UserError(f"input_shape is (channels, height, width) or (features,), not {BRIEF.repr(shape)}")
    for name in ("num_layers", "channels", "num_classes"):
        if not _is_size(architecture[name]):
            raise UserError(f"{name} is a whole number from 1 to {LARGEST}, not {BRIEF.repr(architecture[name])}")
    known = IMAGE_OPERATIONS if len(shape) == 3 else VECTOR_OPERATIONS
    listed = isinstance(operations, list | tuple) and len(operations) == len(EDGES)
    if not listed or any(name not in known for name in operations):
        raise UserError(f"a cell has {len(EDGES)} operations of {', '.join(known)}, not {BRIEF.repr(operations)}")
    if not cell_expression(operations):
        raise UserError("the output of this cell does not depend on its input")
    return CellNetwork(architecture)
