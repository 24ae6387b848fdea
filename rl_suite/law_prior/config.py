"""Settings of a learned prior over forms of laws (``kind: law_prior``). This module imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from rl_suite.config import Count, ExperimentConfig, NonNegative, Positive, Section

Layers = Annotated[int, Field(ge=1, le=24)]


class NetworkSection(Section):
    """Sizes of the network."""

    width: Annotated[int, Field(ge=8, le=1024)]
    heads: Count
    column_layers: Layers
    """Of attention over the columns of the table."""
    token_layers: Layers
    """Of attention over the tokens written so far."""
    attends: bool
    """false: means in the place of all attention, the control for what it is worth."""
    uses_context: bool
    """false: the table is not looked at."""


class PretrainingSection(Section):
    """Supervised learning on random laws; it ends with whichever comes first, laws or seconds."""

    laws: Count
    seconds: Positive
    """Of processor time, drawing of the laws included."""
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative
    checkpoint_every: Count
    """Laws."""


class MeasuringSection(Section):
    """What ``evaluate.py`` does."""

    laws: Literal["held_out", "fresh"]
    """Validation and test families of the large collection, or the other forms of it; none was trained on."""
    programs: Count
    """Evaluated per law."""
    steps: tuple[Annotated[int, Field(ge=0, le=100)], ...]
    """Adaptation steps, a row of the table each."""


class LawPriorSection(Section):
    """Network, training and measuring."""

    network: NetworkSection
    pretraining: PretrainingSection
    measuring: MeasuringSection


class LawPriorConfig(ExperimentConfig):
    """Settings of ``kind: law_prior``."""

    law_prior: LawPriorSection
