"""What a search hands over: its laws in the data's own numbers, in the form they are printed in, least squares."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import Library
from rl_suite.errors import NothingFoundError
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.forms.baselines import baselines
from rl_suite.symbolic.forms.custom import Custom, custom_laws
from rl_suite.symbolic.laws.archive import Archive
from rl_suite.symbolic.laws.canonical import settled_laws, signs_of
from rl_suite.symbolic.laws.constants import is_plain
from rl_suite.symbolic.laws.constraints import Constraints
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import Piece, piece_of
from rl_suite.symbolic.laws.polish import Finished, Polisher
from rl_suite.symbolic.laws.records import finished_record, read_finished
from rl_suite.symbolic.scaling import Scaling

ITERATIONS = 200  # of the last fit of a law
SAME = 1e-6  # relative difference of two errors that are rounding
ROUNDING = 1e-20  # of the variance


@dataclass(frozen=True)
class Findings:
    """The chosen law, the front, and what measures them.

    The front is the Pareto front of complexity and error, simplest first, and with it always the chosen law, the
    constant, the best line, power law, logarithm and exponential: what any other law must be better than.
    """

    chosen: Finished
    front: list[Finished]
    polisher: Polisher
    outliers: tuple[int, ...] = ()
    """Rows that are left out because the law does not give them."""


def findings_of(laws: Iterable[Finished], data: Data, scaling: Scaling, constraints: Constraints) -> Findings:
    """Finish laws of the scaled data as laws of ``data``.

    Raises:
        NothingFoundError: no law keeps to the constraints.
    """
    output = Library("full", data.variables, constant=True)
    polisher = Polisher(data.X, data.y, data.sets, len(data.y), ITERATIONS, data.weights)
    signs = signs_of(data.X, data.variables)
    archive = Archive(constraints.on(data.X, data.variables))
    for finished in laws:
        own = [scaling.undo(piece_of(law), data.variables).law(output) for law in finished.laws]
        settled = _settled(own, polisher, signs)
        if settled.nmse <= 1 + SAME:  # of two rows a law worse than the mean may be the cheapest
            archive.add(settled, 0)
    simple: dict[str, Finished] = {}
    scaled = scaling.apply(data)
    free = data.units is None or data.units.free_constant  # else constants are pure numbers, and these laws no laws
    for kind, form in simple_laws(scaled, polisher.rows):
        own = [scaling.undo(piece, data.variables).law(output) for piece in form]
        if kind == "constant" or free:
            finished = _settled(own, polisher, signs)
            if kind not in simple or finished.nmse < simple[kind].nmse:
                simple[kind] = finished
                archive.add(finished, 0)
    front = archive.front()
    allowed = archive.allowed or (lambda laws: True)
    more = (f for f in simple.values() if f not in front and f.text not in [other.text for other in front])
    front += [f for f in more if allowed(f.laws)]
    chosen = archive.best
    if chosen is None:
        raise NothingFoundError("no law keeps to all constraints, not even a constant; allow more")
    if all(f.text != chosen.text for f in front):  # the cheapest may have a simpler law of less error beside it
        front.append(chosen)
    return Findings(chosen, sorted(front, key=lambda f: (f.complexity, -f.nmse)), polisher)


def simple_laws(data: Data, rows: Sequence[NDArray[np.int64]]) -> Iterator[tuple[str, list[Piece]]]:
    """(kind, one law for each dataset) of what every search compares with; ``rows`` are those of the datasets."""
    pieces = [Piece((name,)) for name in data.variables]
    found = [list(baselines(np.ascontiguousarray(data.X[some].T), data.y[some], pieces)) for some in rows]
    for forms in zip(*found, strict=False):
        kind, first = forms[0]
        if all(piece.names == first.names for _, piece in forms):
            yield kind, [piece for _, piece in forms]


def first_laws(
    data: Data, rows: Sequence[NDArray[np.int64]], customs: Sequence[Custom]
) -> Iterator[tuple[list[Piece], int]]:
    """What is offered before anything is bred: simple laws, and those of functions of one's own; (law, tried)."""
    yield from ((form, 1) for _, form in simple_laws(data, rows))
    if customs:
        for piece, tried in custom_laws(customs, data.X[rows[0]], data.y[rows[0]], data.variables):
            yield [piece], tried


def _settled(laws: Sequence[Law], polisher: Polisher, signs: dict[str, str]) -> Finished:
    """A law in its printed form, with the constants of least squares and the numbers that the data support."""
    as_found = polisher.priced(*laws)
    printed = _printed(polisher.priced(*(_doubting(law) for law in laws)), polisher, signs)
    again = printed.laws
    if not any(e is not None and e.given for e in laws[0].exact):  # in print these are parts of other numbers
        again = tuple(_doubting(law) for law in again)  # what was an exponent, as in log(x**(17/4)), may be a factor
    finished = polisher.finish(*again)
    if not finished.nmse <= max(1.0, as_found.nmse):  # the fit ran away, or a number is worse than the mean
        finished = as_found
    return _printed(finished, polisher, signs)


def _printed(finished: Finished, polisher: Polisher, signs: dict[str, str]) -> Finished:
    """The printed form; the law as it is where that form overflows on the data or loses accuracy."""
    printed = polisher.priced(*settled_laws(finished.laws, signs, [data.X for data in polisher.datasets]))
    kept = printed.nmse <= finished.nmse * (1 + SAME) + ROUNDING
    return printed if kept and math.isfinite(printed.nmse) else finished


def _doubting(law: Law) -> Law:
    """The law with every number measured again but plain ones and exponents."""
    return replace(law, exact=tuple(e if is_plain(law, k) else None for k, e in enumerate(law.exact)))


def findings_record(findings: Findings) -> dict[str, Any]:
    """The laws as plain values, for a checkpoint."""
    laws = [*findings.front, findings.chosen]
    return {"laws": [finished_record(f) for f in laws], "front": len(findings.front)}


def read_findings(record: Mapping[str, Any], data: Data) -> Findings:
    """The laws of :func:`findings_record`, to be measured on ``data``; KeyError for a column that it lacks."""
    library = Library("full", data.variables, constant=True)
    laws = [read_finished(r, library) for r in record["laws"]]
    polisher = Polisher(data.X, data.y, data.sets, len(data.y), ITERATIONS, data.weights)
    front = laws[: int(record["front"])]
    same = (f for f in front if f.text == laws[-1].text and f.bits == laws[-1].bits)
    return Findings(next(same, laws[-1]), front, polisher)
