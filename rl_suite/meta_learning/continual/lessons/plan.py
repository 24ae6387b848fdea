"""Many short lessons in a fixed order: one task, taught to one learner, is one step of a run.

The run is cut into cells: one strategy, on one kind of sequence, with one seed. What is over is kept as a matrix; of
the cell that is under way, the learner is kept too, so that a stopped run goes on with the same bits.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from rl_suite.meta_learning.continual.lessons.report import Result, gather
from rl_suite.meta_learning.continual.metrics import Matrix


class Cell(NamedTuple):
    """One strategy, on one kind of sequence, with one seed."""

    sequence: str
    strategy: str
    repeat: int


class Pupil(Protocol):
    """Somebody who is taught the tasks of one cell."""

    def measure(self) -> list[float]:
        """Score on every task (T,), taught or not."""

    def teach(self, task: int) -> float:
        """Teach one task; returns the mean loss at its end."""

    def state_dict(self) -> dict[str, Any]:
        """All that further teaching depends on."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""

    def knowledge(self) -> dict[str, Any]:
        """All that answers depend on."""

    def remember(self, knowledge: Mapping[str, Any]) -> None:
        """Answer as whoever gave this :meth:`knowledge`."""


class Lessons:
    """The cells of a run in order, and what has been measured in them."""

    def __init__(self, cells: list[Cell], n_tasks: int):
        self.cells, self.n_tasks = cells, n_tasks
        self.rows: list[list[list[float]]] = []
        """Per cell begun: what was measured before the first task and after each."""
        self.knowledge: list[dict[str, Any]] = []
        """Per cell that is over."""

    def __len__(self) -> int:
        return len(self.cells) * self.n_tasks

    def at(self, step: int) -> tuple[Cell, int]:
        """Which cell and which of its tasks a step of the run teaches."""
        index, task = divmod(step, self.n_tasks)
        return self.cells[index], task

    def teach(self, step: int, pupil: Pupil) -> tuple[float, float]:
        """One step; returns the loss and the mean score over the tasks of the cell so far."""
        _, task = self.at(step)
        if task == 0:
            self.rows.append([pupil.measure()])
        loss = pupil.teach(task)
        self.rows[-1].append(pupil.measure())
        if task == self.n_tasks - 1:
            self.knowledge.append(pupil.knowledge())
        return loss, float(np.mean(self.rows[-1][-1][: task + 1]))

    def finished(self) -> Iterator[tuple[Cell, list[float], Matrix]]:
        """(cell, untrained scores, matrix) of every cell that is over."""
        for cell, rows in zip(self.cells, self.rows, strict=False):
            if len(rows) == self.n_tasks + 1:
                yield cell, rows[0], np.array(rows[1:])

    def results(self) -> dict[str, dict[str, Result]]:
        """Sequence -> strategy -> repeats; cells that are not over are left out."""
        gathered: dict[str, dict[str, list[tuple[list[float], Matrix]]]] = {}
        for cell, untrained, matrix in self.finished():
            gathered.setdefault(cell.sequence, {}).setdefault(cell.strategy, []).append((untrained, matrix))
        return {
            sequence: {
                name: gather([matrix for _, matrix in found], [untrained for untrained, _ in found])
                for name, found in strategies.items()
            }
            for sequence, strategies in gathered.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """What was measured and what is known."""
        return {"cells": [list(cell) for cell in self.cells], "rows": self.rows, "knowledge": self.knowledge}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned.

        Raises:
            ValueError: it belongs to other lessons.
        """
        if [Cell(*cell) for cell in state["cells"]] != self.cells:
            raise ValueError("these are the results of other sequences or strategies")
        self.rows, self.knowledge = state["rows"], state["knowledge"]
