"""``experiment=continual_rooms``: a policy learns one world after the other with stock PPO, and forgets or not."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec, preserved_random_state
from rl_suite.evaluation.rollouts import play
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.continual.config import ContinualWorldsSection
from rl_suite.meta_learning.continual.joined import JoinedVecEnv
from rl_suite.meta_learning.continual.lessons.plan import Cell, Lessons
from rl_suite.meta_learning.continual.lessons.session import LessonsSession, chosen
from rl_suite.meta_learning.continual.policies import PolicyEWC, PolicyMemory, PolicyReplay, add_to_gradients
from rl_suite.sb3.build import find_policy, first_line, import_names
from rl_suite.vec_env import make_vec_env

STRATEGIES = ["naive", "ewc", "replay", "joint"]
SEQUENCE = "worlds"
OPTIMUM = "optimal_return"  # in an episode's last info: the most that could have been earned
NOTE = "The observation tells the goal, so that one policy can act in all worlds. Joint: all worlds so far at once."


class WorldPupil:
    """A policy that is taught one world after the other; before each world PPO begins afresh around it."""

    def __init__(self, cell: Cell, section: ContinualWorldsSection, seed: int, device: str):
        self.strategy, self.section, self.device = cell.strategy, section, device
        self.seed = int(np.random.SeedSequence((seed, cell.repeat)).generate_state(1)[0] // 2)
        self.taught = 0
        with closing(self._worlds([0])) as env:
            self.model = self._algorithm(env, 0)
        self._first = {name: value.clone() for name, value in self.model.policy.state_dict().items()}
        self.memory = self._memory()

    def measure(self) -> list[float]:
        """In every world the share of the optimal return that deterministic actions earn in test episodes.

        Worlds that do not know their optimum: the mean return.
        """
        return [self._score(index) for index in range(len(self.section.worlds))]

    def teach(self, task: int) -> float:
        """Train in one world (jointly: from scratch in all worlds so far) and remember it."""
        joint = self.strategy == "joint"
        worlds = list(range(task + 1)) if joint else [task]
        with closing(self._worlds(worlds)) as env:
            before = self._first if joint else self.model.policy.state_dict()
            remembered = None if self.memory is None else self.memory.state_dict()
            self.model = self._algorithm(env, task)
            self.model.policy.load_state_dict(before)
            self.memory = self._memory()
            if self.memory is not None and remembered is not None:
                self.memory.load_state_dict(remembered)
                add_to_gradients(self.model.policy.optimizer, self.memory.penalty)
            self.model.learn(self.section.timesteps * len(worlds))
            if self.memory is not None:
                shape: Any = self.model.observation_space.shape
                self.memory.consolidate(self.model.rollout_buffer.observations.reshape(-1, *shape))
        self.taught = task + 1
        return float(self.model.logger.name_to_value["train/loss"])

    def state_dict(self) -> dict[str, Any]:
        """The policy and what is remembered."""
        memory = None if self.memory is None else self.memory.state_dict()
        return {**self.knowledge(), "memory": memory, "taught": self.taught}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.remember(state)
        self.taught = int(state["taught"])
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])

    def knowledge(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": self.model.policy.state_dict()}

    def remember(self, knowledge: Mapping[str, Any]) -> None:
        """Act as the policy that gave this knowledge."""
        self.model.policy.load_state_dict(knowledge["policy"])

    def _worlds(self, indices: list[int]) -> VecEnv:
        section = self.section
        copies = [len(part) for part in np.array_split(np.arange(section.n_envs), len(indices))]
        try:
            parts = [
                make_vec_env(section.id, count, **{**section.kwargs, **section.worlds[index].kwargs})
                for index, count in zip(indices, copies, strict=True)
            ]
            return VecMonitor(parts[0] if len(parts) == 1 else JoinedVecEnv(parts))
        except (gym.error.Error, ValueError, TypeError, AttributeError, ImportError) as error:
            raise UserError(f"continual_worlds.id={section.id}: {first_line(error)}") from None

    def _algorithm(self, env: VecEnv, task: int) -> PPO:
        settings = self.section.ppo.model_dump()
        start, end = settings.pop("learning_rate"), settings.pop("final_learning_rate")
        policy = self.section.policy
        model = PPO(
            find_policy(policy.name, PPO),
            env,
            learning_rate=LinearSchedule(start, end, 1.0),
            policy_kwargs=import_names(policy.kwargs),
            seed=(self.seed + task) % 2**31,
            device=self.device,
            **settings,
        )
        model.set_logger(Logger(None, []))
        return model

    def _memory(self) -> PolicyMemory | None:
        section, policy = self.section, self.model.policy
        if self.strategy == "ewc":
            return PolicyEWC(policy, section.ewc_lambda, section.fisher_samples)
        if self.strategy == "replay":
            sizes = section.buffer_size, section.replay_batch
            return PolicyReplay(policy, section.replay_strength, *sizes, self.seed)
        return None

    def _score(self, index: int) -> float:
        section = self.section
        spec = EvaluationSpec(
            section.id,
            {**section.kwargs, **section.worlds[index].kwargs},
            n_tasks=section.test_tasks,
            episodes_per_task=section.test_episodes,
            n_envs=section.n_envs,
            seed=section.test_seed,
        )
        with closing(spec.make()) as env, preserved_random_state(spec.seed):
            _, jobs = spec.plan(env)
            episodes = play(self.model, env, jobs)
        optimum = episodes.last_infos.get(OPTIMUM)
        return float(episodes.returns.mean() if optimum is None else episodes.returns.sum() / optimum.sum())


def build(config: MetaLearningConfig) -> LessonsSession:
    """The session that ``meta_learning.continual_worlds`` describes."""
    section = config.meta_learning.continual_worlds
    cells = [
        Cell(SEQUENCE, strategy, repeat)
        for strategy in chosen(config.meta_learning.learner, STRATEGIES)
        for repeat in range(section.repeats)
    ]
    device = config.device
    make = partial(_make, section=section, seed=config.seed, device=device)
    names = ", ".join(world.name for world in section.worlds)
    settings = section.model_dump(mode="json", exclude={"worlds", "ppo", "policy", "kwargs"}) | {"worlds": names}
    lessons = Lessons(cells, len(section.worlds))
    note = f"Worlds: {names}. {NOTE}"
    return LessonsSession(section.id, "share of optimum", lessons, make, settings, {SEQUENCE: note})


def _make(cell: Cell, section: ContinualWorldsSection, seed: int, device: str) -> WorldPupil:
    return WorldPupil(cell, section, seed, device)
