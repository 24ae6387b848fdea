"""Settings of experiments that stable-baselines3 trains (``kind: sb3``); names and meanings are SB3's."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rl_suite.config import (
    Copies,
    Count,
    EvaluationSection,
    ExperimentConfig,
    NonNegative,
    Positive,
    Probability,
    Section,
)
from rl_suite.errors import UserError


class EnvSection(Section):
    """The world, by id, and how training, validation and test differ."""

    id: str
    """A Gymnasium id; ``"module:namespace/Name-v0"`` imports the module first."""
    kwargs: dict[str, Any]
    """Constructor arguments of the world."""
    train_kwargs: dict[str, Any]
    validation_kwargs: dict[str, Any]
    """Over ``kwargs`` while choosing the best checkpoint, such as ``split: validation``."""
    test_kwargs: dict[str, Any]
    """Over ``kwargs`` in the final evaluation."""
    n_envs: Copies
    max_episode_steps: Count | None
    info_keys: list[str]
    """Entries of ``info`` that training needs at every step, such as the components of a reward."""


class PolicySection(Section):
    """The policy: an SB3 alias, or any class by dotted name ``"module:Class"``."""

    name: str
    kwargs: dict[str, Any]


class NormalizeSection(Section):
    """SB3's VecNormalize: running mean and variance of observations and returns."""

    observation: bool
    reward: bool
    clip_observation: Positive
    clip_reward: Positive


class TrainSection(Section):
    """How long, and how often to look."""

    total_timesteps: Count
    evaluate_every: Count
    """Steps between evaluations on held-out tasks, which choose the best checkpoint."""
    checkpoint_every: Count
    """Steps between checkpoints; a killed run loses at most this much."""
    log_every: Count
    """Steps between log lines."""


class OnPolicySection(Section):
    """What A2C, PPO and TRPO share."""

    learning_rate: Positive
    final_learning_rate: NonNegative
    """Where the linear schedule ends; equal to ``learning_rate`` for a constant one."""
    n_steps: Count
    gamma: Probability
    gae_lambda: Probability


class PPOSection(OnPolicySection):
    """PPO (Schulman et al. 2017), MaskablePPO and RecurrentPPO."""

    batch_size: Annotated[int, Field(ge=2)]
    n_epochs: Count
    clip_range: Positive
    normalize_advantage: bool
    ent_coef: NonNegative
    vf_coef: NonNegative
    max_grad_norm: Positive
    target_kl: Positive | None


class A2CSection(OnPolicySection):
    """A2C (Mnih et al. 2016)."""

    ent_coef: NonNegative
    vf_coef: NonNegative
    max_grad_norm: Positive


class TRPOSection(OnPolicySection):
    """TRPO (Schulman et al. 2015)."""

    batch_size: Annotated[int, Field(ge=2)]
    target_kl: Positive


class ReplaySection(Section):
    """What all algorithms with a replay buffer share."""

    learning_rate: Positive
    buffer_size: Count
    learning_starts: Annotated[int, Field(ge=0)]
    batch_size: Count
    gamma: Probability
    train_freq: Count
    gradient_steps: Annotated[int, Field(ge=-1)]
    """Updates after every ``train_freq`` steps; -1 for as many as steps were taken."""


class DQNSection(ReplaySection):
    """DQN (Mnih et al. 2015)."""

    tau: Probability
    target_update_interval: Count
    exploration_fraction: Probability
    exploration_final_eps: Probability


class SACSection(ReplaySection):
    """SAC (Haarnoja et al. 2018)."""

    tau: Probability
    ent_coef: NonNegative | Literal["auto"]
    """Weight of the entropy; ``auto`` learns it."""


class TQCSection(SACSection):
    """TQC (Kuznetsov et al. 2020)."""

    top_quantiles_to_drop_per_net: Annotated[int, Field(ge=0)]


class CrossQSection(ReplaySection):
    """CrossQ (Bhatt et al. 2024): SAC without target networks."""

    ent_coef: NonNegative | Literal["auto"]
    policy_delay: Count


class TD3Section(ReplaySection):
    """TD3 (Fujimoto et al. 2018)."""

    tau: Probability
    policy_delay: Count
    target_policy_noise: NonNegative
    target_noise_clip: NonNegative
    action_noise: NonNegative
    """Standard deviation of the Gaussian noise on actions while it explores, on the scale of [-1, 1]."""


# algorithm -> the section with its settings
SECTIONS = {
    "ppo": "ppo",
    "maskable_ppo": "ppo",
    "recurrent_ppo": "ppo",
    "a2c": "a2c",
    "trpo": "trpo",
    "dqn": "dqn",
    "sac": "sac",
    "td3": "td3",
    "tqc": "tqc",
    "crossq": "crossq",
}


class SB3Config(ExperimentConfig):
    """An agent trained by stock stable-baselines3 or sb3-contrib."""

    length = "train.total_timesteps"

    kind: Literal["sb3"]
    algorithm: Literal["ppo", "a2c", "dqn", "maskable_ppo", "recurrent_ppo", "trpo", "sac", "td3", "tqc", "crossq"]
    env: EnvSection
    policy: PolicySection
    normalize: NormalizeSection
    train: TrainSection
    ppo: PPOSection
    a2c: A2CSection
    trpo: TRPOSection
    dqn: DQNSection
    sac: SACSection
    td3: TD3Section
    tqc: TQCSection
    crossq: CrossQSection
    evaluation: EvaluationSection

    def require_used(self, given: Mapping[str, Any]) -> None:
        """Refuse the settings of another algorithm."""
        read = SECTIONS[self.algorithm]
        for name in SECTIONS.values():
            if name in given and name != read:
                raise UserError(f"{name}: algorithm={self.algorithm} reads {read} instead")

    @property
    def settings(self) -> OnPolicySection | ReplaySection:
        """The section that the algorithm reads."""
        section: OnPolicySection | ReplaySection = getattr(self, SECTIONS[self.algorithm])
        return section

    @model_validator(mode="after")
    def _batches_fill_rollouts(self) -> "SB3Config":
        rollout = self.ppo.n_steps * self.env.n_envs
        if SECTIONS[self.algorithm] == "ppo" and rollout % self.ppo.batch_size:
            raise ValueError(
                f"ppo.batch_size must divide ppo.n_steps * env.n_envs = {rollout}, but it is {self.ppo.batch_size}"
            )
        return self
