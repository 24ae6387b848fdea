"""Settings of a search for laws (``kind: symbolic``)."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from rl_suite.config import Count, ExperimentConfig, Section


def _as_list(files: Any) -> Any:
    """One file is a list of one."""
    return [files] if isinstance(files, str | Path) else files


Files = Annotated[tuple[Path, ...], Field(min_length=1), BeforeValidator(_as_list)]


class SearchSection(Section):
    """What the search is made of and when it ends."""

    budget: Count
    """Programs that may be evaluated on the data."""
    functions: tuple[str, ...]
    """Functions of the programs, out of ``envs.symbolic.tokens.OPERATIONS``."""
    literals: tuple[str, ...]
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
    """File of a learned prior (``kind: law_prior`` trains one), or ``shipped``: its proposals are tried before anything
    is bred. null: none."""
    proposals: Count
    """Forms that the prior proposes."""
    stop_at_noise: bool
    """End when the residuals of the best law no longer depend on the inputs."""
    checkpoint_every: Count
    """Evaluations between checkpoints."""


class SymbolicConfig(ExperimentConfig):
    """A table, its target, and how to search."""

    length = "search.budget"

    data: Files | None
    """CSV file with a header, or the name of a shipped example; null: the planets. Several files ``[a.csv,b.csv]``:
    one law for all, whose measured constants each file has for itself."""
    target: str | None
    """Column to explain."""
    columns: tuple[str, ...]
    """Input columns; all other numeric columns if empty."""
    units: dict[str, str] | None
    """Unit of every column used, such as ``{period: s, axis: m}``; null: units are not checked."""
    free_constants: bool
    """With units: whether fitted constants may have any unit."""
    known: str | None
    """A sub-expression known to matter, such as ``sin(theta)``; programs may use it as one token."""
    skeleton: str | None
    """The form of the law with one hole, such as ``x*exp(?)``: only the hole is searched."""
    search: SearchSection

    @property
    def folder_name(self) -> str:
        """The experiment, with the table and the target where they were given."""
        name = super().folder_name
        return (
            name
            if self.name or self.data is None
            else f"{name}-{'+'.join(path.stem for path in self.data)}-{self.target}"
        )
