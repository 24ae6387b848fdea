"""``problem: few_shot_taml``: the documents' TAML on episodes of pictures."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.learners.few_shot_encoder import ConvEncoder
from rl_suite.meta_learning.learners.taml import Extras, TaskAgnosticMetaLearning
from rl_suite.meta_learning.problems.adapting import OwnPart, adapting_problem
from rl_suite.meta_learning.problems.episode_pictures import EPISODES, show_episodes
from rl_suite.meta_learning.problems.pictures import build_episodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import EpisodicSession
from rl_suite.meta_learning.tasks import Task, Tasks, TaskSource, unstack_tasks
from rl_suite.meta_learning.used_settings import used_part


class TAMLLearner:
    """A ``TaskAgnosticMetaLearning`` as the training loop sees it."""

    def __init__(self, taml: TaskAgnosticMetaLearning):
        self.taml, self.optimizer = taml, taml.optimizer

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """One outer step on a batch of tasks."""
        return self.taml.learn(tasks)

    def outputs(self, tasks: Tasks, steps: int | None = None) -> list[Tensor]:
        """Query logits of every task after ``steps`` inner steps (None: as many as in training)."""
        return self.taml.outputs(tasks, steps)

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
    episodes = build_episodes(section.pictures, config.seed)
    drawn = partial(draw, learner, episodes.test)
    own = OwnPart("latent head modulation", "adapted", {}, used_part(section, "taml"), drawn)
    problem = adapting_problem(section, episodes, learner, partial(features, learner.taml), own)
    return EpisodicSession(learner, problem, section.loop)


def features(taml: TaskAgnosticMetaLearning, task: Task) -> tuple[Tensor, Tensor]:
    """What the body makes of the support and of the queries."""
    taml.eval()
    return taml.classifier.features(task.support_x), taml.classifier.features(task.query_x)


def draw(learner: TAMLLearner, source: TaskSource, folder: Path) -> None:
    """Some episodes with answers."""
    show_episodes(learner.outputs, unstack_tasks(source.batch(0, EPISODES)), folder)
