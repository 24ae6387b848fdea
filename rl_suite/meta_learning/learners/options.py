"""What every gradient learner takes beside its model, rates and steps."""

from typing import TypedDict

from rl_suite.meta_learning.functional import BatchNormPolicy
from rl_suite.meta_learning.learners.fairness import Fairness
from rl_suite.meta_learning.learners.losses import LossFunction


class Options(TypedDict, total=False):
    """What every gradient learner takes beside its model, rates and steps."""

    loss: LossFunction
    """Default: cross-entropy for integer targets, mean squared error otherwise."""
    batch_norm: BatchNormPolicy
    """See ``rl_suite.meta_learning.functional``; default "batch"."""
    task_axis: str
    """See ``rl_suite.meta_learning.engine``; default "auto"."""
    fairness: Fairness
    """Regularisers over tasks; default none."""
    gradient_clip: float | None
    """Largest norm of the meta-gradient; default none."""
    inner_clip: float | None
    """Largest norm of an inner gradient; default none."""
    recompute: bool | None
    """Whether second-order steps are computed twice to save memory; default: from six steps on."""
    shared_head: bool
    """Whether all outputs of the last layer begin alike (``learners.shared_head``); default no."""
