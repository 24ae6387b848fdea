"""Sections of the settings of supervised meta-learning. This module imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl_suite.config import Count, NonNegative, Positive, Probability, Section
from rl_suite.meta_learning.continual.config import ContinualSection, ContinualWorldsSection

Width = Annotated[int, Field(ge=1, le=1024)]  # channels; a run folder cannot ask for more memory than there is


class LoopSection(Section):
    """The outer loop: how long, how fast, how often it is looked at."""

    steps: Count
    """Outer steps."""
    tasks_per_step: Count
    """Tasks of one outer step."""
    outer_lr: Positive
    final_outer_lr: NonNegative
    """Learning rate of the outer optimizer at the end of its cosine."""
    warmup: Annotated[int, Field(ge=0)]
    """Outer steps of linear warm-up, before the cosine."""
    log_every: Count
    validate_every: Count
    checkpoint_every: Count
    validation_tasks: Count
    """Tasks of one look while training."""
    test_tasks: Count
    """Held-out tasks of the final evaluation."""

    @model_validator(mode="after")
    def _warm_up_fits(self) -> "LoopSection":
        if self.warmup >= self.steps:
            raise ValueError("warmup must be shorter than steps")
        return self


class GradientSection(Section):
    """Learners that adapt by gradients (``rl_suite.meta_learning.learners.build.GRADIENT_LEARNERS``)."""

    inner_lr: Positive
    """Where learned inner rates begin, and what fixed ones are."""
    inner_steps: Count
    """Inner steps of meta-training."""
    test_steps: Count
    """Inner steps at validation and test."""
    order: Literal["first", "second"]
    """Whether the outer gradient goes through the inner gradients; reptile has no choice."""
    batch_norm: Literal["batch", "support", "frozen", "per_step"]
    task_axis: Literal["auto", "loop", "threads", "vmap", "compile"]
    network: Literal["conv4", "wide", "dense"]
    """For pictures: the usual four equal blocks, the layers of the few-shot encoder
    (``few_shot.widths``), or two dense layers on pixels, which take a hundredth of the time."""
    norm: Literal["batch", "group", "none"]
    """For pictures: batch normalisation, whose policy is ``batch_norm``, group normalisation, or none."""
    width: Count
    """Channels of every block of conv4, units of every layer of dense."""
    down: Literal["pool", "stride"]
    """How conv4 halves the picture."""
    shared_head: bool
    """For pictures: all outputs begin alike, and only the support set tells classes apart (Ye and Chao 2022)."""
    gradient_clip: Positive | None
    """Largest norm of the meta-gradient."""
    inner_clip: Positive | None
    """Largest norm of an inner gradient."""
    anneal_steps: Count
    """Outer steps until the multi-step loss of maml_plus_plus is that of the last step."""
    measure: Literal["theil", "generalised_entropy", "atkinson", "gini", "variance_of_logarithms"]
    """Inequality of the initial losses (Jamal and Qi 2019)."""
    inequality: NonNegative
    """Weight of the inequality."""
    entropy: NonNegative
    """Weight of the entropy reduction; classification only."""


class SinusoidSection(Section):
    """Regression of ``A sin(x - phase)`` from few points (Finn et al. 2017, section 5.1)."""

    shots: Count
    """Points that are given."""
    queries: Count
    """Points of the same curve that are predicted."""


class JitterSection(Section):
    """How far every picture may be changed in training, to either side."""

    rotation: NonNegative
    """Degrees."""
    scale: NonNegative
    """Logarithm of the scale of each axis."""
    shear: NonNegative
    """Tangent of the slant."""
    shift: NonNegative
    """Fraction of the picture's size."""
    elastic: NonNegative
    """Largest bend, as a fraction of the picture's size."""


class PicturesSection(Section):
    """Episodes of pictures."""

    data: str
    """auto (Omniglot where it is found, invented glyphs otherwise), omniglot, glyphs, or a folder or zip archive of
    your own with one folder per class."""
    size: Annotated[int, Field(ge=8, le=256)]
    """Pixels of a side."""
    framed: bool
    """Of Omniglot and glyphs: cut every drawing to its ink, so that position and size do not matter."""
    colour: bool
    """Of your own pictures: three channels."""
    test_share: Annotated[float, Field(gt=0, lt=1)]
    """Of your own pictures: share of the classes that are held out for the final evaluation."""
    held_out: tuple[str, ...]
    """Groups (alphabets) that are kept from training for validation; none: validate on the training classes."""
    symmetries: Literal[1, 4, 8]
    """Quarter turns (4), or these and mirror images (8), are classes of their own in training."""
    train_way: Annotated[int, Field(ge=2)]
    train_shot: Count
    train_query: Count
    """Training episodes: classes, support and query pictures of each."""
    within: Probability
    """Share of the training episodes whose classes all come from one group."""
    jitter: JitterSection | None
    n_way: Annotated[int, Field(ge=2)]
    k_shot: Count
    k_query: Count
    """Episodes of validation and evaluation: classes, support and query pictures of each."""

    @property
    def drawings(self) -> bool:
        """Whether these are drawings, whose ink is bright, and no pictures of your own."""
        return self.data in ("auto", "omniglot", "glyphs")

    @property
    def channels(self) -> int:
        """Of one picture."""
        return 3 if self.colour and not self.drawings else 1


class FewShotSection(Section):
    """A metric learner on pictures (``learner`` is prototypical, relation or matching); others take its ``widths``."""

    widths: tuple[Width, Width, Width, Width]
    """Channels of the encoder's four convolutions."""
    distance: Literal["euclidean", "cosine"]
    """Of the prototypical learner; euclidean is squared."""
    weight_decay: NonNegative
    symmetric: bool
    """In training, support and query also change places: twice the gradient for the same features."""
    autocast: bool
    """Run the encoder in bfloat16 where the processor can."""
    test_copies: Annotated[int, Field(ge=0)]
    """Jittered copies whose features are averaged for the row with test-time jitter; 0: no such row."""
    test_jitter: Probability
    """Strength of that jitter, as a fraction of the training jitter."""
    one_shot_episodes: Count
    """20-way episodes within one group, one query of each class, of the final evaluation."""
    runs: str | None
    """Folder or zip archive of Omniglot's official one-shot runs; null: where Omniglot is, if they are there. They are
    left out for pictures of your own."""


class TAMLSection(Section):
    """The documents' TAML, a head modulated by a latent code (``learner`` is taml)."""

    latent_dim: Count
    modulation_approach: Literal[
        "global_scalars", "per_layer_scalars", "per_parameter_via_broadcasting", "low_rank_factorization"
    ]
    inner_steps: Count
    weighted_support: bool
    """Support examples count by a learned weight; with one shot there is nothing to weigh."""
    step_rates: bool
    """Every inner step has learning rates of its own."""


class MetaLearningSection(Section):
    """Tasks, a learner, and how it is trained. Each problem reads the section of its own name."""

    problem: Literal["sinusoid", "few_shot", "few_shot_gradient", "few_shot_taml", "continual", "continual_worlds"]
    learner: str
    """Name of a learner that the problem knows."""
    loop: LoopSection
    gradient: GradientSection
    sinusoid: SinusoidSection
    pictures: PicturesSection
    few_shot: FewShotSection
    taml: TAMLSection
    continual: ContinualSection
    continual_worlds: ContinualWorldsSection
