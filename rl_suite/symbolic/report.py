"""What a search found, for a person: the front, the chosen law, and how sure it is."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.table import Table

from rl_suite.checkpoint import write_atomically
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.findings import Findings
from rl_suite.symbolic.hole import Hole
from rl_suite.symbolic.laws.archive import what_is_left
from rl_suite.symbolic.laws.constants import Constant, constants_of
from rl_suite.symbolic.laws.edges import Edge, edges_of
from rl_suite.symbolic.laws.polish import Finished, Polisher
from rl_suite.symbolic.laws.records import finished_record
from rl_suite.symbolic.output.choice import choose
from rl_suite.symbolic.scaling import unit_scaling

SHOWN = 12  # laws of the front in the table
LEFT = {
    "noise": "what is left does not depend on the inputs: it looks like noise",
    "structure": "what is left still depends on the inputs: this is an approximation",
    "unknown": "the rows are too few to know whether what is left is noise",
}
WIDEST = 90  # characters of a formula in the table


@dataclass(frozen=True)
class Outlier:
    """A row, counted from 1, whose target is not what the law of the others says."""

    row: int
    value: float
    expected: float

    def __str__(self) -> str:
        return f"row {self.row} is {self.value:.5g}, and the law says {self.expected:.5g}"


def _outliers(rows: Iterable[int], chosen: Finished, data: Data) -> Iterator[Outlier]:
    for row in rows:
        law = chosen.laws[0 if data.sets is None else int(data.sets[row])]
        yield Outlier(row + 1, float(data.y[row]), float(law.predict(data.X[row : row + 1])[0]))


@dataclass(frozen=True)
class Report:
    """The front of a search, its chosen law, and the data they are measured on."""

    target: str
    front: Sequence[Finished]
    chosen: Finished
    polisher: Polisher
    stopped: str
    evaluations: int
    datasets: tuple[str, ...] = ("",)
    """Names of the datasets, each of which has constants of its own."""
    outliers: tuple["Outlier", ...] = ()
    in_si: str = ""
    """The law in SI base units, where the table has others."""

    @classmethod
    def of(cls, found: Findings, data: Data, stopped: str, evaluations: int) -> "Report":
        """The report of a search's laws for ``data``."""
        in_si = ""
        if data.units is not None and data.units.scales:
            in_si = unit_scaling(data).in_units_of(found.chosen.law).infix()
        report = cls(data.target, found.front, found.chosen, found.polisher, stopped, evaluations, data.set_names)
        return replace(report, outliers=tuple(_outliers(found.outliers, found.chosen, data)), in_si=in_si)

    def measured_on(self, polisher: Polisher) -> "Report":
        """The same laws with their errors on other data."""
        measured = {id(f): polisher.priced(*f.laws) for f in [*self.front, self.chosen]}
        front = [measured[id(f)] for f in self.front]
        return replace(self, front=front, chosen=measured[id(self.chosen)], polisher=polisher)

    def inside(self, hole: Hole) -> "Report":
        """Laws of a skeleton's hole as laws of the target, with their errors on the data of the target."""
        data = hole.whole
        polisher = Polisher(data.X, data.y, data.sets, weights=data.weights)
        filled: dict[int, Finished] = {}
        for finished in [*self.front, self.chosen]:
            as_found = polisher.priced(*map(hole.filled, finished.laws))
            fitted = polisher.priced(*(law for law, _ in polisher.fit(*as_found.laws)))
            filled[id(finished)] = fitted if fitted.nmse < as_found.nmse else as_found
        chosen = filled[id(self.chosen)]
        has_scales = data.units is not None and data.units.scales
        return replace(
            self,
            front=[filled[id(f)] for f in self.front],
            chosen=chosen,
            polisher=polisher,
            outliers=tuple(_outliers([o.row - 1 for o in self.outliers], chosen, data)),
            in_si=unit_scaling(data).in_units_of(chosen.law).infix() if has_scales else "",
        )

    def choosing(self, selection: str) -> "Report":
        """The report with the law that ``selection`` takes from the front."""
        return replace(self, chosen=choose(self.front, self.chosen, selection))

    def tables(self) -> list[Table]:
        """What ``evaluate.py`` prints."""
        return [self.table()]

    def table(self) -> Table:
        """The front, simplest first; the chosen law is marked."""
        table = Table(title=f"{self.target} = ...", title_justify="left")
        for heading in ("", "complexity", "error (NRMSE)", "bits", "law"):
            table.add_column(heading, justify="left" if heading in ("", "law") else "right", overflow="fold")
        rows = list(self.front)
        if not any(f is self.chosen for f in rows):
            rows = sorted([*rows, self.chosen], key=lambda f: f.complexity)
        place = next(i for i, f in enumerate(rows) if f is self.chosen)
        first = max(0, min(place - SHOWN // 2, len(rows) - SHOWN))
        for finished in rows[first : first + SHOWN]:
            text = finished.text if len(finished.text) <= WIDEST else finished.text[: WIDEST - 3] + "..."
            mark = "->" if finished is self.chosen else ""
            error = f"{math.sqrt(finished.nmse):.3g}"
            table.add_row(mark, str(finished.complexity), error, f"{finished.bits:.0f}", text)
        return table

    def lines(self) -> list[str]:
        """The law, its LaTeX, and how sure it is."""
        return [
            f"law:    {self.target} = {self.chosen.text}",
            f"LaTeX:  {self.target} = {self.chosen.latex}",
            *([f"in SI:  {self.target} = {self.in_si}, every column in SI base units"] if self.in_si else []),
            *(f"        {line}" for line in self.certainty()),
        ]

    def certainty(self) -> list[str]:
        """What speaks for the law, and what does not."""
        n = sum(self.polisher.sizes)
        error = math.sqrt(self.chosen.nmse)
        said = [f"error {error:.3g} of the target's standard deviation, on {n} rows"]
        said.append("exact up to rounding" if self.chosen.exact else LEFT[what_is_left(self.chosen, self.polisher)])
        said += [f"outlier, left out: {outlier}" for outlier in self.outliers[:SHOWN]]
        if len(self.outliers) > SHOWN:
            said.append(f"... and {len(self.outliers) - SHOWN} more outliers")
        said += [str(edge) for edge in self.edges[:SHOWN]]
        rivals = [f.bits for f in self.front if f is not self.chosen]
        if rivals:
            gap = min(rivals) - self.chosen.bits
            odds = "more than a million" if gap > 20 else f"{2**gap:.3g}"
            bits = "1 bit" if round(gap) == 1 else f"{gap:.0f} bits"
            said.append(f"the next law of the front is {bits} dearer: odds of {odds} to 1 for this one")
        return [*said, *self._constants()]

    @cached_property
    def edges(self) -> list[Edge]:
        """Where the chosen law is not finite, jumps or grows without bound, among the rows or just outside."""
        parts = zip(self.chosen.laws, self.polisher.datasets, self.polisher.rows, strict=True)
        return [edge for law, data, rows in parts for edge in edges_of(law, data.X, data.scale, rows)]

    def constants(self) -> list[list[Constant]]:
        """The numbers of the chosen law on each dataset, with their standard errors."""
        return constants_of(self.chosen, self.polisher)

    def _constants(self) -> list[str]:
        """Every number with its error; of several datasets, one line for each. Of an exact law there is no error."""
        if len(self.datasets) == 1:
            return [f"constant {c}" for c in self.constants()[0] if not (c.recognised and self.chosen.exact)]
        lines = []
        for name, constants in zip(self.datasets, self.constants(), strict=True):
            measured = [str(c) for c in constants if not c.recognised]
            lines += [f"{name}: {', '.join(measured)}"] if measured else []
        return lines

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "target": self.target,
            "law": finished_record(self.chosen),
            "front": [finished_record(f) for f in self.front],
            "stopped": self.stopped,
            "evaluations": self.evaluations,
            "certainty": self.certainty(),
            "constants": [[asdict(c) for c in constants] for constants in self.constants()],
            "datasets": list(self.datasets),
            "outliers": [asdict(outlier) for outlier in self.outliers],
            "edges": [asdict(edge) for edge in self.edges],
            "in_si": self.in_si,
        }

    def save(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), indent=1) + "\n").encode())
