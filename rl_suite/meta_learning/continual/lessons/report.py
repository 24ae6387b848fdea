"""What was left of each task: per sequence and strategy the usual numbers with intervals over repeats."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from rl_suite.checkpoint import write_atomically
from rl_suite.evaluation.narrow import narrow_table
from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_learning.continual.metrics import summarise
from rl_suite.meta_learning.metrics import mean_interval, plain_json

PERCENT = 100.0
MEASURES = {
    "average_accuracy": "ACC",
    "learned": "just taught",
    "backward_transfer": "BWT",
    "forgetting": "forgetting",
    "forward_transfer": "FWT",
}
"""Field of ``continual.metrics.Summary`` -> heading."""


@dataclass(frozen=True)
class Result:
    """The repeats of one strategy on one kind of sequence."""

    matrices: NDArray[np.float64]  # (repeats, T, T): R[i, j] on task j after task i
    untrained: NDArray[np.float64]  # (repeats, T)

    def measures(self, forward: bool) -> dict[str, Interval]:
        """Every measure over the repeats; forward transfer only where it means something."""
        found = [summarise(R, before) for R, before in zip(self.matrices, self.untrained, strict=True)]
        names = [name for name in MEASURES if forward or name != "forward_transfer"]
        return {name: mean_interval([getattr(summary, name) for summary in found]) for name in names}


@dataclass(frozen=True)
class ContinualReport:
    """Strategies against forgetting, side by side on the same sequences."""

    title: str
    what: str
    """What the entries of the matrices are, such as "accuracy"."""
    settings: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Result]]
    """Sequence -> strategy -> result."""
    notes: Mapping[str, str]
    """Sequence -> a sentence below its table."""

    def tables(self) -> list[Table | str]:
        """One table per kind of sequence."""
        return [self._table(sequence) for sequence in self.results]

    def _table(self, sequence: str) -> Table:
        forward = not sequence.endswith("class")  # a class that was never taught cannot be named
        some = next(iter(self.results[sequence].values()))
        repeats, n_tasks = some.untrained.shape
        caption = f"{self.what} in %, mean and 95 % interval over {repeats} seeds; {n_tasks} tasks"
        if self.notes[sequence]:
            caption += f"\n{self.notes[sequence]}"
        headings = [heading for name, heading in MEASURES.items() if forward or name != "forward_transfer"]
        table = narrow_table(f"{self.title}: {sequence}", "", headings, caption)
        for strategy, result in self.results[sequence].items():
            table.add_row(strategy, *(self._cell(value) for value in result.measures(forward).values()))
        return table

    def _cell(self, value: Interval) -> str:
        centre, low, high = (PERCENT * part for part in value)
        return f"{centre:.1f}" if np.isnan(low) else f"{centre:.1f}\n[{low:.1f}, {high:.1f}]"

    def as_json(self) -> dict[str, Any]:
        """Plain values: every measure and every matrix."""
        content: dict[str, Any] = {"title": self.title, "settings": dict(self.settings)}
        for sequence, strategies in self.results.items():
            forward = not sequence.endswith("class")
            content[sequence] = {
                strategy: {name: value._asdict() for name, value in result.measures(forward).items()}
                for strategy, result in strategies.items()
            }
        content["notes"] = [f"{sequence}: {note}" for sequence, note in self.notes.items()]
        content["matrices"] = {
            sequence: {
                strategy: {"R": result.matrices, "untrained": result.untrained}
                for strategy, result in strategies.items()
            }
            for sequence, strategies in self.results.items()
        }
        plain: dict[str, Any] = plain_json(content)
        return plain

    def save(self, path: Path) -> None:
        """Write ``evaluation.json``, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), allow_nan=False) + "\n").encode())


def gather(matrices: Sequence[NDArray[np.float64]], untrained: Sequence[Sequence[float]]) -> Result:
    """A result out of the repeats."""
    return Result(np.stack(list(matrices)), np.array(untrained, dtype=np.float64))
