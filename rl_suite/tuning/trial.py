"""One trial: PPO with some settings on the world, and what it is worth on validation tasks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.evaluation.statistics import mean
from rl_suite.rehearsal import changed
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import as_agent, evaluation_spec, validation_score
from rl_suite.sb3.guard import FiniteGuard
from rl_suite.seeding import seed_everything
from rl_suite.sweeps.contract import InterruptedJobError
from rl_suite.tuning.config import TuningConfig

Stop = Callable[[], bool]
"""Whether somebody asked to stop."""


def go_on() -> bool:
    """Nobody did."""
    return False


def with_settings(config: SB3Config, params: Mapping[str, Any]) -> SB3Config:
    """The experiment with some settings of PPO.

    ``learning_rate`` keeps the form of its schedule: where it ended at the rate it began with, it still does.
    ``batch_size`` becomes the largest divisor of a rollout that is not above it.
    """
    ppo = dict(params)
    if "learning_rate" in ppo and "final_learning_rate" not in ppo:
        share = config.ppo.final_learning_rate / config.ppo.learning_rate
        ppo["final_learning_rate"] = share * ppo["learning_rate"]
    whole = {name: int(value) for name, value in ppo.items() if name in ("n_steps", "batch_size", "n_epochs")}
    ppo |= whole
    rollout = ppo.get("n_steps", config.ppo.n_steps) * config.env.n_envs
    wanted = min(ppo.get("batch_size", config.ppo.batch_size), rollout)
    ppo["batch_size"] = next(size for size in range(wanted, 0, -1) if rollout % size == 0)
    return changed(config, {f"ppo.{name}": value for name, value in ppo.items()})


def own_settings(config: TuningConfig) -> dict[str, Any]:
    """What the experiment sets by itself of what is searched; of a range or choices that leave it out, the nearest."""
    found: dict[str, Any] = {}
    for name, section in config.tuning.space.items():
        value = getattr(config.ppo, name)
        if section.choices is not None:
            found[name] = min(section.choices, key=lambda choice: abs(float(choice) - float(value or 0)))
        else:
            low, high = section.plain()[:2]
            found[name] = min(max(float(value or 0), low), high)
    return found


class LearnUntil(BaseCallback):
    """Ends learning when it is asked to stop."""

    def __init__(self, stop: Stop):
        super().__init__()
        self.stop = stop

    def _on_step(self) -> bool:
        return not self.stop()


def learn_in_parts(config: SB3Config, stop: Stop, total: int, parts: int) -> Iterator[BaseAlgorithm]:
    """The model after each part of a training, whose schedules run over the whole.

    Raises:
        InterruptedJobError: it was asked to stop.
    """
    seed_everything(config.seed)
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model = build_model(config, env)
    rate = model.lr_schedule
    model.lr_schedule = lambda _: rate(max(0.0, 1 - model.num_timesteps / total))
    try:
        with FiniteGuard(model):
            for part in range(1, parts + 1):
                steps = total * part // parts - model.num_timesteps
                if steps > 0:
                    model.learn(steps, LearnUntil(stop), reset_num_timesteps=False)
                if stop():
                    raise InterruptedJobError
                yield model
    finally:
        env.close()


def trial(params: Mapping[str, Any], config: TuningConfig, stop: Stop = go_on) -> Iterator[float]:
    """Mean return on validation tasks after each part of a trial's training."""
    settings = with_settings(config.base(), params)
    for model in learn_in_parts(settings, stop, config.tuning.total_timesteps, config.tuning.looks):
        yield validation_score(settings, model)


def held_out_return(case: tuple[Mapping[str, Any], int], config: TuningConfig, stop: Stop = go_on) -> float:
    """Mean return on test tasks after the experiment's whole training with some settings and a seed."""
    params, seed = case
    settings = with_settings(config.base(), params).model_copy(update={"seed": seed})
    for model in learn_in_parts(settings, stop, settings.train.total_timesteps, 1):
        found = evaluate_agent(as_agent(model), evaluation_spec(settings, settings.env.test_kwargs))
    return float(mean(found.returns))
