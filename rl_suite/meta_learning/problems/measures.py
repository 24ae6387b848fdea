"""What a learner that adapts by gradients is like: how fast it adapts, and how little it needs for it."""

from collections.abc import Mapping, Sequence

import torch

from rl_suite.errors import NonFiniteError
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.metrics import adaptation_speed, sample_efficiency
from rl_suite.meta_learning.session import Outputs, Score
from rl_suite.meta_learning.tasks import Tasks, unstack_tasks

GAIN = 0.9  # of what all inner steps gain: a learner that is there has adapted


def speed_of_adaptation(learner: MAML, tasks: Tasks, score: Score, higher_is_better: bool) -> dict[str, float]:
    """Inner steps until ``GAIN`` of what the usual number of them gains on the mean; nothing where that is nothing."""
    try:
        along = learner.outputs_along(tasks, learner.test_steps)
    except NonFiniteError:
        return {}
    means = [_mean(outputs, tasks, score) for outputs in zip(*along, strict=True)]
    gain = means[-1] - means[0]
    if (gain > 0) is not higher_is_better or gain == 0:
        return {}
    speed = adaptation_speed(means, means[0] + GAIN * gain, higher_is_better)
    return {} if speed is None else {"adaptation_speed": float(speed)}


def efficiency_of_samples(outputs: Outputs, tasks_by_shots: Mapping[int, Tasks], score: Score) -> dict[str, float]:
    """Mean score over the logarithm of the number of examples that are given.

    Args:
        outputs: of the learner, adapted.
        tasks_by_shots: number of examples, rising -> tasks with as many.
        score: of one task.
    """
    if len(tasks_by_shots) < 2:
        return {}
    try:
        scores = [_mean(outputs(tasks), tasks, score) for tasks in tasks_by_shots.values()]
    except NonFiniteError:
        return {}
    return {"sample_efficiency": sample_efficiency(list(tasks_by_shots), scores)}


def _mean(outputs: Sequence[torch.Tensor], tasks: Tasks, score: Score) -> float:
    values = [float(score(output, task)) for output, task in zip(outputs, unstack_tasks(tasks), strict=True)]
    return sum(values) / len(values)
