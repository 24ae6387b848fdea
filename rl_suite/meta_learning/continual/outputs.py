"""The three scenarios: what a learner is told about the task when it has to answer.

References:
    van de Ven, Tuytelaars and Tolias 2022, "Three types of incremental learning", Nature Machine Intelligence.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from rl_suite.errors import UserError

Scenario = Literal["task", "domain", "class"]
SCENARIOS = ("task", "domain", "class")


class Outputs:
    """Which outputs of a classifier compete with each other.

    Args:
        scenario: "task": the learner is told the task, and only that task's classes compete. "domain": it is
            not told, but all tasks have the same classes. "class": it is not told, and all classes seen so far
            compete.
        classes: outputs of each task. None: every task has all outputs, whatever the scenario.
    """

    def __init__(self, scenario: Scenario = "task", classes: Sequence[Sequence[int]] | None = None):
        if scenario not in SCENARIOS:
            raise UserError(f"scenario must be one of {', '.join(SCENARIOS)}, not {scenario!r}")
        if classes is not None and any(len(own) == 0 for own in classes):
            raise UserError("every task needs at least one class")
        self.scenario = scenario
        self.classes = None if classes is None or scenario == "domain" else [sorted(own) for own in classes]
        self.seen: list[int] = []
        """Tasks that were begun, in this order."""

    def begin(self, task: int) -> None:
        """A task begins; in the class-incremental scenario its classes compete from now on."""
        if self.classes is not None and not 0 <= task < len(self.classes):
            raise UserError(f"there are classes for tasks 0 to {len(self.classes) - 1}, not for task {task}")
        if task not in self.seen:
            self.seen.append(task)

    def active(self, task: int) -> list[int] | None:
        """Outputs that compete on an example of one task; None: all of them, as before the first task."""
        if self.classes is None or (self.scenario == "class" and not self.seen):
            return None
        if self.scenario == "task":
            return self.classes[task]
        return sorted({own for task in self.seen for own in self.classes[task]})

    def earlier_heads(self, task: int) -> list[list[int]] | None:
        """The groups of outputs that the tasks before this one have used; None: one head for all."""
        earlier = [other for other in self.seen if other != task]
        if self.classes is None or not earlier:
            return None
        heads = [self.classes[other] for other in earlier]
        return heads if self.scenario == "task" else [sorted({own for head in heads for own in head})]

    def select(self, logits: Tensor, task: int) -> Tensor:
        """The competing logits (..., n_active) of one task."""
        active = self.active(task)
        return logits if active is None else logits[..., active]

    def mask(self, logits: Tensor, task: int | Tensor) -> Tensor:
        """The logits (n, C) with -inf where an output does not compete; task is one for all or (n,) int64."""
        if self.classes is None:
            return logits
        tasks = torch.as_tensor(task).expand(len(logits)) if isinstance(task, int) else task
        allowed = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
        for one in torch.unique(tasks).tolist():
            columns = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
            active = self.active(one)
            columns[:] = active is None
            if active is not None:
                columns[active] = True
            allowed |= columns & (tasks == one).to(logits.device)[:, None]
        return logits.masked_fill(~allowed, -torch.inf)
