"""Settings of a search for settings (``kind: tuning``): those of the experiment, and what is searched."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rl_suite.config import Count, Section, Seed
from rl_suite.sb3.config import PPOSection, SB3Config


class RangeSection(Section):
    """What one number may be: bounds, or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Whether factors rather than differences count."""
    choices: Annotated[list[int | float | bool], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "RangeSection":
        bounds = self.low is not None and self.high is not None
        if bounds == (self.choices is not None) or (self.low is None) != (self.high is None):
            raise ValueError("give low and high, or choices")
        if bounds and (self.low >= self.high or (self.log and self.low <= 0)):  # type: ignore[operator]
            raise ValueError(f"low ({self.low}) must be below high ({self.high}), and above 0 with log")
        if self.choices is not None and (self.log or len(set(map(repr, self.choices))) < len(self.choices)):
            raise ValueError("choices must be different, and know no log")
        return self

    def plain(self) -> Any:
        """As ``BayesianOptimizer`` reads it."""
        if self.choices is not None:
            return list(self.choices)
        bounds = (float(self.low or 0), float(self.high or 0))
        return (*bounds, "log") if self.log else bounds


class TuningSection(Section):
    """The search, and how what it found is confirmed."""

    trials: Count
    """Settings that are tried."""
    initial: Count
    """Random ones among them, first; after the experiment's own."""
    total_timesteps: Count
    """Of one trial."""
    looks: Annotated[int, Field(ge=1, le=100)]
    """Evaluations on validation tasks in a trial; a trial that is behind at one of them is ended."""
    batch: Count
    """Trials that are chosen together; the search depends on it."""
    workers: Count
    """Processes for them and for the runs that confirm; 1: none, and a signal is heeded within a trial."""
    confirm_seeds: Annotated[int, Field(ge=2, le=100)]
    """Runs from scratch of the settings found and of the experiment's own, which are compared on test tasks."""
    first_confirm_seed: Seed
    """Of those runs; the search never uses them."""
    space: Annotated[dict[str, RangeSection], Field(min_length=1)]
    """Name of a setting of ``ppo`` -> what it may be."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "TuningSection":
        unknown = [name for name in self.space if name not in PPOSection.model_fields]
        if unknown:
            raise ValueError(f"space: PPO has no {', '.join(unknown)}; it has {', '.join(PPOSection.model_fields)}")
        return self


class TuningConfig(SB3Config):
    """Settings of ``kind: tuning``."""

    kind: Literal["tuning"]  # type: ignore[assignment]
    tuning: TuningSection

    @model_validator(mode="after")
    def _searches_ppo(self) -> "TuningConfig":
        if not self.algorithm.endswith("ppo"):
            raise ValueError(f"tune searches the numbers of PPO, not of {self.algorithm}")
        return self

    def base(self) -> SB3Config:
        """The experiment as it stands, without the search."""
        values = {name: getattr(self, name) for name in SB3Config.model_fields}
        return SB3Config.model_construct(**{**values, "kind": "sb3"})
