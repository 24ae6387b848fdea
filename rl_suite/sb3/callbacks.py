"""What happens beside SB3's learning: logging, progress, checks, checkpoints, choosing the best."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rl_suite.errors import NonFiniteError
from rl_suite.finite import bad_row
from rl_suite.glimpses import TAG, Glimpses, Picture
from rl_suite.progress import ProgressBar
from rl_suite.run import Run
from rl_suite.sb3.config import TrainSection
from rl_suite.sb3.guard import FiniteGuard
from rl_suite.sb3.snapshot import snapshot


class RunWriter(TensorBoardOutputFormat):
    """SB3's logger writes into the run folder: everything to TensorBoard, numbers to metrics.jsonl too."""

    def __init__(self, run: Run):
        self.run, self.writer, self._is_closed = run, run.writer, False

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write one set of values."""
        super().write(key_values, key_excluded, step)
        numbers = {k: float(v) for k, v in key_values.items() if isinstance(v, int | float | np.number)}
        self.run.log_line(step, numbers)

    def close(self) -> None:
        """The run folder closes the writer."""


class CheckFinite(VecEnvWrapper):
    """Stop at the first NaN or infinite observation or reward, and say where it was.

    It stands inside ``VecNormalize``, whose running statistics one such value would poison for ever.
    """

    def __init__(self, venv: VecEnv):
        super().__init__(venv)
        self.steps = 0

    def reset(self) -> VecEnvObs:
        """Check the first observations."""
        observations = self.venv.reset()
        self._check("observation", observations)
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Check what came back from one step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self.steps += 1
        self._check("observation", observations)
        self._check("reward", rewards)
        for row in np.flatnonzero(dones):
            last = infos[row].get("terminal_observation")  # the value of a truncated episode is taken from it
            if last is not None and bad_row(last_of(last)) is not None:
                self._complain("terminal observation", int(row))
        return observations, rewards, dones, infos

    def _check(self, name: str, value: Any) -> None:
        found = bad_row(value)
        if found is not None:
            self._complain(f"{name}{found[0]}", found[1])

    def _complain(self, name: str, row: int) -> None:
        raise NonFiniteError(
            f"{name} of environment {row} is not finite at step {self.steps} of this process: "
            "mend the world, or start from an earlier checkpoint"
        )


def last_of(observation: Any) -> Any:
    """One observation as a batch of one."""
    if isinstance(observation, dict):
        return {key: np.asarray(item)[None] for key, item in observation.items()}
    return np.asarray(observation)[None]


class RunCallback(BaseCallback):
    """At the start of a rollout, which is the safe point: check, log, evaluate, save, stop.

    Args:
        run: where everything goes.
        settings: how often.
        evaluate: returns the mean return on validation tasks (higher is better), without touching
            the global random states.
        progress: shows the steps done.
        look: returns a picture of the agent at work, or None, as ``evaluate`` without touching anything.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainSection,
        evaluate: Callable[[], float],
        progress: ProgressBar,
        look: Callable[[], Picture | None] = lambda: None,
    ):
        super().__init__()
        self.run, self.settings, self.evaluate, self.progress, self.look = run, settings, evaluate, progress, look
        self._glimpses = Glimpses(settings.total_timesteps, settings.evaluate_every)
        self.best = -math.inf
        self.stopped = False
        self._next_log = settings.log_every
        self._next_evaluation = settings.evaluate_every
        self._next_checkpoint = settings.checkpoint_every

    def get_state(self) -> dict[str, Any]:
        """What a resumed run must know: the best score, and when things are due."""
        return {name: getattr(self, name) for name in ("best", "_next_log", "_next_evaluation", "_next_checkpoint")}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`get_state` returned."""
        for name in self.get_state():
            setattr(self, name, state[name])

    def save(self) -> None:
        """Write a numbered checkpoint; never of parameters that are not finite."""
        self._check_parameters()
        self.run.save(self.num_timesteps, {"sb3": snapshot(self.model), "callback": self.get_state()})

    def evaluate_and_keep_best(self) -> None:
        """Evaluate on validation tasks; keep the parameters if they are the best so far."""
        self._check_parameters()
        score = self.evaluate()
        self.run.log(self.num_timesteps, {"eval/mean_reward": score})
        if self._glimpses.due(self.num_timesteps) and (picture := self.look()) is not None:
            self.run.show(self.num_timesteps, f"{TAG}/episode", picture)
        if score > self.best:
            self.best = score
            self.run.save_best({"sb3": snapshot(self.model), "callback": self.get_state()})

    def _on_training_start(self) -> None:
        self.num_timesteps = self.model.num_timesteps
        self._check_parameters()

    def _on_rollout_start(self) -> None:
        step = self.model.num_timesteps
        self._check_losses()
        self._check_parameters()
        if step >= self._next_log:
            self._next_log = _next_due(step, self.settings.log_every)
            self.model.dump_logs()
        if step >= self._next_evaluation:
            self._next_evaluation = _next_due(step, self.settings.evaluate_every)
            self.evaluate_and_keep_best()
        if step >= self._next_checkpoint or self.run.stop_requested:
            self._next_checkpoint = _next_due(step, self.settings.checkpoint_every)
            self.save()
            self.stopped = self.run.stop_requested

    def _on_step(self) -> bool:
        episodes = self.model.ep_info_buffer
        figures = {"return": float(np.mean([episode["r"] for episode in episodes]))} if episodes else {}
        self.progress.update(self.num_timesteps, **figures)
        return not self.stopped

    def _check_losses(self) -> None:
        for name, value in self.logger.name_to_value.items():
            if name.startswith("train/") and isinstance(value, float | np.floating) and not math.isfinite(value):
                if name == "train/explained_variance":  # undefined where all returns are equal
                    continue
                raise NonFiniteError(f"{name} is {value} at step {self.num_timesteps}: lower the learning rate")

    def _check_parameters(self) -> None:
        FiniteGuard(self.model).check_parameters()


def _next_due(step: int, every: int) -> int:
    return (step // every + 1) * every
