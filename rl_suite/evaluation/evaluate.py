"""One evaluator for everything that has ``predict``: held-out tasks, fixed seeds, every episode kept.

All agents of one evaluation play the same episodes: episode e of task t has the same task and the same
seed for each of them, whatever ``n_envs`` is. Differences between agents are therefore differences of
pairs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.baselines import RandomAgent
from agents.protocol import Agent
from envs.tasks import TaskSet
from rl_suite.errors import NonFiniteError
from rl_suite.evaluation.report import ORACLE, RANDOM, EvaluationResult, Report
from rl_suite.evaluation.rollouts import CURVES, Batch, Episodes, Jobs, OnEpisode, make_batch, play
from rl_suite.progress import after
from rl_suite.seeding import get_random_state, seed_everything, set_random_state

OPTIMAL_RETURN = "optimal_return"  # in an episode's last info: the most that could have been earned
SUCCESS = "is_success"  # in an episode's last info, as in Gymnasium's goal environments
NOT_MEASURED = {
    OPTIMAL_RETURN,
    SUCCESS,
    "task",
    "episode_index",
    "episode_done",
    *CURVES,
}  # shown elsewhere, or no result


@dataclass(frozen=True)
class EvaluationSpec:
    """What is played.

    Args:
        env_id: a Gymnasium id, with or without the prefix ``module:``.
        env_options: passed to the environment; for our worlds ``{"split": "test"}`` picks held-out tasks.
        n_tasks: distinct tasks to play, all of them if the world has fewer. Worlds without tasks play
            as many seeds instead.
        episodes_per_task: episodes on each task.
        n_envs: copies that are stepped together; changes the speed, not the episodes.
        seed: decides tasks, episodes and what agents sample.
        deterministic: agents take their most likely actions.
        max_episode_steps: steps until truncation; None keeps the registered number.
        resamples: bootstrap resamples behind each interval.
        confidence: of each interval.
        make_envs: makes the batch from a number of copies instead of ``env_id``; it must reset in the
            same step or not at all, and accept ``options["reset_mask"]``.
    """

    env_id: str
    env_options: Mapping[str, Any] = field(default_factory=dict)
    n_tasks: int = 20
    episodes_per_task: int = 5
    n_envs: int = 16
    seed: int = 0
    deterministic: bool = True
    max_episode_steps: int | None = None
    resamples: int = 2000
    confidence: float = 0.95
    make_envs: Callable[[int], Batch] | None = None

    def __post_init__(self) -> None:
        for name in ("n_tasks", "episodes_per_task", "n_envs", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.seed < 0 or not 0 < self.confidence < 1:
            raise ValueError(f"seed={self.seed} must be at least 0, confidence={self.confidence} between 0 and 1")

    def make(self) -> Batch:
        """The environments, no more than there are episodes."""
        count = min(self.n_envs, self.n_tasks * self.episodes_per_task)
        if self.make_envs is not None:
            return self.make_envs(count)
        return make_batch(self.env_id, count, self.max_episode_steps, **self.env_options)

    def settings(self) -> dict[str, Any]:
        """Plain values for the report."""
        names = ("env_id", "n_tasks", "episodes_per_task", "seed", "deterministic", "max_episode_steps")
        settings = {name: getattr(self, name) for name in (*names, "resamples", "confidence")}
        return {**settings, "env_options": {key: _plain_option(value) for key, value in self.env_options.items()}}

    def plan(self, env: Batch) -> tuple[NDArray[np.int64] | None, Jobs]:
        """The tasks (T,), or None for a world without, and the T * E episodes, task after task."""
        everything = task_set(env)
        if everything is None:
            tasks, n_tasks = None, self.n_tasks
        else:
            n_tasks = min(self.n_tasks, len(everything))
            tasks = np.sort(everything.choose(np.random.default_rng(self.seed), n_tasks, replace=False))
        cells = [(task, episode) for task in range(n_tasks) for episode in range(self.episodes_per_task)]
        seeds = [np.random.SeedSequence((self.seed, *cell)).generate_state(1)[0] for cell in cells]
        repeated = None if tasks is None else np.repeat(tasks, self.episodes_per_task)
        return tasks, Jobs(np.array(seeds, dtype=np.int64), repeated)


def evaluate_all(
    agents: Mapping[str, Agent], spec: EvaluationSpec, on_episode: OnEpisode | None = None, title: str | None = None
) -> Report:
    """Evaluate every agent on the same episodes, with a random agent first and the oracle last.

    The oracle's row is what each episode's ``optimal_return`` says; an agent named "oracle" plays instead.

    Args:
        agents: name in the report -> agent.
        spec: what is played.
        on_episode: called with the number of finished episodes, over all agents.
        title: of the report; the environment's id by default.

    Raises:
        NonFiniteError: an agent earned NaN or infinity.
    """
    played: dict[str, Episodes] = {}
    with closing(spec.make()) as env:
        tasks, jobs = spec.plan(env)
        players: dict[str, Agent] = {RANDOM: RandomAgent(env.single_action_space, spec.seed), **agents}
        for index, (name, agent) in enumerate(players.items()):
            tell = None if on_episode is None else after(on_episode, index * len(jobs.seeds))
            played[name] = _play(name, agent, env, jobs, spec, tell)
    results = {name: as_result(episodes, tasks, spec.episodes_per_task) for name, episodes in played.items()}
    if ORACLE in results:
        results[ORACLE] = results.pop(ORACLE)  # last
    elif all(OPTIMAL_RETURN in episodes.last_infos for episodes in played.values()):
        results[ORACLE] = oracle_result(list(played.values()), tasks, spec.episodes_per_task)
    return Report(title or spec.env_id, spec.settings(), results)


def evaluate_agent(
    agent: Agent, spec: EvaluationSpec, name: str = "agent", on_episode: OnEpisode | None = None
) -> EvaluationResult:
    """Evaluate one agent alone, as for choosing the best checkpoint; global random states stay as they were."""
    with closing(spec.make()) as env:
        tasks, jobs = spec.plan(env)
        episodes = _play(name, agent, env, jobs, spec, on_episode)
    return as_result(episodes, tasks, spec.episodes_per_task)


def task_set(env: Batch) -> TaskSet | None:
    """The tasks that the world of a batch draws from; a trial's are those of its inner world."""
    world = getattr(env.unwrapped, "world", None)
    while world is not None and not hasattr(world, "tasks"):
        world = getattr(world, "inner", None)
    return None if world is None else world.tasks


def as_result(episodes: Episodes, tasks: NDArray[np.int64] | None, episodes_per_task: int) -> EvaluationResult:
    """Fold J = T * E episodes into (T, E)."""

    def fold(values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(-1, episodes_per_task, *values.shape[1:])

    infos, curve = episodes.last_infos, episodes.curves.get(CURVES[0])
    return EvaluationResult(
        tasks=tasks,
        returns=fold(episodes.returns),
        lengths=fold(episodes.lengths),
        successes=fold(infos[SUCCESS]) if SUCCESS in infos and np.isfinite(infos[SUCCESS]).all() else None,
        metrics={key: fold(v) for key, v in infos.items() if key not in NOT_MEASURED and v.ndim == 1},
        curve=None if curve is None else fold(curve),
    )


def oracle_result(played: list[Episodes], tasks: NDArray[np.int64] | None, episodes_per_task: int) -> EvaluationResult:
    """What an agent that knows the task would have earned in each episode.

    Worlds tell the optimum for as many steps as were taken, so that the longest attempt counts.
    """
    optimum = np.max([episodes.last_infos[OPTIMAL_RETURN] for episodes in played], axis=0)
    lengths = np.max([episodes.lengths for episodes in played], axis=0)
    curves = [episodes.curves[CURVES[1]] for episodes in played if CURVES[1] in episodes.curves]
    curve = {CURVES[0]: _longest(curves)} if curves else {}
    return as_result(Episodes(optimum, lengths, curves=curve), tasks, episodes_per_task)


@contextmanager
def preserved_random_state(seed: int) -> Iterator[None]:
    """Seed the global generators inside, and put them back as they were: evaluating must not change training."""
    before = get_random_state()
    seed_everything(seed)
    try:
        yield
    finally:
        set_random_state(before)


def _play(
    name: str, agent: Agent, env: Batch, jobs: Jobs, spec: EvaluationSpec, on_episode: OnEpisode | None
) -> Episodes:
    with preserved_random_state(spec.seed):
        try:
            return play(agent, env, jobs, spec.deterministic, on_episode)
        except NonFiniteError as error:
            raise NonFiniteError(f"{spec.env_id}, agent {name!r}: {error}") from None


def _longest(curves: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The largest of several (J, K_i) at each place, (J, K); NaN where none of them came that far."""
    longest = np.full((len(curves[0]), max(curve.shape[1] for curve in curves)), np.nan)
    for curve in curves:
        longest[:, : curve.shape[1]] = np.fmax(longest[:, : curve.shape[1]], curve)
    return longest


def _plain_option(value: Any) -> Any:
    """An option as JSON can hold it; classes and functions by their names."""
    plain = isinstance(value, bool | int | float | str | list | tuple | dict | type(None))
    return value if plain else getattr(value, "__qualname__", type(value).__name__)
