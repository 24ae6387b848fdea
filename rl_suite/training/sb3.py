"""Train an agent with stock stable-baselines3: world, model, callbacks, learn, evaluate."""

import io
import math
from typing import Any

import gymnasium as gym
from sb3_contrib import TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HParam, Logger
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize

from rl_suite.callbacks import CheckFinite, RunCallback, RunWriter
from rl_suite.checkpoint import load_checkpoint, write_atomically
from rl_suite.errors import UserError
from rl_suite.experiments import load_attribute
from rl_suite.loading import require_known
from rl_suite.progress import ProgressBar
from rl_suite.run import Run
from rl_suite.seeding import seed_everything
from rl_suite.training.resume import restore
from rl_suite.training.sb3_config import OnPolicySection, SB3Config
from rl_suite.vec_env import make_vec_env

# algorithm in the configuration -> (class, section with its settings)
ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], str]] = {
    "ppo": (PPO, "ppo"),
    "a2c": (A2C, "a2c"),
    "trpo": (TRPO, "trpo"),
    "dqn": (DQN, "dqn"),
    "maskable_ppo": (MaskablePPO, "ppo"),
    "recurrent_ppo": (RecurrentPPO, "ppo"),
}

CHARTS = {
    "overview": {
        "return": ["Multiline", ["rollout/ep_rew_mean", "eval/mean_reward"]],
        "episode length": ["Multiline", ["rollout/ep_len_mean"]],
        "loss": ["Multiline", ["train/loss", "train/value_loss", "train/policy_gradient_loss"]],
        "step size": ["Multiline", ["train/approx_kl", "train/clip_fraction"]],
        "speed": ["Multiline", ["time/fps"]],
    }
}


def train(config: SB3Config, run: Run) -> None:
    """Train to ``train.total_timesteps``, from the last checkpoint if there is one, and evaluate."""
    seed_everything(config.seed)
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model = build_model(config, env)
    latest = run.checkpoints.latest()
    with ProgressBar(config.experiment, config.train.total_timesteps) as progress:
        callback = RunCallback(run, config.train, lambda: validation_score(config, model), progress)
        if latest is None:
            run.rewind(0)
        else:
            content = load_checkpoint(latest, config.device_name)
            resume(model, content, str(latest))
            callback.set_state(content["callback"])
            run.rewind(model.num_timesteps)
        model.set_logger(Logger(str(run.path), [RunWriter(run)]))
        if latest is None:
            describe(config, run, model)
        remaining = config.train.total_timesteps - model.num_timesteps
        if remaining > 0:
            never = remaining + 1  # the callback decides when to log
            model.learn(remaining, callback, log_interval=never, reset_num_timesteps=False)
            if callback.stopped:
                run.finish("stopped")
                return
            callback.evaluate_and_keep_best()
            callback.save()
    export_for_sb3(model, run)
    env.close()
    report_final(config, run)
    run.finish("complete")


def build_env(config: SB3Config, kwargs: dict[str, Any], n_envs: int) -> VecEnv:
    """``world -> monitor -> check -> normalise``, in this order."""
    options = {**config.env.kwargs, **kwargs}
    try:
        env = make_vec_env(config.env.id, n_envs, max_episode_steps=config.env.max_episode_steps, **options)
    except (gym.error.Error, ValueError, TypeError, AttributeError, ImportError) as error:
        raise UserError(f"env.id={config.env.id} with {options}: {first_line(error)}") from None
    env = CheckFinite(VecMonitor(env))
    settings = config.normalize
    if settings.observation or settings.reward:
        env = VecNormalize(
            env,
            norm_obs=settings.observation,
            norm_reward=settings.reward,
            clip_obs=settings.clip_observation,
            clip_reward=settings.clip_reward,
            gamma=getattr(config, ALGORITHMS[config.algorithm][1]).gamma,
        )
    return env


def build_model(config: SB3Config, env: VecEnv) -> BaseAlgorithm:
    """The algorithm with the settings of its section, on ``env``.

    Raises:
        UserError: the policy is unknown or does not fit the world.
    """
    algorithm, name = ALGORITHMS[config.algorithm]
    section = getattr(config, name)
    settings = section.model_dump()
    if isinstance(section, OnPolicySection):
        start, end = settings.pop("learning_rate"), settings.pop("final_learning_rate")
        settings["learning_rate"] = LinearSchedule(start, end, 1.0)
    policy = find_policy(config.policy.name, algorithm)
    try:
        return algorithm(
            policy, env, policy_kwargs=dict(config.policy.kwargs), seed=config.seed, device=config.device, **settings
        )
    except (ValueError, TypeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"{config.algorithm} with policy {config.policy.name} cannot act in {config.env.id}: {first_line(error)}"
        ) from None


def find_policy(name: str, algorithm: type[BaseAlgorithm]) -> str | type[Any]:
    """An alias of SB3, such as "MlpPolicy", or the class that ``"module:Class"`` names."""
    if ":" not in name:
        require_known(name, algorithm.policy_aliases, f"policy of {algorithm.__name__}")
        return name
    try:
        policy: type[Any] = load_attribute(name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"policy.name={name}: {error}") from None
    return policy


def resume(model: BaseAlgorithm, content: dict[str, Any], source: str) -> None:
    """Put a checkpoint into ``model``; one of another world or policy is refused."""
    try:
        restore(model, content["sb3"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{source}: does not fit this world and policy: {first_line(error)}") from None


def describe(config: SB3Config, run: Run, model: BaseAlgorithm) -> None:
    """Write the hyperparameters and the charts people look at to TensorBoard, once per run."""
    values = {"algorithm": config.algorithm, "env": config.env.id, "policy": config.policy.name, "seed": config.seed}
    section = getattr(config, ALGORITHMS[config.algorithm][1])
    values |= {key: value for key, value in section.model_dump().items() if value is not None}
    metrics = {"eval/mean_reward": math.nan, "rollout/ep_rew_mean": math.nan}
    model.logger.record("hparams", HParam(values, metrics))
    run.writer.add_custom_scalars(CHARTS)  # type: ignore[no-untyped-call]


def export_for_sb3(model: BaseAlgorithm, run: Run) -> None:
    """Write ``model.zip`` for users of plain SB3, whole or not at all."""
    buffer = io.BytesIO()
    model.save(buffer)
    write_atomically(run.path / "model.zip", buffer.getvalue())


def first_line(error: BaseException) -> str:
    """The first line of a message, for one-line errors."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
