"""What a training loop needs to know of a problem, and the session that most problems are: episodes of tasks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rl_suite.errors import NonFiniteError
from rl_suite.evaluation.command import Reportable
from rl_suite.meta_learning.metrics import TaskReport, TaskScores
from rl_suite.meta_learning.sections import LoopSection
from rl_suite.meta_learning.tasks import Task, Tasks, TaskSource, count_tasks, unstack_tasks
from rl_suite.meta_learning.together import tasks_of_step
from rl_suite.progress import ProgressBar, after

TASKS_AT_ONCE = 50  # while evaluating

Outputs = Callable[[Tasks], Sequence[Tensor]]
"""Query outputs of every task of a batch after adaptation: logits (Q, C) or values (Q, ...)."""
Score = Callable[[Tensor, Task], Tensor]
"""One number out of the query outputs of one task and that task, such as its accuracy."""


class Validation(NamedTuple):
    """What a look at validation tasks found."""

    values: dict[str, float]
    """Scalars by tag, such as ``eval/accuracy``."""
    score: float
    """What the best checkpoint is chosen by; higher is better."""


class Session(Protocol):
    """One problem with one learner, as the training loop of ``experiment`` sees it."""

    @property
    def total_steps(self) -> int:
        """Steps of a whole training run."""

    def step(self, step: int) -> dict[str, float]:
        """Take outer step ``step`` (0, 1, ...); returns plain floats by tag, such as ``train/loss``."""

    def validate(self) -> Validation:
        """Look at validation tasks; training goes on as if it had not."""

    def evaluate(self, training: Mapping[str, float]) -> Reportable:
        """Measure on held-out tasks, beside controls; ``training`` (steps, CPU seconds) goes into the report."""

    def glimpse(self, folder: Path) -> None:
        """Draw what was learned so far, as :meth:`pictures` or less; a few times during training."""

    def pictures(self, folder: Path) -> None:
        """Draw what was learned into the run folder, as ``.png`` or ``.webp``."""

    def state_dict(self) -> dict[str, Any]:
        """All that training changes, except the global random states, as ``save_checkpoint`` takes it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave; raises KeyError, RuntimeError or ValueError if it does not fit."""


@runtime_checkable
class Measured(Protocol):
    """A session that says more of what it has trained."""

    def measures(self) -> dict[str, float]:
        """What the learner is like, by name of the measure (:mod:`rl_suite.meta_learning.metrics`)."""


class Learner(Protocol):
    """What an :class:`EpisodicSession` trains."""

    optimizer: torch.optim.Optimizer

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """One outer step on a batch of tasks; returns plain floats by name, such as ``loss``."""

    def outputs(self, tasks: Tasks) -> Sequence[Tensor]:
        """Query outputs of every task after adaptation to its support set; nothing is learned."""

    def get_meta_state(self) -> dict[str, Any]:
        """Weights and optimizer."""

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`get_meta_state` gave."""


@dataclass(frozen=True)
class Problem:
    """Tasks and how a learner is judged on them."""

    title: str
    train: TaskSource
    validation: TaskSource
    test: TaskSource
    what: str
    """What is measured, such as "accuracy"."""
    score: Score
    higher_is_better: bool
    controls: Mapping[str, Outputs]
    """Rows beside the learner's, such as an unadapted network, on the same tasks."""
    adapted: str = "adapted"
    """Name of the learner's own row."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the tasks are, for the report."""
    draw: Callable[[Path], None] | None = None
    """Draws the pictures of a run into its folder."""
    measures: Callable[[], dict[str, float]] = dict
    """What the trained learner is like, such as its adaptation speed; nothing by default."""


class EpisodicSession:
    """A learner that is trained on batches of tasks and judged on tasks never seen."""

    def __init__(self, learner: Learner, problem: Problem, loop: LoopSection):
        self.learner, self.problem, self.loop = learner, problem, loop

    @property
    def total_steps(self) -> int:
        """Steps of a whole training run."""
        return self.loop.steps

    def step(self, step: int) -> dict[str, float]:
        """Learn from the tasks of this step; the learning rate follows a cosine to the last step."""
        rate = cosine(step, self.loop)
        for group in self.learner.optimizer.param_groups:
            group["lr"] = rate
        tasks = tasks_of_step(self.problem.train, step, self.loop.tasks_per_step)
        values = self.learner.meta_train_step(tasks)
        return {**{f"train/{name}": value for name, value in values.items()}, "train/learning_rate": rate}

    def validate(self) -> Validation:
        """The mean score on validation tasks."""
        scores = measure(self.learner.outputs, self.problem, self.problem.validation, self.loop.validation_tasks)
        average = scores.interval.estimate
        values = {f"eval/{self.problem.what.replace(' ', '_')}": average}
        return Validation(values, average if self.problem.higher_is_better else -average)

    def evaluate(self, training: Mapping[str, float]) -> TaskReport:
        """The learner and its controls on the same held-out tasks."""
        rows: dict[str, Outputs] = {self.problem.adapted: self.learner.outputs, **self.problem.controls}
        scores: dict[str, TaskScores] = {}
        notes, n = [], self.loop.test_tasks
        with ProgressBar("evaluation", n * len(rows)) as progress:
            for i, (name, outputs) in enumerate(rows.items()):
                say = after(progress.update, i * n)
                try:
                    scores[name] = measure(outputs, self.problem, self.problem.test, n, say)
                except NonFiniteError as error:
                    if not scores:
                        raise
                    notes.append(f"{name}: left out, because {error}")
        settings = {**self.problem.settings, "tasks": n, **training}
        return TaskReport(self.problem.title, self.problem.what, settings, scores, notes)

    def glimpse(self, folder: Path) -> None:
        """The same as at the end."""
        self.pictures(folder)

    def pictures(self, folder: Path) -> None:
        """The pictures of the problem, where it has some."""
        if self.problem.draw is not None:
            self.problem.draw(folder)

    def measures(self) -> dict[str, float]:
        """Those of the problem."""
        return self.problem.measures()

    def state_dict(self) -> dict[str, Any]:
        """The learner's; tasks are numbered, so that they have no state."""
        return self.learner.get_meta_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back the learner."""
        self.learner.load_meta_state(state)


def cosine(step: int, loop: LoopSection) -> float:
    """The outer learning rate of a step: linear warm-up, then half a cosine down to ``final_outer_lr``."""
    if step < loop.warmup:
        return loop.outer_lr * (step + 1) / loop.warmup
    progress = (step - loop.warmup) / max(1, loop.steps - loop.warmup)
    return loop.final_outer_lr + (loop.outer_lr - loop.final_outer_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def measure(
    outputs: Outputs,
    problem: Problem,
    source: TaskSource,
    n_tasks: int,
    progress: Callable[[int], None] = lambda done: None,
) -> TaskScores:
    """Scores on the first ``n_tasks`` tasks of a source.

    Raises:
        NonFiniteError: the inner steps of a task diverged; it is named.
    """
    values: list[float] = []
    for start in range(0, n_tasks, TASKS_AT_ONCE):
        tasks = source.batch(start, min(TASKS_AT_ONCE, n_tasks - start))
        for output, task in zip(outputs(tasks), unstack_tasks(tasks), strict=True):
            values.append(float(problem.score(output, task)))
            if not math.isfinite(values[-1]):
                raise NonFiniteError(f"the {problem.what} of task {len(values) - 1} is {values[-1]}: its steps diverge")
        progress(start + count_tasks(tasks))
    return TaskScores.of(values, problem.higher_is_better)


def accuracy(logits: Tensor, task: Task) -> Tensor:
    """Share of the queries whose largest logit (Q, C) is their label's, among the classes of the support set.

    Where k logits share the first place, one of them is right with a chance of 1/k, and counts as much: whoever
    cannot tell classes apart is at chance, however they are numbered.
    """
    logits = logits[:, : int(task.support_y.max()) + 1]
    first = logits == logits.max(-1, keepdim=True).values
    right = first.gather(1, task.query_y[:, None]).squeeze(1)
    return (right.double() / first.sum(-1)).mean()


def squared_error(values: Tensor, task: Task) -> Tensor:
    """Mean squared error over the queries."""
    return (values - task.query_y).double().square().mean()
