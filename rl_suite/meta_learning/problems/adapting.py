"""The problem of every learner that adapts to episodes of pictures: the same rows beside it, whichever it is."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from rl_suite.meta_learning.problems.pictures import PictureEpisodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import Learner, Outputs, Problem, accuracy
from rl_suite.meta_learning.tasks import Task, Tasks, shuffled_supports, unstack_tasks

Features = Callable[[Task], tuple[Tensor, Tensor]]
"""Features (S, D) and (Q, D) of the support and query pictures of one task, before any gradient step."""


class AdaptingLearner(Learner, Protocol):
    """A learner that takes gradient steps on a support set."""

    def outputs(self, tasks: Tasks, steps: int | None = None) -> list[Tensor]:
        """Query logits of every task after ``steps`` inner steps; None: as many as usual."""


class OwnPart(NamedTuple):
    """What one learner has and others do not."""

    title: str
    adapted: str
    """Name of its own row."""
    rows: Mapping[str, Outputs]
    """Other ways to judge the same weights."""
    settings: Mapping[str, Any]
    draw: Callable[[Path], None]
    measures: Callable[[], dict[str, float]] = dict


def adapting_problem(
    section: MetaLearningSection, episodes: PictureEpisodes, learner: AdaptingLearner, features: Features, own: OwnPart
) -> Problem:
    """Accuracy on unseen classes: the learner, its features alone, pixels alone, and what must be at chance."""
    pictures = section.pictures
    return Problem(
        title=f"{own.title}: accuracy on unseen classes, {pictures.n_way}-way {pictures.k_shot}-shot",
        train=episodes.train,
        validation=episodes.validation,
        test=episodes.test,
        what="accuracy",
        score=accuracy,
        higher_is_better=True,
        controls={
            "nearest centroid on its features": partial(by_centroids, features),
            **own.rows,
            "nearest centroid on pixels": by_pixels,
            "untrained, adapted": copy.deepcopy(learner).outputs,
            "unadapted": partial(learner.outputs, steps=0),
            "adapted to shuffled labels": lambda tasks: learner.outputs(shuffled_supports(tasks)),
        },
        adapted=own.adapted,
        settings={**episodes.settings, "learner": section.learner, **own.settings},
        draw=own.draw,
        measures=own.measures,
    )


def by_pixels(tasks: Tasks) -> list[Tensor]:
    """Scores (Q, n) by the distance to the mean picture of each class."""
    return by_centroids(lambda task: (task.support_x.flatten(1), task.query_x.flatten(1)), tasks)


def by_centroids(features: Features, tasks: Tasks) -> list[Tensor]:
    """Scores (Q, n) by the distance to the mean features of each class; no gradient step."""
    found = []
    with torch.no_grad():
        for task in unstack_tasks(tasks):
            support, query = features(task)
            found.append(centroid_scores(support, task.support_y, query))
    return found


def centroid_scores(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Minus the squared distances (Q, n) of queries (Q, D) to the class means of a support set (S, D)."""
    members = torch.nn.functional.one_hot(labels).to(support.dtype)  # (S, n)
    means = members.T @ support / members.sum(0)[:, None]
    return -torch.cdist(query, means).square()
