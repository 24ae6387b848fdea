"""Learning histories of stable-baselines3's PPO: one learner per task, one history per copy of the environment."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from envs.batch import BatchEnv
from rl_suite.distillation.config import SourceSection
from rl_suite.distillation.histories import Histories, compact, join
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.vec_env import SB3VecEnv


class Recorder(BaseCallback):
    """Writes down every step of every copy, until each copy has ``length`` steps."""

    def __init__(self, length: int):
        super().__init__()
        self.length = length
        self.steps: list[tuple[NDArray[Any], ...]] = []

    def _on_step(self) -> bool:
        if len(self.steps) < self.length:
            values = self.locals
            after = np.asarray(values["new_obs"]).copy()
            early = [not info.get("TimeLimit.truncated", False) for info in values["infos"]]
            if (values["dones"] & np.array(early)).any():
                raise UserError("learning histories need episodes of one length: this world terminates")
            for row in np.flatnonzero(values["dones"]):  # new_obs is already the reset
                after[row] = values["infos"][row]["terminal_observation"]
            before = np.asarray(self.model._last_obs)  # type: ignore[attr-defined]
            self.steps.append((before.copy(), np.array(values["actions"]), np.array(values["rewards"]), after))
        return len(self.steps) < self.length


def ppo_histories(family: TaskFamily, section: SourceSection, n: int, rng: np.random.Generator) -> Histories:
    """``n`` histories of ``section.episodes`` episodes: PPO learns one training task after the other.

    The label is the action taken. Costly: some thousand steps per second.
    """
    settings, parts = section.ppo, []
    length = section.episodes * family.episode_steps
    tasks = family.tasks("train")
    for done in range(0, n, settings.streams):
        copies = min(settings.streams, n - done)
        task = int(tasks.choose(rng, 1)[0])
        options = {**family.options, "tasks": [task]}
        env = SB3VecEnv(
            BatchEnv(family.world, num_envs=copies, max_episode_steps=family.episode_steps, **options)  # type: ignore[arg-type]
        )
        seed = int(rng.integers(2**31))
        env.seed(seed)
        recorder = Recorder(length)
        values = settings.model_dump(exclude={"streams"})
        PPO("MlpPolicy", env, seed=seed, device="cpu", verbose=0, **values).learn(length * copies, recorder)
        parts.append(_histories(recorder, task, copies, family.episode_steps))
    return join(parts)


def _histories(recorder: Recorder, task: int, copies: int, episode_steps: int) -> Histories:
    before, actions, rewards, after = (np.stack(column, axis=1) for column in zip(*recorder.steps, strict=True))
    length = actions.shape[1]
    first = np.zeros((copies, length), dtype=np.bool_)
    first[:, ::episode_steps] = True
    seen = compact(before.reshape(copies, length, -1))
    seen_next = compact(after.reshape(copies, length, -1))
    labels = actions.astype(np.int16)
    tasks = np.full(copies, task, dtype=np.int64)
    return Histories(seen, compact(actions), rewards.astype(np.float32), seen_next, first, labels, tasks)
