"""How much is played in an evaluation: no more than there is, and little where it is only tried."""

from typing import Any

from envs.tasks import TaskSet
from rl_suite.cli import show
from rl_suite.config import EvaluationSection
from rl_suite.errors import UserError
from rl_suite.memory import require_memory

EPISODE_BYTES = 256  # of one episode's seed, task, return and measures, at least


def require_episodes(settings: EvaluationSection, tasks: TaskSet | None) -> None:
    """Refuse more held-out tasks than there are (None: any number), and more episodes than can be kept.

    Raises:
        UserError: the number to choose instead, or the memory it would take.
    """
    if tasks is not None and settings.n_tasks > len(tasks):
        raise UserError(
            f"evaluation.n_tasks={settings.n_tasks}: this world has {len(tasks)} held-out tasks; choose at most that"
        )
    episodes = settings.n_tasks * settings.episodes_per_task
    require_memory(episodes * EPISODE_BYTES, f"keeping {episodes} episodes of the evaluation")


def tell_of_fewer(asked: int, there: int) -> None:
    """Say it where an evaluation asks for more held-out tasks than there are: it plays all of them."""
    if asked > there:
        show(f"evaluation.n_tasks={asked}: this world has {there} held-out tasks, and all of them are played")


def few_episodes(settings: EvaluationSection) -> dict[str, Any]:
    """Values for a rehearsal: two episodes if the evaluation has as many, in two copies, with few resamples."""
    n_tasks = min(settings.n_tasks, 2)
    episodes = min(settings.episodes_per_task, 2) if n_tasks == 1 else 1
    few = {"n_tasks": n_tasks, "episodes_per_task": episodes}
    return {**few, "n_envs": min(settings.n_envs, 2), "resamples": min(settings.resamples, 20)}
