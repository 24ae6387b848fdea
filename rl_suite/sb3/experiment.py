"""Train an agent with stock stable-baselines3: world, model, callbacks, learn, evaluate."""

import math
from functools import partial
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HParam, Logger

from rl_suite.checkpoint import Saved
from rl_suite.cli import show
from rl_suite.errors import UserError
from rl_suite.meta_learning.metrics import parameter_efficiency, sample_efficiency
from rl_suite.progress import ProgressBar
from rl_suite.rehearsal import rehearsed
from rl_suite.run import Run
from rl_suite.sb3.build import build_env, build_model, first_line
from rl_suite.sb3.callbacks import RunCallback, RunWriter
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.encodings import project
from rl_suite.sb3.evaluation import picture_of_episode, report_final, validation_score
from rl_suite.sb3.exported import export_for_sb3
from rl_suite.sb3.guard import FiniteGuard
from rl_suite.sb3.sizes import shrink
from rl_suite.sb3.snapshot import restore
from rl_suite.sb3.watch import model_names, watchers
from rl_suite.seeding import seed_everything
from rl_suite.viz.curves import read_metrics


@rehearsed(shrink)
def train(config: SB3Config, run: Run) -> None:
    """Train to ``train.total_timesteps``, from the last checkpoint if there is one, and evaluate."""
    seed_everything(config.seed)
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model = build_model(config, env)
    run.record_models(model_names(model))
    saved = run.checkpoints.read_latest()
    with ProgressBar(config.experiment, config.train.total_timesteps) as progress:
        look = partial(picture_of_episode, config, model)
        callback = RunCallback(run, config.train, lambda: validation_score(config, model), progress, look)
        if saved is not None:
            resume(model, callback, saved)
        run.go_on_from(saved)
        model.set_logger(Logger(str(run.path), [RunWriter(run)]))
        if saved is None:
            describe(config, model)
        remaining = config.train.total_timesteps - model.num_timesteps
        if remaining > 0:
            never = remaining + 1  # the callback decides when to log
            callbacks = [callback, *watchers(config, model)]
            with FiniteGuard(model):
                model.learn(remaining, callbacks, log_interval=never, reset_num_timesteps=False)
            if callback.stopped:
                run.finish("stopped")
                return
            model.dump_logs()
            callback.evaluate_and_keep_best()
            callback.save()
    run.log(model.num_timesteps, measures(model, run))
    export_for_sb3(model, run)
    env.close()
    for table in report_final(config, run).tables():
        show(table)
    project(config, run)
    run.finish("complete")


def resume(model: BaseAlgorithm, callback: RunCallback, saved: Saved) -> None:
    """Put a checkpoint into ``model`` and ``callback``; one of another world or policy is refused."""
    try:
        continued = restore(model, saved.content["sb3"])
        callback.set_state(saved.content["callback"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(f"{saved.path}: does not fit this world and policy: {first_line(error)}") from None
    if not continued:
        show("this environment has no get_state: training goes on in new episodes, not with the same bits")


def measures(model: BaseAlgorithm, run: Run) -> dict[str, float]:
    """The share of the policy that was trained, and its validation return over the logarithm of the steps it took."""
    found = {"meta/parameter_efficiency": parameter_efficiency(model.policy)}
    steps, values = read_metrics(run.path / "metrics.jsonl").get("eval/mean_reward", (np.zeros(0), np.zeros(0)))
    if len(steps) > 1 and (np.diff(steps) > 0).all() and steps[0] > 0:
        found["meta/sample_efficiency"] = sample_efficiency(steps, values)
    return found


def describe(config: SB3Config, model: BaseAlgorithm) -> None:
    """Write the hyperparameters to TensorBoard, once per run."""
    values: dict[str, Any] = {
        "algorithm": config.algorithm,
        "env": config.env.id,
        "policy": config.policy.name,
        "seed": config.seed,
    }
    if names := model_names(model):
        values["models"] = ", ".join(names)
    values |= {key: value for key, value in config.settings.model_dump().items() if value is not None}
    metrics = {"eval/mean_reward": math.nan, "rollout/ep_rew_mean": math.nan}
    model.logger.record("hparams", HParam(values, metrics))
