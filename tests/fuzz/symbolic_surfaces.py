"""Surfaces: formulas, units and skeletons as text, programs as numbers, tables as files."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fuzzing import Surface, any_array, mostly, numbers, odd_arrays, texts
from hypothesis import strategies as st

from envs.symbolic.program import evaluate_programs
from envs.symbolic.text import parse, to_infix
from envs.symbolic.tokens import MAX_LENGTH, Library, complexity, depth, pad_programs, to_tree
from envs.symbolic.units import parse_units
from rl_suite.errors import UserError
from rl_suite.symbolic.laws.skeleton import read_known
from rl_suite.symbolic.table import read_table

LIBRARIES = [
    Library("koza", ["x", "y"]),
    Library("koza", ["x", "y"], constant=True),
    Library("full", ["x", "y"], literals=["1", "2", "pi"], constant=True),
    Library(["add", "mul"], ["x", "y"]),
]
CAPPED = re.compile("tokens|nested|characters")  # what was written out in full may be too long to be read
POINTS = np.array([[0.5, 2.0], [-1.0, 3.0], [1e-3, -7.0]])

names = st.sampled_from([*"xyc", "pi", "e", "sin", "exp", "log", "sqrt", "pow", "max", "abs", "zzz", "__class__", "x1"])
pieces = (
    names | st.sampled_from([*"+-*/^(),. ", "**", "//", "->", "²", "−"]) | st.integers().map(str) | st.floats().map(str)
)
terms = st.recursive(
    st.sampled_from(["x", "y", "2", "0.5", "pi", "1e3", "c"]),
    lambda inner: (
        st.builds("({}{}{})".format, inner, st.sampled_from(["+", "-", "*", "/", "^", " "]), inner)
        | st.builds("{}({})".format, st.sampled_from(["sin", "exp", "log", "sqrt", "-", "tanh", "asin", "foo"]), inner)
        | st.builds("{}^{}".format, inner, st.integers(-70, 70))
    ),
    max_leaves=20,
)
repeated = st.builds(lambda text, times: text * times, pieces, st.integers(0, 3000))
formulas = st.tuples(
    st.sampled_from(LIBRARIES),
    mostly(terms, st.lists(pieces, max_size=15).map("".join) | repeated | st.text(max_size=30)),
)


def read_formula(case: tuple[Library, str]) -> None:
    """Read, write and read again: the second reading says what the first did."""
    library, text = case
    first = parse(text, library)
    shown = to_infix(first.program, library, first.constants, digits=17)
    try:
        second = parse(shown, library)
    except ValueError as error:
        if CAPPED.search(str(error)):
            return
        raise AssertionError(shown) from error
    a, b = (
        evaluate_programs(e.program[None], np.array([len(e.program)]), POINTS, library, e.constants[None])
        for e in (first, second)
    )
    finite = np.isfinite(a) & np.isfinite(b)
    np.testing.assert_allclose(a[finite], b[finite], rtol=1e-6, atol=1e-9)


unit_texts = mostly(
    st.lists(st.tuples(st.sampled_from(["m", "s", "kg", "N", "J", "mm", "1"]), st.integers(-3, 3)), max_size=4).map(
        lambda parts: "*".join(f"{name}^{power}" for name, power in parts)
    ),
    st.text(alphabet="mskgNJ^*/-0123456789(). µ°", max_size=20) | texts,
)


def read_known_part(case: tuple[str, Any]) -> None:
    """A part of a law that is said to be known, on rows of data."""
    text, X = case
    read_known(text, ("x", "y"), X)


known_parts = st.tuples(
    mostly(terms, texts),
    mostly(st.just(POINTS), any_array(2))
    .filter(lambda X: X.ndim == 2 and X.shape[1] == 2)
    .map(lambda X: X.astype(float)),
)


@st.composite
def token_batches(draw: st.DrawFn) -> tuple[Library, Any, Any]:
    """(library, programs (P, L), lengths (P,)): whole programs, random tokens, and anything else."""
    library = draw(st.sampled_from(LIBRARIES))
    if draw(st.booleans()):
        expressions = [parse(text, library).program for text in ("x*y + x", "y", "x*x*y")]
        programs, lengths = pad_programs(expressions)
        if draw(st.booleans()):
            row, column = draw(st.integers(0, 2)), draw(st.integers(0, programs.shape[1] - 1))
            programs[row, column] = draw(st.integers(-2, 40) | st.sampled_from([32767, -32768]))
            lengths[row] += draw(st.integers(-3, 3) | st.sampled_from([2**40, -(2**40)]))
        return library, programs, lengths
    tokens = st.lists(st.integers(-1, len(library) + 1), min_size=1, max_size=MAX_LENGTH + 2)
    one = np.array(draw(tokens))
    return (
        library,
        draw(mostly(st.just(one[None]), odd_arrays)),
        draw(mostly(st.just(np.array([len(one)])), odd_arrays)),
    )


def run_tokens(case: tuple[Library, Any, Any]) -> None:
    """Evaluate programs; one that is whole has a tree, a depth, a complexity and a text that reads back."""
    library, programs, lengths = case
    out = evaluate_programs(programs, lengths, POINTS, library)
    assert out.shape == (len(programs), len(POINTS))
    for row, length in zip(programs, np.asarray(lengths).astype(int), strict=True):
        program = row[:length]
        to_tree(program, library)
        assert depth(program, library) >= 1
        assert complexity(program, library) >= 1
        to_infix(program, library)


cells = mostly(
    st.floats(-5, 5).map(str), texts | numbers.map(str) | st.sampled_from(["nan", "-inf", "1_0", "1,5", '"', "\r"])
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, str, list[str], Any]:
    """(content of a CSV file, target, inputs, units)."""
    columns = draw(st.integers(2, 4))
    header = draw(mostly(st.just(["y", "b", "a", "sin"][:columns]), st.lists(texts, max_size=4)))
    rows = [[str(i * (1 + k) % 7) for k in range(columns)] for i in range(draw(mostly(st.just(6), st.integers(0, 8))))]
    for _ in range(draw(st.integers(0, 2)) if rows else 0):
        rows[draw(st.integers(0, len(rows) - 1))][draw(st.integers(0, columns - 1))] = draw(cells)
    rows = draw(mostly(st.just(rows), st.lists(st.lists(cells, max_size=6), max_size=4)))
    separator = draw(mostly(st.just(","), st.sampled_from([";", "\t", ",,", "\0"])))
    text = "\n".join(separator.join(row) for row in [header, *rows])
    content = draw(mostly(st.just(text.encode("utf-8", "surrogatepass")), st.binary(max_size=60)))
    inputs = draw(mostly(st.just([]), st.lists(st.sampled_from(["a", "b", "nope"]), max_size=3)))
    units = draw(mostly(st.none(), st.dictionaries(st.sampled_from(["a", "b", "y", "q"]), unit_texts, max_size=4)))
    return content, draw(mostly(st.sampled_from(["y", "b"]), texts)), inputs, units


def read_csv(case: tuple[bytes, str, list[str], Any]) -> None:
    """A table for the search."""
    content, target, inputs, units = case
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content)
        table = read_table(path, target, inputs, units)
    assert np.isfinite(table.data.X).all()
    assert np.isfinite(table.data.y).all()


PLAIN_CSV = b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (i, i * i % 5, i * i) for i in range(9))
SURFACES = [
    Surface("formulas", formulas, read_formula, (LIBRARIES[2], "x^2*sin(y) - 0.5/x")),
    Surface("units", unit_texts, parse_units, "kg*m^2/s^2"),
    Surface("known parts of a law", known_parts, read_known_part, ("x*y", POINTS)),
    Surface("tokens", token_batches(), run_tokens, (LIBRARIES[0], *pad_programs([parse("x*y", LIBRARIES[0]).program]))),
    Surface("tables", tables(), read_csv, (PLAIN_CSV, "y", [], None), (UserError,)),
]
