"""What a meta-learner of your own writes, and what it is given."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.checks import require_model
from rl_suite.meta_learning.tasks import Tasks, TaskSource


class BaseMetaLearner(nn.Module, ABC):
    """A model that learns to adapt: a subclass says how it takes an outer step, and how it adapts to one task.

    ``fit`` trains it on any source of tasks. With ``outputs``, ``optimizer`` and a state, which ``MAML`` has, it is
    also a ``Learner`` for ``rl_suite.meta_learning.session``.

    Args:
        model: what is adapted; its weights are the learner's.
        settings: whatever the subclass wants to remember, kept as ``self.settings``.

    Raises:
        UserError: the model is no module, or has parameters without a shape.
    """

    def __init__(self, model: nn.Module, **settings: Any):
        super().__init__()
        require_model(model)
        self.model, self.settings = model, settings

    @abstractmethod
    def meta_train_step(self, tasks: Tasks) -> Mapping[str, float]:
        """One outer step on a batch of tasks; returns plain floats by name, such as a loss."""

    @abstractmethod
    def adapt_to_task(self, *support: Any, **options: Any) -> Any:
        """What a support set makes of the model, such as adapted weights; the model itself stays as it is."""

    def fit(self, source: TaskSource, steps: int, tasks_per_step: int = 4, start: int = 0) -> list[dict[str, float]]:
        """Take outer steps on the tasks of a source, from number ``start`` on, each task once.

        Returns:
            What every step returned.

        Raises:
            UserError: fewer than one step or task.
            NonFiniteError: a step returned NaN or infinity, with its number and the name.
        """
        if steps < 1 or tasks_per_step < 1:
            raise UserError(f"steps and tasks_per_step must be at least 1, not {steps} and {tasks_per_step}")
        found = []
        for step in range(steps):
            values = dict(self.meta_train_step(source.batch(start + step * tasks_per_step, tasks_per_step)))
            bad = next((name for name, value in values.items() if not math.isfinite(value)), None)
            if bad is not None:
                raise NonFiniteError(f"outer step {step + 1}: {bad} is {values[bad]}; lower the learning rates")
            found.append(values)
        return found
