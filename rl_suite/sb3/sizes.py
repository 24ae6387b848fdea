"""How little of an experiment with stable-baselines3 shows whether all of it can be run."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium as gym

from rl_suite.errors import UserError
from rl_suite.evaluation.controls import WORLD as CONTROLLED_WORLD
from rl_suite.evaluation.evaluate import task_set
from rl_suite.evaluation.sizes import few_episodes, require_episodes
from rl_suite.rehearsal import changed
from rl_suite.sb3.build import first_line
from rl_suite.sb3.config import SECTIONS, ReplaySection, SB3Config
from rl_suite.sb3.evaluation import evaluation_spec

STEPS = 4  # of a rehearsed rollout, over all copies, and the longest of its episodes


def shrink(config: SB3Config) -> SB3Config:
    """The same experiment on tiny sizes: one rollout, one update, every callback, all evaluations.

    Raises:
        UserError: the real one plays more held-out tasks than exist, or cannot make its worlds.
    """
    spec = replace(evaluation_spec(config, config.env.test_kwargs), n_tasks=1, episodes_per_task=1)
    try:
        with closing(spec.make()) as env:
            require_episodes(config.evaluation, task_set(env))
    except (gym.error.Error, ValueError, TypeError, AttributeError, ImportError) as error:
        raise UserError(f"{config.env.id} with {spec.env_options} cannot be evaluated: {first_line(error)}") from None
    n_envs = min(config.env.n_envs, 2)
    values: dict[str, Any] = {
        "env.n_envs": n_envs,
        "env.max_episode_steps": min(config.env.max_episode_steps or STEPS, STEPS),
        "train.total_timesteps": STEPS,
        "train.evaluate_every": 1,
        "train.checkpoint_every": 1,
        "train.log_every": 1,
        **{f"evaluation.{name}": value for name, value in few_episodes(config.evaluation).items()},
        **_algorithm(config, n_envs),
    }
    if config.env.id.rpartition(":")[2] == CONTROLLED_WORLD:
        values["env.kwargs"] = {**config.env.kwargs, "assay_steps": STEPS}
    return changed(config, values)


def _algorithm(config: SB3Config, n_envs: int) -> dict[str, Any]:
    """Sizes of one update; whatever else the algorithm was told stays."""
    section = config.settings
    if isinstance(section, ReplaySection):
        tiny = {
            "buffer_size": min(section.buffer_size, 2 * STEPS),
            "learning_starts": 0,
            "batch_size": min(section.batch_size, 2),
            "train_freq": 1,
            "gradient_steps": min(section.gradient_steps, 1),
        }
    else:
        tiny = {"n_steps": STEPS // n_envs, "batch_size": STEPS, "n_epochs": 1}
    name = SECTIONS[config.algorithm]
    return {f"{name}.{key}": value for key, value in tiny.items() if key in type(section).model_fields}
