"""Reading people's tables: CSV files with a header, checked so that every complaint says what to do."""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import OPERATIONS, Library
from envs.symbolic.units import Units
from rl_suite.errors import UserError
from rl_suite.loading import listed, shortened, suggest
from rl_suite.memory import require_memory
from rl_suite.reading import read_bytes
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.nature import Constant, beside
from rl_suite.symbolic.weighing import Weighing, row_weights

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
MAX_COLUMNS = 30
MAX_ROWS = 10_000  # rows that are searched; more are thinned out evenly at random
MIN_ROWS = 4
MAX_CELL = 400  # characters
MAX_NAME = 100  # characters of the name of a column
MOST_NAMED = 40  # columns that a message lists
LEAST_WEIGHT = 1e-12  # of the least other, for rows of weight 0
EVERY_ROW = Weighing()
PER_BYTE = 12  # bytes of memory, as cells, for one byte of a file


@dataclass(frozen=True)
class Table:
    """Data with what had to be said about the file."""

    data: Data
    messages: tuple[str, ...]
    renamed: Mapping[str, str]
    """Name in the formula -> name in the file, where they differ."""


def find_table(path: Path) -> Path:
    """The file itself, or the example of that name that comes with the package."""
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise UserError(f"{path.name}: cannot be read: {error.strerror}") from None
    if (EXAMPLES / path.name).is_file() and path.parent == Path():
        return EXAMPLES / path.name
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a table in it")
    names = [example.name for example in EXAMPLES.glob("*.csv")]
    raise UserError(f"{path}: no such file{suggest(path.name, names) or f'; shipped examples are: {listed(names)}'}")


def read_table(
    path: Path,
    target: str,
    columns: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    seed: int = 0,
    free_constants: bool = False,
    weighing: Weighing = EVERY_ROW,
    nature: Sequence[Constant] = (),
) -> Table:
    """Read a CSV file with a header into data for the search.

    Args:
        path: the file, or the name of a shipped example.
        target: name of the column to explain.
        columns: the inputs; all other numeric columns if empty.
        units: unit of each input and of the target, such as "m/s^2"; none are checked if empty.
        seed: of the choice of rows where there are more than ``MAX_ROWS``.
        free_constants: with units, whether fitted constants may have any unit.
        weighing: how much each row counts.
        nature: constants of nature, which become columns.

    Raises:
        UserError: whatever is wrong with the file, with the row and the column.
    """
    path = find_table(path)
    header, rows = _cells(path)
    _require_columns(path, header, target, columns, weighing)
    messages: list[str] = []
    if len(rows) > MAX_ROWS:
        keep = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MAX_ROWS])
        messages.append(f"{len(rows)} rows: {MAX_ROWS} of them, drawn at random, are searched")
        rows = [rows[i] for i in keep]
    wanted = list(columns) or [name for name in header if name not in (target, *weighing.columns)]
    values, left_out = _varying_columns(path, header, rows, wanted, target, bool(columns))
    messages += left_out
    inputs = [name for name in wanted if name in values]
    if not inputs:
        raise UserError(f"{path.name}: no column is left to explain {target!r} with")
    if len(inputs) > MAX_COLUMNS:
        raise UserError(
            f"{path.name}: {len(inputs)} inputs; at most {MAX_COLUMNS} can be searched: "
            f"name the ones that matter, columns=[{','.join(inputs[:3])},...]"
        )
    names = formula_names(inputs)
    X = np.column_stack([values[name] for name in inputs])
    given = _units(units, inputs, names, target, free_constants) if units else None
    renamed = {new: old for new, old in zip(names, inputs, strict=True) if new != old}
    messages += [f"column {old!r} is called {new} in formulas" for new, old in renamed.items()]
    weights = _weights(path, header, rows, values[target], weighing)
    try:
        X, variables, given = beside(X, names, given, nature)
    except ValueError as error:
        raise UserError(f"{path.name}: {error}") from None
    messages += _told(nature)
    return Table(Data(X, values[target], variables, given, target, weights=weights), tuple(messages), renamed)


def _told(nature: Sequence[Constant]) -> list[str]:
    """What is said of the constants of nature."""
    return [f"constants of nature: {', '.join(map(str, nature))}"] if nature else []


def _require_columns(path: Path, header: list[str], target: str, columns: Sequence[str], weighing: Weighing) -> None:
    """Refuse columns that are named and are not there, or cannot be what they are named for."""
    if target not in header:
        raise UserError(
            f"{path.name}: has no column {shortened(target)!r}; target=... must be one of: {_listed(header)}"
        )
    unknown = [name for name in (*columns, *weighing.columns) if name not in header or name == target]
    if unknown:
        role = "an input" if unknown[0] in columns else "a weight or an error"
        raise UserError(f"{path.name}: {shortened(unknown[0])!r} cannot be {role}; the columns are: {_listed(header)}")
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise UserError(f"{path.name}: columns=... names {shortened(twice)!r} twice")


def read_columns(path: Path, names: Sequence[str]) -> list[NDArray[np.float64]]:
    """Columns (n,) of finite numbers of a CSV file with a header; ``UserError`` where there are none."""
    path = find_table(path)
    header, rows = _cells(path)
    columns = []
    for name in names:
        if name not in header:
            raise UserError(f"{path.name}: has no column {name!r}; the columns are: {', '.join(header)}")
        column = _numbers(path, header.index(name), name, rows)
        if column is None:
            raise UserError(f"{path.name}: column {name!r} holds text; choose a column of numbers")
        columns.append(column)
    return columns


def _weights(
    path: Path, header: list[str], rows: list[list[str]], y: NDArray[np.float64], weighing: Weighing
) -> NDArray[np.float64] | None:
    """Weights of the rows; rows of weight 0 keep a weight that no sum feels."""
    given: list[NDArray[np.float64] | None] = []
    for source in weighing[:2]:
        column = np.full(len(y), source) if isinstance(source, float | int) else None
        if isinstance(source, str):
            column = _numbers(path, header.index(source), source, rows)
            if column is None:
                raise UserError(f"{path.name}: column {source!r} holds text, and is to weigh rows")
        given.append(column)
    try:
        weights = row_weights(y, given[0], given[1], weighing.loss)
    except ValueError as error:
        raise UserError(f"{path.name}: {error}") from None
    return None if weights is None else np.where(weights > 0, weights, LEAST_WEIGHT * weights[weights > 0].min())


def _varying_columns(
    path: Path, header: list[str], rows: list[list[str]], wanted: list[str], target: str, chosen: bool
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """The columns of numbers that are not constant, and what is said of the others; ``chosen`` ones must be numbers."""
    values: dict[str, NDArray[np.float64]] = {}
    messages = []
    for name in [*wanted, target]:
        column = _numbers(path, header.index(name), name, rows)
        if column is None:
            if name == target or chosen:
                raise UserError(f"{path.name}: column {name!r} holds text; choose a column of numbers")
            messages.append(f"column {name!r} holds text and is left out")
        elif np.ptp(column) == 0:
            if name == target:
                raise UserError(f"{path.name}: the target {target!r} is {column[0]:g} in every row: nothing to explain")
            messages.append(f"column {name!r} is constant and is left out")
        else:
            values[name] = column
    return values, messages


def read_tables(
    paths: Sequence[Path],
    target: str,
    columns: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    seed: int = 0,
    free_constants: bool = False,
    weighing: Weighing = EVERY_ROW,
    nature: Sequence[Constant] = (),
) -> Table:
    """Several files as datasets of one law; the inputs are the columns that vary in all of them.

    Raises:
        UserError: as :func:`read_table`, or files that share no such column.
    """
    if len(paths) == 1:
        return read_table(paths[0], target, columns, units, seed, free_constants, weighing, nature)
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        raise UserError(f"{twice}: is named twice in data=...")
    first = [read_table(path, target, columns, None, seed, weighing=weighing) for path in paths]
    inputs = [[table.renamed.get(name, name) for name in table.data.variables] for table in first]
    shared = [name for name in inputs[0] if all(name in other for other in inputs)]
    if not shared:
        raise UserError(f"{', '.join(path.name for path in paths)}: no column of numbers varies in all of them")
    tables = [read_table(path, target, shared, units, seed, free_constants, weighing, nature) for path in paths]
    left_out = sorted({name for other in inputs for name in other} - set(shared))
    notes = [f"{path.name}: {m}" for path, table in zip(paths, first, strict=True) for m in table.messages]
    notes += [f"column {name!r} does not vary in every file and is left out" for name in left_out]
    notes += _told(nature)
    weights = [np.ones(len(t.data.y)) if t.data.weights is None else t.data.weights for t in tables]
    data = replace(
        tables[0].data,
        weights=np.concatenate(weights) if any(t.data.weights is not None for t in tables) else None,
        X=np.concatenate([table.data.X for table in tables]),
        y=np.concatenate([table.data.y for table in tables]),
        sets=np.repeat(np.arange(len(tables)), [len(table.data.y) for table in tables]),
        set_names=tuple(path.stem for path in paths),
    )
    return Table(data, tuple(notes), tables[0].renamed)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        require_memory(PER_BYTE * path.stat().st_size, path.name)
        text = read_bytes(path, follow=True).decode("utf-8-sig")
        lines = io.StringIO(text, newline="")
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name}: cannot be read as a CSV file in UTF-8: {error}") from None
    if not rows:
        raise UserError(f"{path.name}: is empty; it needs a header and rows of numbers")
    header = [cell.strip() for cell in rows[0]]
    long = next((name for name in header if len(name) > MAX_NAME), None)
    if long is not None:
        raise UserError(f"{path.name}: a column's name has {len(long)} characters, more than {MAX_NAME}; rename it")
    twice = sorted({name for name, times in Counter(header).items() if times > 1})
    if twice or "" in header:
        name = (twice or [""])[0]
        raise UserError(f"{path.name}: column name {name!r} is empty or used twice; rename it in the header")
    if all(_number(cell) is not None for cell in header):
        raise UserError(f"{path.name}: the first row holds numbers; put the column names there")
    if len(rows) - 1 < MIN_ROWS:
        raise UserError(f"{path.name}: {len(rows) - 1} rows of data; at least {MIN_ROWS} are needed")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise UserError(f"{path.name}: row {number} has {len(row)} cells, the header has {len(header)}")
    return header, rows[1:]


def _listed(names: Sequence[str]) -> str:
    """The names, or the first of very many."""
    return ", ".join([*names[:MOST_NAMED], *(["..."] if len(names) > MOST_NAMED else [])])


def _number(cell: str) -> float | None:
    try:
        return float(cell) if len(cell) <= MAX_CELL and "_" not in cell else None
    except ValueError:
        return None


def _numbers(path: Path, column: int, name: str, rows: list[list[str]]) -> NDArray[np.float64] | None:
    """A column of finite numbers; None if no cell of it is a number."""
    cells = [_number(row[column]) for row in rows]
    if all(value is None for value in cells):
        return None
    for number, (value, row) in enumerate(zip(cells, rows, strict=True), start=1):
        if value is None or not math.isfinite(value):
            shown = row[column].strip()[:20] or "empty"
            raise UserError(
                f"{path.name}: data row {number}, column {name!r}: {shown!r} is not a finite number; "
                "mend the cell or delete the row"
            )
    return np.array(cells, dtype=np.float64)


def formula_names(names: Sequence[str]) -> list[str]:
    """Column names as identifiers that mean nothing else in formulas."""
    result: list[str] = []
    kept = {name for name in names if name.isascii() and name.isidentifier() and _allowed(name)}
    for name in names:
        plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
        plain = f"x_{plain}" if plain[0].isdigit() else plain
        while plain in result or not _allowed(plain) or (plain in kept and plain != name):
            plain += "_"
        result.append(plain)
    return result


def _allowed(name: str) -> bool:
    if name in OPERATIONS or name in ("e", "pi"):
        return False
    try:
        Library("arithmetic", [name])
    except ValueError:
        return False
    return True


def _units(
    units: Mapping[str, str], inputs: Sequence[str], names: Sequence[str], target: str, free_constants: bool
) -> Units:
    """Units of the inputs (under their names in formulas) and of the target."""
    missing = [name for name in (*inputs, target) if name not in units]
    if missing:
        raise UserError(f"units lack {_listed(missing)}; give every column one, '1' for pure numbers")
    try:
        chosen = {n: units[old] for n, old in zip(names, inputs, strict=True)}
        return Units.from_text(names, chosen, units[target], free_constants)
    except ValueError as error:
        raise UserError(f"units: {error}") from None
