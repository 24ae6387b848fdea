"""Architectures that others have trained, as a table: a search on it costs nothing but the search.

The 26,206 graph networks on Cora and 2,021 on Proteins are those of NAS-Bench-Graph (Qin et al. 2022,
arXiv:2206.09166): how four operations are linked, and which they are.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.tuning.spaces import Architecture, ListedSpace
from rl_suite.reading import parse_arrays, read_bytes

DATA = "RL_SUITE_DATA"
FOLDER = "nas_bench_graph"
DATASETS = ("cora", "proteins")
LINKS = (
    *((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3)),
    *((0, 1, 1, 1), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3)),
)
"""For each of the four nodes, the node that it reads; 0 is the input."""
OPERATIONS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
NAMES = ("link", "op1", "op2", "op3", "op4")
COLUMNS = ("valid", "test", "latency", "parameters")


@dataclass(frozen=True)
class ArchitectureTable:
    """A space with what was measured of every architecture in it."""

    space: ListedSpace
    columns: dict[str, NDArray[np.float64]]
    """``valid`` and ``test`` accuracy, ``latency`` in seconds, ``parameters`` in millions, (n,) each."""

    def evaluate(self, architecture: Architecture) -> float:
        """Validation accuracy; test accuracy is for the architecture that was chosen, once."""
        return self.measure(architecture, "valid")

    def measure(self, architecture: Architecture, column: str) -> float:
        """One figure of one architecture; NaN where it was not trained."""
        require_known(column, self.columns, "column")
        place = self.space.places.get(self.space.encode(architecture))
        return float("nan") if place is None else float(self.columns[column][place])

    def regret(self, value: float) -> float:
        """How much the best validation accuracy of the table is above ``value``, in points."""
        return 100 * float(self.columns["valid"].max() - value)


def load_architecture_table(name: str, folder: Path | None = None) -> ArchitectureTable:
    """Read a table.

    Args:
        name: ``"cora"`` or ``"proteins"``.
        folder: where the npz files lie; ``nas_bench_graph`` in the folder that ``RL_SUITE_DATA`` names by default.

    Raises:
        UserError: no such table, or not such a file.
    """
    require_known(name, DATASETS, "table")
    if folder is None:
        if DATA not in os.environ:
            raise UserError(f"set {DATA} to the folder that holds {FOLDER}/{name}.npz, or give folder=")
        folder = Path(os.environ[DATA]) / FOLDER
    path = folder / f"{name}.npz"
    arrays = parse_arrays(read_bytes(path), path)
    codes, columns = arrays.get("architecture"), {key: arrays.get(key) for key in COLUMNS}
    if codes is None or codes.ndim != 2 or codes.shape[1] != len(NAMES) or codes.size == 0:
        raise UserError(f"{path}: no table of architectures")
    if codes.dtype.kind not in "iu" or int(codes.min()) < 0 or int(codes.max()) >= len(OPERATIONS):
        raise UserError(f"{path}: codes of architectures are 0 ... {len(OPERATIONS) - 1}")
    found = {}
    for key, column in columns.items():
        if column is None or column.shape != (len(codes),) or not np.isfinite(column).all():
            raise UserError(f"{path}: column {key!r} does not fit the architectures")
        found[key] = column.astype(np.float64)
    choices = {"link": LINKS, **dict.fromkeys(NAMES[1:], OPERATIONS)}
    return ArchitectureTable(ListedSpace(choices, [tuple(code) for code in codes.tolist()]), found)
