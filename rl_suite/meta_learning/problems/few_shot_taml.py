"""``problem: few_shot_taml``: the documents' TAML on episodes of pictures."""

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.learners.few_shot_encoder import ConvEncoder
from rl_suite.meta_learning.learners.taml import Extras, TaskAgnosticMetaLearning
from rl_suite.meta_learning.problems.adaptation_pictures import draw_answers
from rl_suite.meta_learning.problems.few_shot_gradient import by_pixels, centroid_scores
from rl_suite.meta_learning.problems.pictures import build_episodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import EpisodicSession, Problem, accuracy
from rl_suite.meta_learning.tasks import Tasks, TaskSource, shuffled_supports, unstack_tasks
from rl_suite.meta_learning.used_settings import used_part

DRAWN_EPISODES = 3


class TAMLLearner:
    """A ``TaskAgnosticMetaLearning`` as the training loop sees it."""

    def __init__(self, taml: TaskAgnosticMetaLearning):
        self.taml, self.optimizer = taml, taml.optimizer

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """One outer step on a batch of tasks."""
        return self.taml.learn(tasks)

    def outputs(self, tasks: Tasks) -> list[Tensor]:
        """Query logits of every task after adaptation."""
        return self.taml.outputs(tasks)

    def get_meta_state(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return self.taml.get_meta_state()

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`get_meta_state` gave."""
        self.taml.load_meta_state(state)


def build_learner(section: MetaLearningSection) -> TAMLLearner:
    """The untrained learner for pictures of the configured size; its weights come from torch's global generator."""
    if section.learner != "taml":
        raise UserError(f"problem few_shot_taml has one learner, taml, not {section.learner!r}")
    pictures, settings = section.pictures, section.taml
    channels = pictures.channels
    return TAMLLearner(
        TaskAgnosticMetaLearning(
            pictures.n_way,
            settings.latent_dim,
            settings.modulation_approach,
            section.loop.outer_lr,
            settings.inner_steps,
            ConvEncoder(channels, section.few_shot.widths),
            channels,
            pictures.size,
            Extras(settings.weighted_support, settings.step_rates),
        )
    )


def build(config: MetaLearningConfig) -> EpisodicSession:
    """The session of a configuration."""
    section = config.meta_learning
    learner = build_learner(section)
    taml, pictures = learner.taml, section.pictures
    episodes = build_episodes(pictures, config.seed)
    problem = Problem(
        title=f"latent head modulation: accuracy on unseen classes, {pictures.n_way}-way {pictures.k_shot}-shot",
        train=episodes.train,
        validation=episodes.validation,
        test=episodes.test,
        what="accuracy",
        score=accuracy,
        higher_is_better=True,
        controls={
            "nearest centroid on its features": partial(by_centroids, taml),
            "nearest centroid on pixels": by_pixels,
            "untrained, adapted": copy.deepcopy(taml).outputs,
            "unadapted": partial(taml.outputs, steps=0),
            "adapted to shuffled labels": lambda tasks: taml.outputs(shuffled_supports(tasks)),
        },
        settings={**episodes.settings, "learner": section.learner, **used_part(section, "taml")},
        draw=partial(draw, learner, episodes.test),
    )
    return EpisodicSession(learner, problem, section.loop)


def by_centroids(taml: TaskAgnosticMetaLearning, tasks: Tasks) -> list[Tensor]:
    """Scores (Q, n) by the distance to the mean features of each class; no gradient step."""
    taml.eval()
    found = []
    with torch.no_grad():
        for task in unstack_tasks(tasks):
            support, query = (taml.classifier.features(part) for part in (task.support_x, task.query_x))
            found.append(centroid_scores(support, task.support_y, query))
    return found


def draw(learner: TAMLLearner, source: TaskSource, folder: Path) -> None:
    """Some episodes with answers."""
    draw_answers(learner, unstack_tasks(source.batch(0, DRAWN_EPISODES)), folder / "episodes.png")
