"""Settings of supervised meta-learning (``kind: meta_learning``). This module imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl_suite.config import Count, ExperimentConfig, NonNegative, Positive, Section


class LoopSection(Section):
    """The outer loop: how long, how fast, how often it is looked at."""

    steps: Count
    """Outer steps."""
    tasks_per_step: Count
    """Tasks of one outer step."""
    outer_lr: Positive
    final_outer_lr: NonNegative
    """Learning rate of the outer optimizer at the end of its cosine."""
    warmup: Annotated[int, Field(ge=0)]
    """Outer steps of linear warm-up, before the cosine."""
    log_every: Count
    validate_every: Count
    checkpoint_every: Count
    validation_tasks: Count
    """Tasks of one look while training."""
    test_tasks: Count
    """Held-out tasks of the final evaluation."""

    @model_validator(mode="after")
    def _warm_up_fits(self) -> "LoopSection":
        if self.warmup >= self.steps:
            raise ValueError("warmup must be shorter than steps")
        return self


class SinusoidSection(Section):
    """Regression of ``A sin(x - phase)`` from few points (Finn et al. 2017, section 5.1)."""

    shots: Count
    """Points that are given."""
    queries: Count
    """Points of the same curve that are predicted."""


class MetaLearningSection(Section):
    """Tasks, a learner, and how it is trained. Each problem reads the section of its own name."""

    problem: Literal["sinusoid"]
    learner: str
    """Name of a learner that the problem knows."""
    loop: LoopSection
    sinusoid: SinusoidSection


class MetaLearningConfig(ExperimentConfig):
    """Settings of ``kind: meta_learning``."""

    meta_learning: MetaLearningSection
