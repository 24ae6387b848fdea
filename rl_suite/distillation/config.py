"""Settings of Algorithm Distillation (``kind: distillation``): histories, model, training, acting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from rl_suite.config import Count, EvaluationSection, ExperimentConfig, NonNegative, Positive, Probability, Section
from rl_suite.errors import UserError

BelowOne = Annotated[float, Field(ge=0, lt=1)]


class WorldSection(Section):
    """The family of tasks."""

    id: str
    """A registered world with numbered tasks, such as ``rl_suite/DarkRoom-v0``."""
    options: dict[str, Any]
    """Constructor arguments of the world."""


class ExplorerSection(Section):
    """See ``rl_suite.distillation.sources.explorer.Explorer``."""

    memory: Count
    noise: Probability
    forget: Probability


class SweeperSection(Section):
    """See ``rl_suite.distillation.sources.explorer.Sweeper``."""

    noise: Probability
    detours: Probability
    episode_steps: Count
    """Steps of each path, at most those of an episode."""


class QLearningSection(Section):
    """See ``agents.tabular.QLearning``."""

    noise: Probability
    """Of a random action in the histories, unlike epsilon at all times, so that labels show how to recover."""

    learning_rate: Probability
    gamma: Probability
    initial_value: NonNegative
    epsilon: Probability
    epsilon_episodes: Count


class UCBSection(Section):
    """See ``agents.tabular.UCB1``."""

    exploration: NonNegative


class ThompsonSection(Section):
    """See ``agents.tabular.ThompsonSampling``."""

    soft_draws: Annotated[int, Field(ge=0)]
    """Posterior draws behind each soft label; 0 labels with the pulled arm."""


class NoisyExpertSection(Section):
    """See ``rl_suite.distillation.sources.sources.NoisyExpert``."""

    first_noise: Probability
    last_noise: Probability
    fraction: Probability


class StreamsSection(Section):
    """SB3's PPO on one task at a time; every copy of the environment is a stream and becomes a history."""

    streams: Count
    n_steps: Count
    batch_size: Count
    n_epochs: Count
    learning_rate: Positive
    gamma: Probability
    ent_coef: NonNegative


SourceName = Literal["explorer", "sweeper", "q_learning", "ucb", "thompson", "expert", "noisy_expert", "ppo"]


class SourceSection(Section):
    """Who writes the learning histories, and how many."""

    folder: Path | None = None
    """Histories of your own in the format of ``rl_suite.distillation.histories``; they replace everything that this
    section says. The doctor must find no problem in them."""
    name: SourceName
    histories: Count
    shard_size: Count
    """Histories of one file."""
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """That make shards at the same time; the histories do not depend on it."""
    episodes: Count
    """Episodes of each history, before ``keep_every`` thins them out."""
    keep_every: Count
    """Keep every k-th episode: the student learns in fewer episodes than its source."""
    silent: BelowOne
    """Fraction of the histories in which no reward ever comes."""
    labels: Literal["intended", "behaviour", "optimal"]
    """What is imitated: what the source meant (or believed best), what it did, or what an oracle would do (DPT)."""
    explorer: ExplorerSection
    sweeper: SweeperSection
    q_learning: QLearningSection
    ucb: UCBSection
    thompson: ThompsonSection
    noisy_expert: NoisyExpertSection
    ppo: StreamsSection


class ModelSection(Section):
    """See ``agents.in_context.model.InContextModel``."""

    width: Count
    n_layers: Count
    n_heads: Count
    feedforward: Count
    positions: Literal["rotary", "none"]
    layout: Literal["history", "decisions"]
    count_rewards: bool
    count_episodes: Annotated[int, Field(ge=0)]
    """Episodes of a trial that the agent tells apart; 0: it does not count them."""


class FitSection(Section):
    """Supervised training on windows of histories."""

    steps: Count
    batch_size: Count
    """Windows of one optimizer step."""
    accumulate: Count
    """Parts in which a batch is computed, to save memory."""
    window: Annotated[int, Field(ge=2)]
    """Steps of a window: the context length."""
    from_start: Probability
    """Fraction of the windows that begin with the history."""
    permute_actions: bool
    """Rename the actions of every window at random; right for bandits, wrong where actions have a meaning."""
    shuffle: bool
    """Deal the steps of every window anew (DPT: layout=decisions with labels=optimal)."""
    learning_rate: Positive
    final_learning_rate: NonNegative
    warmup: Annotated[int, Field(ge=0)]
    """Steps of linear warm-up, before the cosine."""
    beta1: BelowOne
    beta2: BelowOne
    weight_decay: NonNegative
    max_grad_norm: Positive
    bfloat16: bool
    """Compute in bfloat16 where that is safe; it helps on GPUs, not on CPUs with small models."""
    log_every: Count
    validate_every: Count
    checkpoint_every: Count


class ActingSection(Section):
    """The in-context agent at work."""

    mode: Literal["ring", "re_encode"]
    window: Count
    """Tokens that it remembers; the training window is what it has practised."""
    temperatures: Annotated[list[Positive], Field(min_length=1)]
    """Tried on training tasks; the best one is used."""
    temperature_trials: Count
    """Trials of each temperature."""


class TrialsSection(Section):
    """Trials: how long, and against whom. How many of them stands in ``evaluation``."""

    episodes: Count
    """Episodes of one trial; the agent's memory lives as long."""
    validation_episodes: Count
    """Episodes of the trials on validation tasks while training."""
    validation_trials: Count
    baselines: list[Literal["source", "ucb1", "thompson", "q_learning"]]
    """Who plays the same trials, besides random and oracle."""


class DistillationSection(Section):
    """One experiment of Algorithm Distillation."""

    world: WorldSection
    source: SourceSection
    model: ModelSection
    fit: FitSection
    acting: ActingSection
    trials: TrialsSection

    @model_validator(mode="after")
    def _layout_fits(self) -> "DistillationSection":
        if self.model.layout == "decisions" and self.model.positions != "none":
            raise ValueError("model.layout=decisions needs model.positions=none")
        if self.model.layout == "decisions" and (self.model.count_rewards or self.model.count_episodes):
            raise ValueError("model.count_rewards and count_episodes do nothing with model.layout=decisions")
        if self.fit.shuffle and self.model.layout != "decisions":
            raise ValueError("fit.shuffle needs model.layout=decisions: a history has an order")
        if self.source.name == "ppo" and (self.source.silent or self.source.labels == "optimal"):
            raise ValueError("source.name=ppo knows neither silent histories nor labels=optimal")
        if self.fit.batch_size % self.fit.accumulate:
            raise ValueError("fit.batch_size must be a multiple of fit.accumulate")
        return self


class DistillationConfig(ExperimentConfig):
    """Settings of ``kind: distillation``."""

    length = "distillation.fit.steps"

    distillation: DistillationSection
    evaluation: EvaluationSection
    """An "episode" here is a trial: ``episodes_per_task`` trials are played on each held-out task."""

    @property
    def trained_alone(self) -> None:
        """Nothing says so."""

    def require_used(self, given: Mapping[str, Any]) -> None:
        """Refuse settings of sources that neither write the histories nor play beside the agent."""
        source = self.distillation.source
        told = given.get("distillation", {}).get("source", {})
        players = {"source": source.name, "q_learning": "q_learning"}
        used = {source.name, *(players.get(name) for name in self.distillation.trials.baselines)}
        for name in told:
            if name in get_args(SourceName) and name not in used:
                raise UserError(f"distillation.source.{name}: source.name={source.name} does not read it")
            if source.folder is not None and name != "folder":
                raise UserError(f"distillation.source.{name}: source.folder={source.folder} stands in its place")
