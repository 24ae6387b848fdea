"""Settings of meta-reinforcement learning (``kind: meta_rl``). This module imports no torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rl_suite.config import Count, ExperimentConfig, NonNegative, Positive, Probability, Section, Seed

Whole = Annotated[int, Field(ge=0)]
Width = Annotated[int, Field(ge=2, le=1024)]
Order = Literal["second", "first", "anil", "reptile"]
"""How the outer gradient sees the inner steps: through them ("second", Finn et al. 2017), as constants ("first"),
through steps of the heads alone ("anil", Raghu et al. 2020), or as the way that the inner steps went
("reptile", Nichol et al. 2018)."""


class MetaTrainingSection(Section):
    """MAML over a world: how a policy is adapted to a task, and how it learns to be adapted.

    The numbers here are those of the quick start; experiments in config.yaml say where they differ.
    """

    meta_lr: Positive = 3e-4
    """Of Adam, in the outer loop."""
    adaptation_lr: Positive = 0.01
    """Of gradient descent, in the inner loop."""
    adaptation_steps: Whole = 5
    """Inner steps. 0: the policy is trained jointly on all tasks."""
    tasks_per_batch: Count = 10
    support_episodes: Count = 10
    """Episodes of one inner step."""
    query_episodes: Count = 10
    """Episodes of the adapted policy, on which the outer loss is taken."""
    order: Order = "first"
    resample_support: bool = True
    """Every inner step plays episodes of its own, with the policy as it is then; otherwise all steps share the first
    ones, weighted by importance."""
    inner_objective: Literal["policy_gradient", "elite"] = "policy_gradient"
    """What inner steps descend: the policy gradient, or the likelihood of the best episodes (cross-entropy method)."""
    elite_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the episodes that counts as best (``elite`` only)."""
    adaptation_clip: Positive | None = 1.0
    """Largest norm of an inner gradient."""
    meta_clip: Positive | None = 1.0
    """Largest norm of the outer gradient."""
    gradient_checkpointing: bool = False
    """Second order: forget the graph of every inner step and compute it again, for less memory and more time."""
    gamma: Probability = 0.99

    hidden_dim: Width = 256
    num_attention_heads: Count = 4
    fusion_type: Literal["attention", "gating", "bilinear"] = "attention"
    use_hierarchical_encoding: bool = True
    weighting: Literal["learned", "uniform"] = "learned"
    """"uniform" looks at everything alike: the control for what attention is worth."""
    context_trajectories: Whole = 3
    """Last support episodes that the policy is shown as its task. 0: it never sees the task."""
    context_steps: Count = 50
    """First steps of each of them."""

    policy_loss_weight: NonNegative = 1.0
    value_loss_weight: NonNegative = 0.5
    """Mean squared error over the mean square of the returns."""
    complexity_loss_weight: NonNegative = 0.1
    """Of the finished expression, as a share of the largest there can be; worlds without expressions have none."""
    convergence_loss_weight: NonNegative = 0.1
    """Of the steps that are left, as a share of the most there can be."""
    attention_entropy_weight: NonNegative = 0.01
    """Of the attention's entropy over its largest value: more of it makes the policy look at fewer places."""

    save_attention_maps: bool = True
    attention_save_interval: Count = 100
    """Outer steps between attention maps."""


class EnhancedMetaLearningConfig(MetaTrainingSection):
    """What :class:`rl_suite.meta_rl.trainer.EnhancedMAMLTrainer` takes; the rest has the numbers of the quick start.

    >>> EnhancedMetaLearningConfig(meta_lr=1e-3, fusion_type="gating").adaptation_steps
    5
    """

    meta_iterations: Count = 1000
    """Outer steps of ``train()`` that is not told how many."""
    log_dir: Path = Path("enhanced_meta_logs")
    """TensorBoard events, and ``attention_maps/``."""
    device: str = "cpu"
    seed: Seed = 0


class WorldSection(Section):
    """The world and its tasks."""

    id: str
    """A Gymnasium id of a world with numbered tasks, parted into train, validation and test; or
    ``rl_suite/SymbolicRegression-v0``, whose tasks are the laws of a collection."""
    kwargs: dict[str, Any]
    """Constructor arguments of the world."""
    collection: Literal["classic", "large"]
    """Of laws, see ``envs.symbolic.PhysicsTaskDistribution``."""
    noise: bool
    """Whether the laws' data are as noisy as the collection says."""
    points: Annotated[int, Field(ge=2)]
    """Rows of each law's data."""


class LoopSection(Section):
    """How long, and how often to look."""

    iterations: Count
    """Outer steps."""
    log_every: Count
    validate_every: Count
    checkpoint_every: Count
    validation_tasks: Count
    """Tasks of one look while training."""
    test_tasks: Count
    """Held-out tasks of the final evaluation; all, where there are not so many."""
    test_episodes: Count
    """Episodes of every task that are counted."""
    test_steps: tuple[Whole, ...]
    """Inner steps after which success is counted, such as [0, 1, 3, 5]."""


class PretrainingSection(Section):
    """Supervised learning on sampled laws, before meta-training."""

    laws: Whole
    """Laws that are sampled. 0: none, which leaves pre-training out."""
    seconds: NonNegative
    """CPU seconds after which it ends at the latest."""


class MetaRLSection(Section):
    """A world, pre-training and MAML."""

    world: WorldSection
    pretraining: PretrainingSection
    maml: MetaTrainingSection
    loop: LoopSection


class MetaRLConfig(ExperimentConfig):
    """Settings of ``kind: meta_rl``."""

    kind: Literal["meta_rl"]
    meta_rl: MetaRLSection
