"""``problem: few_shot_gradient``: episodes of pictures for learners that adapt by gradients."""

import copy
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from rl_suite.errors import UserError
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.functional import FunctionalModule
from rl_suite.meta_learning.learners.build import build_gradient_learner
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_conv4, make_mlp, make_wide_net
from rl_suite.meta_learning.problems.adaptation_pictures import draw_adaptation, draw_answers
from rl_suite.meta_learning.problems.pictures import build_episodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import EpisodicSession, Outputs, Problem, accuracy
from rl_suite.meta_learning.tasks import Tasks, shuffled_supports, unstack_tasks
from rl_suite.meta_learning.used_settings import used_part

PICTURE_TASKS, PICTURE_STEPS, EPISODES = 100, 10, 3


def build_learner(section: MetaLearningSection) -> MAML:
    """The untrained learner for pictures of the configured size; its weights come from torch's global generator."""
    pictures, settings = section.pictures, section.gradient
    channels, outputs = pictures.channels, pictures.train_way
    model: nn.Module
    if settings.network == "conv4":
        model = make_conv4(outputs, pictures.size, channels, settings.width, settings.down, settings.norm)
    elif settings.network == "dense":
        model = nn.Sequential(nn.Flatten(), *make_mlp(channels * pictures.size**2, outputs, settings.width))
    else:
        model = make_wide_net(outputs, pictures.size, channels, section.few_shot.widths, settings.norm)
    return build_gradient_learner(section, model)


def build(config: MetaLearningConfig) -> EpisodicSession:
    """The session of a configuration.

    Raises:
        UserError: evaluation episodes have more classes than training episodes, which have one output each.
    """
    section = config.meta_learning
    pictures = section.pictures
    if pictures.train_way < pictures.n_way:
        raise UserError(
            f"a gradient learner has one output for each class of a training episode: pictures.n_way "
            f"({pictures.n_way}) must not be above pictures.train_way ({pictures.train_way})"
        )
    if section.gradient.shared_head and section.gradient.inequality > 0:
        raise UserError(
            "with shared_head the initial loss of every task is the same, and inequality would do nothing; set"
            " meta_learning.gradient.shared_head=false, or inequality=0"
        )
    learner = build_learner(section)
    episodes = build_episodes(pictures, config.seed)
    problem = Problem(
        title=f"{section.learner}: accuracy on unseen classes, {pictures.n_way}-way {pictures.k_shot}-shot",
        train=episodes.train,
        validation=episodes.validation,
        test=episodes.test,
        what="accuracy",
        score=accuracy,
        higher_is_better=True,
        controls=controls(learner),
        adapted=f"adapted, {learner.test_steps} steps",
        settings={**episodes.settings, "learner": section.learner, **used_part(section, "gradient")},
        draw=partial(draw, learner, episodes.test.batch(0, min(PICTURE_TASKS, section.loop.test_tasks))),
    )
    return EpisodicSession(learner, problem, section.loop)


def controls(learner: MAML) -> dict[str, Outputs]:
    """What else is in the table: other ways to judge the same weights, and what must be at chance."""
    rows: dict[str, Outputs] = {"nearest centroid on its features": partial(by_centroids, learner)}
    if not learner.function.transductive and learner.function.norms:
        together = copy.copy(learner)
        together.function, together.warned = FunctionalModule(learner.model, "batch"), True  # the row says it
        rows["adapted, queries normalised together (transductive)"] = together.outputs
    return {
        **rows,
        "nearest centroid on pixels": by_pixels,
        "untrained, adapted": copy.deepcopy(learner).outputs,
        "unadapted": partial(learner.outputs, steps=0),
        "adapted to shuffled labels": lambda tasks: learner.outputs(shuffled_supports(tasks)),
    }


def by_pixels(tasks: Tasks) -> list[Tensor]:
    """Scores (Q, n) by the distance to the mean picture of each class."""
    return [centroid_scores(t.support_x.flatten(1), t.support_y, t.query_x.flatten(1)) for t in unstack_tasks(tasks)]


def by_centroids(learner: MAML, tasks: Tasks) -> list[Tensor]:
    """Scores (Q, n) by the distance to the mean features of each class, before the last layer; no gradient step."""
    head = [name for name, _ in learner.model.named_children()][-1]
    weights, found = learner.function.weights, []
    with torch.no_grad():
        for task in unstack_tasks(tasks):
            support = learner.function.capture(weights, task.support_x, head, 0, True)
            context = len(task.support_x) if learner.function.batch_norm == "support" else 0
            asked = torch.cat([task.support_x, task.query_x]) if context else task.query_x
            query = learner.function.capture(weights, asked, head, 0, True, context)
            found.append(centroid_scores(support, task.support_y, query))
    return found


def centroid_scores(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Minus the squared distances (Q, n) of queries (Q, D) to the class means of a support set (S, D)."""
    members = torch.nn.functional.one_hot(labels).to(support.dtype)  # (S, n)
    means = members.T @ support / members.sum(0)[:, None]
    return -torch.cdist(query, means).square()


def draw(learner: MAML, tasks: Tasks, folder: Path) -> None:
    """Accuracy against inner steps, and some episodes with answers."""
    draw_adaptation(learner, tasks, accuracy, "accuracy", folder / "adaptation.png", PICTURE_STEPS)
    draw_answers(learner, unstack_tasks(tasks)[:EPISODES], folder / "episodes.png")
