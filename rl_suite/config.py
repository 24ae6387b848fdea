"""What every experiment has in common. The numbers live in config.yaml; here are their types and ranges.

Each kind of experiment adds its own sections in a subclass that stands beside its runner.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Copies = Annotated[int, Field(ge=1, le=65_536)]  # of an environment, stepped together
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Section(BaseModel):
    """A group of settings: unknown keys are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ExperimentConfig(Section):
    """Settings of every experiment, whatever its kind."""

    length: ClassVar[str | None] = None
    """Dotted key of how long it trains; a run whose folder is the same but for a smaller one goes on in it."""

    experiment: str
    """Block names, comma-separated, in the order in which they were applied."""
    about: str
    """One line for ``train.py --help``."""
    kind: str
    """Which runner reads this configuration (a key of ``rl_suite.experiments.KINDS``)."""
    seed: Seed
    runs_dir: Path
    """Where run folders go: ``<runs_dir>/<experiment>/<seed>/``."""
    name: Annotated[str, Field(max_length=80)] = ""
    """Of the folder, instead of the experiment's."""
    replay_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the episode that the report replays, at most; null: all."""
    device: Literal["auto", "cpu", "cuda"]
    torch_threads: Annotated[int, Field(ge=1, le=1024)]
    """Threads of one torch operation; more than one is slower for small networks on a busy machine."""

    @property
    def folder_name(self) -> str:
        """Name of the folder that collects the seeds of this experiment."""
        return self.name or self.experiment.replace(",", "-")

    @property
    def trained_alone(self) -> str | None:
        """Why one process must train this, and torchrun cannot; None where several can."""
        return f"an experiment of kind {self.kind}"

    def require_used(self, given: Mapping[str, Any]) -> None:
        """Raise a ``UserError`` if one of these settings (nested) is one that this experiment does not read.

        Kinds that can tell override this; the schema alone knows which settings exist, not which are read.
        """


class EvaluationSection(Section):
    """How a finished agent is measured."""

    episodes_per_task: Annotated[int, Field(ge=1, le=100_000)]
    n_tasks: Annotated[int, Field(ge=1, le=1_000_000)]
    """Held-out tasks that are played (worlds without tasks: held-out seeds)."""
    n_envs: Copies
    """Copies of the environment that are stepped together."""
    seed: Seed
    """First seed of the evaluation; training never uses it."""
    deterministic: bool
    """Take the most probable action instead of sampling."""
    resamples: Annotated[int, Field(ge=1, le=1_000_000)]
    """Bootstrap resamples behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
