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
from rl_suite.meta_learning.problems.adaptation_pictures import draw_adaptation
from rl_suite.meta_learning.problems.adapting import OwnPart, adapting_problem
from rl_suite.meta_learning.problems.episode_pictures import EPISODES, show_episodes
from rl_suite.meta_learning.problems.measures import speed_of_adaptation
from rl_suite.meta_learning.problems.pictures import build_episodes
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.meta_learning.session import EpisodicSession, Outputs, accuracy
from rl_suite.meta_learning.tasks import Task, Tasks, unstack_tasks
from rl_suite.meta_learning.used_settings import used_part

PICTURE_TASKS, PICTURE_STEPS = 100, 10


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
    tasks = episodes.test.batch(0, min(PICTURE_TASKS, section.loop.test_tasks))
    own = OwnPart(
        section.learner,
        f"adapted, {learner.test_steps} step{'s' if learner.test_steps > 1 else ''}",
        transductive_row(learner),
        used_part(section, "gradient"),
        partial(draw, learner, tasks),
        partial(speed_of_adaptation, learner, tasks, accuracy, True),
    )
    problem = adapting_problem(section, episodes, learner, partial(features, learner), own)
    return EpisodicSession(learner, problem, section.loop)


def transductive_row(learner: MAML) -> dict[str, Outputs]:
    """The same weights where queries are normalised by each other, as most published numbers are."""
    if learner.function.transductive or not learner.function.norms:
        return {}
    together = copy.copy(learner)
    together.function, together.warned = FunctionalModule(learner.model, "batch"), True  # the row says it
    return {"adapted, queries normalised together (transductive)": together.outputs}


def features(learner: MAML, task: Task) -> tuple[Tensor, Tensor]:
    """What enters the last layer, of the support and of the queries."""
    head = [name for name, _ in learner.model.named_children()][-1]
    weights, capture, given = learner.function.weights, learner.function.capture, len(task.support_x)
    if not learner.function.by_support:
        return capture(weights, task.support_x, head, 0, True), capture(weights, task.query_x, head, 0, True)
    both = capture(weights, torch.cat([task.support_x, task.query_x]), head, 0, True, given)
    return both[:given], both[given:]


def draw(learner: MAML, tasks: Tasks, folder: Path) -> None:
    """Accuracy against inner steps, and some episodes with answers."""
    draw_adaptation(learner, tasks, accuracy, "accuracy", folder / "adaptation.png", PICTURE_STEPS)
    show_episodes(learner.outputs, unstack_tasks(tasks)[:EPISODES], folder)
