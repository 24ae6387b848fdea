"""Every number of a result file as tables; raw episodes stay in the file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl_suite.report.findings import Estimate, estimate
from rl_suite.report.words import label


@dataclass(frozen=True)
class Cell:
    """A value as text; words are aligned to the left."""

    text: str
    is_text: bool


@dataclass(frozen=True)
class Table:
    """Rows by name; the first column has no heading."""

    caption: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


def tables_of(content: Mapping[str, Any]) -> Iterator[Table | list[str]]:
    """Tables and lists of sentences, in the order of the file."""
    for key, value in content.items():
        yield from _section(key, value)


def _section(name: str, value: Any) -> Iterator[Table | list[str]]:
    heading = label(name)
    if isinstance(value, Mapping):
        rows = {key: row for key, row in value.items() if isinstance(row, Mapping) and not _is_cell(row)}
        single = {key: cell for key, cell in value.items() if _is_cell(cell)}
        yield from _table(heading, {"": single})
        yield from _table(heading, rows)
        inner = {key: row["metrics"] for key, row in rows.items() if isinstance(row.get("metrics"), Mapping)}
        if any(inner.values()):
            yield from _table(f"{heading}: means of other measures", _turned(inner))
        for key, part in value.items():
            if isinstance(part, list):
                yield from _section(key, part)
    elif isinstance(value, list) and value:
        if all(isinstance(row, Mapping) for row in value):
            yield from _table(heading, {str(i + 1): row for i, row in enumerate(value)})
        elif all(isinstance(line, str) and " " in line for line in value):  # sentences, not names
            yield list(value)


def _turned(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows become columns."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {name: {key: row.get(name) for key, row in rows.items()} for name in names}


def _table(caption: str, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    columns = list(dict.fromkeys(name for row in rows.values() for name, value in row.items() if _is_cell(value)))
    if columns:
        cells = [(label(str(key)), [_cell(row.get(name)) for name in columns]) for key, row in rows.items()]
        yield Table(caption, [label(name) for name in columns], cells)


def _is_cell(value: Any) -> bool:
    return isinstance(value, str | int | float) or estimate(value) is not None


def _cell(value: Any) -> Cell:
    if isinstance(value, str):
        return Cell(value, is_text=True)
    if isinstance(value, Mapping):
        known = estimate(value)
        return Cell("" if known is None else _bracketed(known), is_text=False)
    return Cell(shown(value), is_text=False)


def _bracketed(known: Estimate) -> str:
    band = "" if known.low is None else f" [{shown(known.low)}, {shown(known.high)}]"
    return shown(known.value) + band


def shown(value: Any) -> str:
    """Four digits; nothing where nothing is known."""
    if value is None or isinstance(value, Sequence | Mapping):
        return ""
    return str(value)[:40] if isinstance(value, int) or not math.isfinite(value) else f"{value:.4g}"
