"""What supervised meta-learning takes: how much memory, and how little shows whether it can be run.

Estimates count what cannot be avoided, so that nothing is refused that fits.
"""

from collections.abc import Sequence
from typing import Any

from rl_suite.memory import require_memory
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.sections import MetaLearningSection
from rl_suite.rehearsal import changed

FLOAT = 4  # bytes
HELD = 4  # a weight, its gradient and two moments of Adam
PER_STEP = 24  # bytes of action, reward, return, advantage, value and flags, at least
WIDTH = 16  # of a rehearsed layer
BATCH = 512  # examples of a rehearsed step over a whole data set: few steps
PICTURES = ("few_shot", "few_shot_gradient", "few_shot_taml")


def shrink(config: MetaLearningConfig) -> MetaLearningConfig:
    """The same experiment on tiny sizes: one outer step, and two held-out tasks of every protocol.

    Raises:
        UserError: the real one needs more memory than there is.
    """
    section = config.meta_learning
    for needed, what in needs(section):
        require_memory(needed, f"meta_learning.{what}")
    tiny = {
        "loop.steps": 1,
        "loop.tasks_per_step": min(section.loop.tasks_per_step, 2),
        "loop.warmup": 0,
        "loop.log_every": 1,
        "loop.validate_every": 1,
        "loop.checkpoint_every": 1,
        "loop.validation_tasks": min(section.loop.validation_tasks, 2),
        "loop.test_tasks": min(section.loop.test_tasks, 2),
        "gradient.inner_steps": min(section.gradient.inner_steps, 2),
        "gradient.test_steps": min(section.gradient.test_steps, 2),
        "few_shot.test_copies": min(section.few_shot.test_copies, 1),
        "few_shot.one_shot_episodes": min(section.few_shot.one_shot_episodes, 2),
        "taml.inner_steps": min(section.taml.inner_steps, 2),
        **_continual(section),
    }
    return changed(config, {f"meta_learning.{key}": value for key, value in tiny.items()})


def _continual(section: MetaLearningSection) -> dict[str, Any]:
    """All lessons of one seed, each as short as can be."""
    images, worlds = section.continual, section.continual_worlds
    copies = len(worlds.worlds)
    return {
        "continual.repeats": 1,
        "continual.tasks": 2,
        "continual.hidden": [min(width, WIDTH) for width in images.hidden],
        "continual.epochs": 1,
        "continual.batch_size": max(images.batch_size, BATCH),
        "continual.strategies.memory_passes": 1,
        "continual.strategies.fisher_samples": min(images.strategies.fisher_samples or WIDTH, WIDTH),
        "continual_worlds.repeats": 1,
        "continual_worlds.timesteps": 1,
        "continual_worlds.n_envs": copies,
        "continual_worlds.ppo.n_steps": 2,
        "continual_worlds.ppo.batch_size": 2 * copies,
        "continual_worlds.ppo.n_epochs": 1,
        "continual_worlds.test_tasks": 1,
        "continual_worlds.test_episodes": 1,
    }


def needs(section: MetaLearningSection) -> list[tuple[int, str]]:
    """(bytes, what takes them) of everything whose size the settings of the problem decide."""
    tasks = section.loop.tasks_per_step
    if section.problem == "sinusoid":
        points = section.sinusoid.shots + section.sinusoid.queries
        return [(2 * FLOAT * tasks * points, "loop.tasks_per_step: the points of one outer step")]
    if section.problem in PICTURES:
        return [*_pictures(section, tasks)]
    if section.problem == "continual":
        return [(_layers(section.continual.hidden), "continual.hidden: the network's layers")]
    worlds = section.continual_worlds
    return [(worlds.n_envs * worlds.ppo.n_steps * PER_STEP, "continual_worlds.n_envs: one rollout")]


def _pictures(section: MetaLearningSection, tasks: int) -> list[tuple[int, str]]:
    pictures = section.pictures
    one = FLOAT * pictures.channels * pictures.size**2
    trained = pictures.train_way * (pictures.train_shot + pictures.train_query)
    judged = pictures.n_way * (pictures.k_shot + pictures.k_query)
    found = [
        (one * trained * tasks, "pictures: the episodes of one outer step"),
        (one * judged, "pictures: one episode of the evaluation"),
    ]
    if section.problem != "few_shot" and section.gradient.network != "wide":
        width, inputs = section.gradient.width, pictures.channels * pictures.size**2
        weights = width * (inputs + width) if section.gradient.network == "dense" else 27 * width**2
        found.append((FLOAT * HELD * weights, "gradient.width: the network's layers"))
    if section.problem == "few_shot_taml":
        found.append((FLOAT * HELD * section.taml.latent_dim**2, "taml.latent_dim: its networks"))
    return found


def _layers(hidden: Sequence[int]) -> int:
    """Bytes of fully connected layers, of which the first reads at least one number."""
    return FLOAT * HELD * sum(a * b for a, b in zip([1, *hidden], hidden, strict=False))
