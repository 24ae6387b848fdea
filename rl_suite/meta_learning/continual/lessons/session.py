"""The session of both continual problems: lessons, taught in order, to pupils who forget more or less."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.lessons.pictures import draw_sequence
from rl_suite.meta_learning.continual.lessons.plan import Cell, Lessons, Pupil
from rl_suite.meta_learning.continual.lessons.report import ContinualReport
from rl_suite.meta_learning.session import Validation
from rl_suite.progress import ProgressBar

CONTROLS = ("naive", "joint")  # stand beside whatever strategy is asked for


def chosen(learner: str, known: list[str]) -> list[str]:
    """The strategies of a run: all of them, or one between its controls, nothing and everything being kept.

    Raises:
        UserError: no such strategy.
    """
    if learner == "all":
        return known
    if learner not in known:
        raise UserError(f"meta_learning.learner={learner!r}: there are all, {', '.join(known)}")
    return [name for name in known if name == learner or name in CONTROLS]


class LessonsSession:
    """Teaches the cells of :class:`Lessons` one task per step.

    Args:
        title: of the report.
        what: name of the entries of the matrices.
        lessons: what is taught.
        make_pupil: somebody who knows nothing, for a cell.
        settings: what was taught, as plain values for the report.
        notes: kind of sequence -> a sentence below its table.
    """

    def __init__(
        self,
        title: str,
        what: str,
        lessons: Lessons,
        make_pupil: Callable[[Cell], Pupil],
        settings: Mapping[str, Any],
        notes: Mapping[str, str],
    ):
        self.title, self.what, self.lessons, self.make_pupil = title, what, lessons, make_pupil
        self.settings, self.notes = settings, notes
        self._done = 0
        self._pupil: Pupil | None = None

    @property
    def total_steps(self) -> int:
        """Tasks of all cells."""
        return len(self.lessons)

    def step(self, step: int) -> dict[str, float]:
        """Teach one task of one cell."""
        cell, task = self.lessons.at(step)
        if task == 0 or self._pupil is None:
            self._pupil = self.make_pupil(cell)
        loss, score = self.lessons.teach(step, self._pupil)
        self._done = step + 1
        return {"train/loss": loss, f"eval/{self.what.replace(' ', '_')}_seen": score}

    def validate(self) -> Validation:
        """Nothing is chosen: the latest state is the one that counts."""
        rows = [rows[-1] for rows in self.lessons.rows]
        average = sum(rows[-1]) / len(rows[-1])
        return Validation({f"eval/{self.what.replace(' ', '_')}": average}, float(self._done))

    def evaluate(self, training: Mapping[str, float]) -> ContinualReport:
        """Every pupil who was taught all tasks is examined again, and the last row of its matrix replaced."""
        finished = list(self.lessons.finished())
        if not finished:
            raise UserError("no sequence of tasks was taught to its end yet; go on training")
        with ProgressBar("evaluation", len(finished)) as progress:
            for i, knowledge in enumerate(self.lessons.knowledge):
                pupil = self.make_pupil(self.lessons.cells[i])
                pupil.remember(knowledge)
                self.lessons.rows[i][-1] = pupil.measure()
                progress.update(i + 1)
        results = self.lessons.results()
        settings = {**self.settings, **training}
        notes = {sequence: self.notes.get(sequence, "") for sequence in results}
        return ContinualReport(self.title, self.what, settings, results, notes)

    def glimpse(self, folder: Path) -> None:
        """Nothing: the pictures compare strategies, and need them all."""

    def measures(self) -> dict[str, float]:
        """Forgetting of every strategy, mean over its repeats, by kind of sequence."""
        return {
            f"forgetting/{sequence}/{strategy}": result.measures(False)["forgetting"].estimate
            for sequence, results in self.lessons.results().items()
            for strategy, result in results.items()
        }

    def pictures(self, folder: Path) -> None:
        """One picture per kind of sequence."""
        for sequence, results in self.lessons.results().items():
            draw_sequence(sequence, self.what, results, folder / f"{sequence}.png")

    def state_dict(self) -> dict[str, Any]:
        """What was measured, and the pupil of the cell that is under way."""
        under_way = self._pupil is not None and self._done % self.lessons.n_tasks
        pupil = self._pupil.state_dict() if under_way and self._pupil is not None else None
        return {"lessons": self.lessons.state_dict(), "done": self._done, "pupil": pupil}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.lessons.load_state_dict(state["lessons"])
        self._done, self._pupil = int(state["done"]), None
        if state["pupil"] is not None:
            self._pupil = self.make_pupil(self.lessons.at(self._done)[0])
            self._pupil.load_state_dict(state["pupil"])
