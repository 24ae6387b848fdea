"""Settings of a search for laws (``kind: symbolic``)."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from rl_suite.config import Count, ExperimentConfig, Section


def _as_list(files: Any) -> Any:
    """One file is a list of one."""
    return [files] if isinstance(files, str | Path) else files


def _as_text(value: Any) -> Any:
    """Numbers as they were typed: a column may be called 3, and 2 is a literal."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_texts(values: Any) -> Any:
    """One name is a list of one."""
    values = [values] if isinstance(values, str | int | float) else values
    return [_as_text(value) for value in values] if isinstance(values, list | tuple) else values


def _functions(given: Any) -> Any:
    if not isinstance(given, list | tuple | dict):
        raise ValueError("must be a list of names, or a mapping of names to formulas")
    return given


def _nature(given: Any) -> Any:
    """What names, values and units say is read with the table; one name is a list of one."""
    if isinstance(given, dict):
        return {str(name): _as_text(value) for name, value in given.items()}
    if not isinstance(given, str | list | tuple) or any(isinstance(name, list | tuple | dict) for name in given):
        raise ValueError("must be a list of names, or a mapping of names to values with units")
    return _as_texts(given)


def _units(given: Any) -> Any:
    """1 is the unit of pure numbers."""
    return {name: _as_text(unit) for name, unit in given.items()} if isinstance(given, dict) else given


def _errors(given: Any) -> Any:
    if isinstance(given, int | float) and not (given > 0 and math.isfinite(given)):
        raise ValueError("must be a column, or a number more than 0")
    return given


Files = Annotated[tuple[Path, ...], Field(min_length=1), BeforeValidator(_as_list)]
Name = Annotated[str, BeforeValidator(_as_text)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]


class SearchSection(Section):
    """What the search is made of and when it ends."""

    budget: Count
    """Programs that may be evaluated on the data."""
    functions: Annotated[tuple[str | dict[str, str], ...] | dict[str, str], BeforeValidator(_functions)]
    """Functions of the programs, out of ``envs.symbolic.tokens.OPERATIONS``, and of your own by their formulas, such as
    ``[add, mul, {hill: "x**n/(k**n + x**n)"}]``; a mapping alone stands beside the usual ones."""
    literals: Names
    """Numbers that programs may hold beside the fitted ones."""
    max_length: Annotated[int, Field(ge=3, le=128)]
    """Longest program in tokens, inside its frame."""
    population: Annotated[int, Field(ge=10)]
    """Programs per island."""
    search_points: Annotated[int, Field(ge=4)]
    """Rows that programs are bred on; laws are fitted and chosen on all rows."""
    polynomials: bool
    """Begin with sparse polynomials."""
    inner_constants: bool
    """Scan for constants inside functions of one variable: waves, rates, steps, peaks, powers."""
    policy: bool
    """Let a recurrent policy, trained during the search, propose programs."""
    prior: Path | None
    """File of a learned prior (``kind: law_prior`` trains one), or ``shipped``: its proposals are tried before all
    others. ``auto``: the shipped one in searches of at most 10,000 programs, where it is known to help. null: none."""
    proposals: Count
    """Forms that the prior proposes."""
    groups: Annotated[int, Field(ge=1, le=1024)]
    """Groups of islands that search by themselves, each with its share of the budget; 1: all islands in one."""
    executor: Literal["serial", "processes", "ray"]
    """Where groups search: one after the other, in processes of this machine, or on a Ray cluster. The laws are the
    same."""
    workers: Count | None
    """Groups at the same time; null: as many as there are cores."""
    time_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    """Seconds after which the best law so far is taken; null: none."""
    stop_at_noise: bool
    """End when the residuals of the best law no longer depend on the inputs."""
    checkpoint_every: Count
    """Evaluations between checkpoints; several groups are saved one by one, as they end."""

    @model_validator(mode="after")
    def _executor_has_groups(self) -> "SearchSection":
        if self.groups == 1 and (self.executor != "serial" or self.workers is not None):
            raise ValueError("executor and workers share the groups of islands among them: raise groups, which is 1")
        return self


class OdeSection(Section):
    """Laws of motion, where ``time`` is given."""

    degree: Annotated[int, Field(ge=1, le=5)]
    """Of the polynomial terms that are tried first."""
    budget: Annotated[int, Field(ge=0)]
    """Programs that are searched for a state whose law is no sum of few of them; 0: none."""


class SymbolicConfig(ExperimentConfig):
    """A table, its target, and how to search."""

    length = "search.budget"

    data: Files | None
    """CSV file with a header, or the name of a shipped example; null: the planets. Several files ``[a.csv,b.csv]``:
    one law for all, whose measured constants each file has for itself."""
    target: Name | None
    """Column to explain; with ``time``: the states, ``x,y``."""
    time: Name | None
    """Column of times, for laws of motion: dx/dt of every state of ``target`` is explained by the states. Several files
    are several trajectories. null: the rows are no trajectory."""
    columns: Names
    """Input columns; all other numeric columns if empty."""
    units: Annotated[dict[Name, str] | None, BeforeValidator(_units)]
    """Unit of every column used, such as ``{period: s, axis: m}``; null: units are not checked."""
    free_constants: bool
    """With units: whether fitted constants may have any unit."""
    nature: Annotated[tuple[str, ...] | dict[str, str], BeforeValidator(_nature)]
    """With units: constants of nature that the law may hold, such as ``[c, hbar, k_B]`` (``rl_suite.symbolic.nature``
    names them), or one's own with their units, ``{mu: 3.986e14 m^3/s^2}``."""
    known: str | None
    """A sub-expression known to matter, such as ``sin(theta)``; programs may use it as one token."""
    skeleton: str | None
    """The form of the law with one hole, such as ``x*exp(?)``: only the hole is searched."""
    sample_weight: Name | None
    """Column with the weights of the rows, their relative precision; it is no input."""
    y_error: Annotated[str | float | None, BeforeValidator(_errors)]
    """Column with the standard errors of the target (it is no input), or one number for all rows."""
    loss: str
    """``squared``, or another of ``rl_suite.symbolic.weighing.LOSSES``."""
    constraints: dict[str, Any] | None
    """What every law must keep to, such as ``{positive: true, monotone: {mass: increasing}, nesting: {sin: [sin, cos]},
    complexity: {exp: 5}}``."""
    model_selection: str
    """``bits``: the law of least price; ``accuracy``: of least error; ``best``: where the error falls most steeply."""
    ode: OdeSection
    search: SearchSection

    @model_validator(mode="after")
    def _motion_is_searched_by_one(self) -> "SymbolicConfig":
        if self.time is not None and self.search.groups > 1:
            raise ValueError("search.groups: laws of motion are searched by one group; leave time or groups out")
        return self

    @property
    def folder_name(self) -> str:
        """The experiment, with the table and the target where they were given."""
        name = super().folder_name
        return (
            name
            if self.name or self.data is None
            else f"{name}-{'+'.join(path.stem for path in self.data)}-{self.target}"
        )
