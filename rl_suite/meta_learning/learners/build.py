"""Gradient learners by name, as the configuration asks for them."""

from typing import Any

from torch import nn

from rl_suite.errors import UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.learners.fairness import Fairness
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.options import Options
from rl_suite.meta_learning.learners.variants import ANIL, MAMLPlusPlus, MetaSGD, Reptile
from rl_suite.meta_learning.sections import MetaLearningSection

GRADIENT_LEARNERS: dict[str, type[MAML]] = {
    "maml": MAML,
    "anil": ANIL,
    "meta_sgd": MetaSGD,
    "maml_plus_plus": MAMLPlusPlus,
    "reptile": Reptile,
}
"""Name in the configuration -> class."""


def build_gradient_learner(section: MetaLearningSection, model: nn.Module) -> MAML:
    """The learner that the configuration names, around ``model``."""
    require_known(section.learner, GRADIENT_LEARNERS, "gradient learner")
    settings = section.gradient
    options = Options(
        batch_norm=settings.batch_norm,
        task_axis=settings.task_axis,
        fairness=Fairness(settings.measure, settings.inequality, settings.entropy),
        gradient_clip=settings.gradient_clip,
        inner_clip=settings.inner_clip,
        shared_head=settings.shared_head,
    )
    own: dict[str, Any] = {}
    if section.learner in ("maml", "anil", "meta_sgd"):
        own["order"] = settings.order
    elif section.learner == "maml_plus_plus":
        own["anneal_steps"] = settings.anneal_steps
    if section.learner == "reptile" and options["fairness"].active:
        raise UserError("reptile has no query loss that inequality or entropy could be added to; set both to 0")
    kind = GRADIENT_LEARNERS[section.learner]
    learner = kind(model, settings.inner_lr, section.loop.outer_lr, settings.inner_steps, **own, **options)
    learner.test_steps = settings.test_steps
    return learner
