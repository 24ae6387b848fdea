"""Settings of supervised meta-learning (``kind: meta_learning``). This module imports no torch."""

from collections.abc import Mapping
from typing import Any

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.used_settings import ROOT, unused


class MetaLearningConfig(ExperimentConfig):
    """Settings of ``kind: meta_learning``."""

    length = "meta_learning.loop.steps"

    meta_learning: MetaLearningSection

    @property
    def trained_alone(self) -> str | None:
        """None for learners that adapt by gradients, where their tasks share nothing but the weights."""
        section = self.meta_learning
        if section.problem not in ("sinusoid", "few_shot_gradient"):
            return f"problem {section.problem!r}"
        if section.gradient.inequality or section.gradient.entropy:
            return "what weighs the tasks of a step against each other (inequality, entropy)"
        if section.loop.tasks_per_step == 1:
            return "one task in a step"
        return None

    def require_used(self, given: Mapping[str, Any]) -> None:
        """Raise a ``UserError`` that names the first given setting that the problem and the learner do not read."""
        section = self.meta_learning
        idle = unused(section, given.get(ROOT, {}))
        if idle is not None:
            raise UserError(
                f"{ROOT}.{idle}: problem {section.problem!r} with learner {section.learner!r} does not read it as it"
                " is set; leave it out, or set what it belongs to"
            )
