"""Settings of the continual problems. This module imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rl_suite.config import Count, NonNegative, Positive, Probability, Section, Seed
from rl_suite.sb3.config import PPOSection

SequenceName = Literal["permuted", "split_task", "split_domain", "split_class"]
SeveralTasks = Annotated[int, Field(ge=2)]


class StrategySection(Section):
    """What the strategies against forgetting can be told; each reads its own."""

    buffer_size: Count
    """Examples that "replay" and "gdumb" may keep, of all tasks together."""
    policy: Literal["reservoir", "ring", "balanced", "priority"]
    """Which examples "replay" keeps."""
    memory_passes: Count
    """Of "gdumb" over its memory, per epoch."""
    ewc_lambda: NonNegative
    fisher_samples: Count | None
    """Examples of a task that the Fisher information is taken from; null: all."""
    decay: Probability
    """Of the running importance of "online_ewc"."""
    si_strength: NonNegative
    damping: Positive
    """Of "si", against division by small movements."""
    temperature: Positive
    """Of "lwf"."""


class ContinualSection(Section):
    """Sequences of classification tasks, taught to one network per strategy."""

    data: Literal["digits", "mnist"]
    """"mnist" is read from the folder that RL_SUITE_DATA names."""
    sequences: Annotated[list[SequenceName], Field(min_length=1)]
    tasks: SeveralTasks
    """Tasks of a sequence; the classes must divide evenly among them."""
    repeats: Count
    """Seeds (of network, order of classes, permutations, memory) that every figure is averaged over."""
    hidden: list[Count]
    """Units of the hidden layers."""
    epochs: Count
    """Passes over a task's examples."""
    batch_size: Count
    learning_rate: Positive
    """Of Adam; within each task it falls linearly over the epochs."""
    strategies: StrategySection
    per_sequence: dict[SequenceName, dict[str, Any]]
    """Settings of strategies that hold in one kind of sequence only."""

    @model_validator(mode="after")
    def _overrides_fit(self) -> "ContinualSection":
        for name, settings in self.per_sequence.items():
            unknown = sorted(set(settings) - set(StrategySection.model_fields))
            if unknown:
                raise ValueError(f"per_sequence.{name}.{unknown[0]}: no such setting of a strategy")
            self.strategies_of(name)
        return self

    def strategies_of(self, name: SequenceName) -> StrategySection:
        """The strategies' settings in one kind of sequence."""
        own = {**self.strategies.model_dump(), **self.per_sequence.get(name, {})}
        return StrategySection.model_validate(own)


class WorldSection(Section):
    """One world of a sequence."""

    name: str
    kwargs: dict[str, Any]
    """Constructor arguments of the world, over those that all worlds share."""


class WorldPolicySection(Section):
    """The policy: an SB3 alias, and its arguments."""

    name: str
    kwargs: dict[str, Any]


class ContinualWorldsSection(Section):
    """A sequence of worlds, taught to one policy per strategy by stock PPO."""

    id: str
    """A Gymnasium id whose actions are ``Discrete``."""
    kwargs: dict[str, Any]
    """Constructor arguments that all worlds of the sequence share."""
    worlds: Annotated[list[WorldSection], Field(min_length=2)]
    repeats: Count
    """Seeds that every figure is averaged over."""
    timesteps: Count
    """Environment steps in each world."""
    n_envs: Count
    policy: WorldPolicySection
    ppo: PPOSection
    buffer_size: Count
    """Observations that "replay" may keep, of all worlds together."""
    replay_batch: Count
    """Remembered observations per gradient step."""
    replay_strength: NonNegative
    """Of the divergence between then and now, beside PPO's loss."""
    ewc_lambda: NonNegative
    fisher_samples: Count | None
    """Observations of a world that the Fisher information is taken from; null: all of the last rollout."""
    test_tasks: Count
    test_episodes: Count
    """Of each task, in each world after each world."""
    test_seed: Seed
    """First seed of the test episodes; training never uses it."""

    @model_validator(mode="after")
    def _batches_fill_rollouts(self) -> "ContinualWorldsSection":
        rollout = self.ppo.n_steps * self.n_envs
        if rollout % self.ppo.batch_size:
            raise ValueError(f"ppo.batch_size must divide ppo.n_steps * n_envs = {rollout}, not {self.ppo.batch_size}")
        if self.n_envs < len(self.worlds):
            raise ValueError(f"n_envs must be at least the number of worlds, {len(self.worlds)}")
        return self
