"""Libraries, programs as arrays, and the parser that never evaluates anything as Python."""

import pickle

import numpy as np
import pytest

from envs.symbolic.text import MAX_TEXT, parse, to_infix
from envs.symbolic.tokens import Library, complexity, depth, pad_programs, subtree_sizes, to_tree

FULL = Library("full", ["x", "y"], literals=["1", "2", "pi"], constant=True)
KOZA = Library("koza", ["x", "y"])


def names(text, library=FULL):
    return " ".join(library.decode(parse(text, library).program))


def test_ids_follow_the_order_of_the_arguments():
    assert KOZA.decode(range(len(KOZA))) == ["add", "sub", "mul", "div", "sin", "cos", "exp", "log", "x", "y"]
    assert Library(["log", "add"], 2).decode(range(4)) == ["log", "add", "x0", "x1"]
    assert pickle.loads(pickle.dumps(FULL)) == FULL != KOZA
    assert Library("arithmetic", ["c"], constant=True).decode([4, 5]) == ["c_", "c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"functions": "kozza"}, "unknown function set"),
        ({"functions": {"add", "mul"}}, "ordered"),
        ({"functions": ["add", "plus"]}, "unknown function 'plus'"),
        ({"functions": ["add", "add"]}, "repeat"),
        ({"variables": 0}, "variables must be"),
        ({"variables": ["a b"]}, "variable name 'a b'"),
        ({"variables": ["__class__"]}, "variable name"),
        ({"variables": ["log"]}, "rename"),
        ({"variables": ["x", "x"]}, "repeat"),
        ({"literals": ["one"]}, "literal 'one'"),
        ({"literals": ["inf"]}, "finite"),
        ({"complexities": {"tan": 2}}, "lacks"),
    ],
)
def test_bad_libraries_say_why(arguments, message):
    with pytest.raises(ValueError, match=message):
        Library(**arguments)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("x - y - 1", "sub sub x y 1"),
        ("x - (y - 1)", "sub x sub y 1"),
        ("2^x^y", "pow 2 pow x y"),
        ("-x^2", "neg sq x"),
        ("(-x)^2", "sq neg x"),
        ("x*-y", "mul x neg y"),
        ("+x / 2 * y", "mul div x 2 y"),
        ("x**-1", "inv x"),
        ("x^(1/2)", "sqrt x"),
        ("x^-(1/2)", "inv sqrt x"),
        ("ln(arcsin(x))", "log asin x"),
        ("pow(x, y) + sin((x))", "add pow x y sin x"),
        ("pi*1.0", "mul pi 1"),
        ("c*x", "mul c x"),
    ],
)
def test_parse_reads_precedence_and_functions(text, prefix):
    assert names(text) == prefix


def test_parse_says_what_the_library_lacks_with_what_it_has():
    assert names("x^3", KOZA) == "mul mul x x x"
    assert names("-x", Library("arithmetic", ["x"], constant=True)) == "mul c x"
    with pytest.raises(ValueError, match=r"neither the number 0\.5 nor fitted"):
        parse("0.5*x", KOZA)
    with pytest.raises(ValueError, match="lacks 'tanh'"):
        parse("tanh(x)", KOZA)


def test_numbers_become_literals_or_constants_in_prefix_order():
    expression = parse("2*x + 0.25*y - 1.5e-3", FULL)
    assert FULL.decode(expression.program) == ["sub", "add", "mul", "2", "x", "mul", "c", "y", "c"]
    assert expression.constants.tolist() == [0.25, 1.5e-3]
    assert parse("-3*x", FULL).constants.tolist() == [-3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("x +", "ends where a term"),
        ("x y", "operator is missing before 'y'"),
        ("x * / y", "term is missing before '/'"),
        ("(x", "never closed"),
        ("x)", "without an open bracket"),
        ("(x, y)", "without an open bracket"),
        ("sin(x, y)", r"takes 1 argument\(s\), not 2"),
        ("sin()", "term is missing"),
        ("sin + x", "needs its argument in brackets"),
        ("z + 1", "unknown name 'z'"),
        ("__import__(x)", "unknown function '__import__'"),
        ("sin('x')", "is not part"),
        ("x + (1e300*1e300)", r"make one beyond 1\.8e\+308"),
        ("(1e10)^64*x", "make one beyond"),
        ("1e308 + 1e308 + x", "make one beyond"),
        ("(1e300*1e300)^x^1e300", "beyond 64|make one beyond"),
        ("eval(x)", "unknown function 'eval'"),
        ("x.__class__", "attributes are not allowed"),
        ("x[0]", r"'\[' is not part"),
        ("lambda: x", "unknown name|not part"),
        ("x; y", "';' is not part"),
        ("x^1e9", r"exponent 1e\+09 is beyond 64"),
        ("9^9^9^9", "beyond 64"),
        ("1e999", "too large"),
        ("x×y", "not part"),
        ("(" * 500 + "x" + ")" * 500, "nested deeper"),
        ("-" * 5000 + "x", "nested deeper"),
        ("+".join(["x"] * 3000), "more than 1024 tokens"),
        ("x+" * 50_000 + "x", f"the limit is {MAX_TEXT}"),
        ("z" * 9000, "unknown name"),
        ("z" * 9000 + "(x)", "unknown function"),
        ("x " + "y" * 9000, "an operator is missing before"),
    ],
)
def test_bad_formulas_are_refused_with_the_place(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(text, FULL)
    assert len(str(caught.value)) < 1000


def test_printing_brackets_only_where_needed():
    def again(text):
        expression = parse(text, FULL)
        return to_infix(expression.program, FULL, expression.constants)

    for text in [
        "x - (y - 1)",
        "(x + y)*(x - y)/(2*x)",
        "x/(y/2)",
        "-(x + y)",
        "(-x)^2",
        "-x^2",
        "1/(x*y)",
        "exp(-x^2/2)/sqrt(2*pi)",
        "-0.5*x + 1e-05*y",
        "x*(-y)",
        "(x^y)^2",
    ]:
        assert again(text) == text
    assert to_infix(FULL.encode(["mul", "c", "x"]), FULL) == "c*x"
    with pytest.raises(ValueError, match="1 fitted constants, but 0"):
        to_infix(FULL.encode(["mul", "c", "x"]), FULL, np.zeros(0))


def test_tree_tools_on_a_hand_made_program():
    program = parse("sin(x)*y + 1", FULL).program  # add mul sin x y 1
    assert subtree_sizes(program, FULL).tolist() == [6, 4, 2, 1, 1, 1]
    assert depth(program, FULL) == 4
    assert complexity(program, FULL) == 1 + 1 + 2 + 1 + 1 + 1
    add, mul, sin, x, y, one = program.tolist()
    assert to_tree(program, FULL) == (add, (mul, (sin, (x,)), (y,)), (one,))
    padded, lengths = pad_programs([program, program[:1]])
    assert padded.shape == (2, 6)
    assert lengths.tolist() == [6, 1]
    assert padded[1, 1] == -1
    for broken, message in [(program[:-1], "ends before"), (program[[3, 4]], "whole after 1"), (padded[1], "padding")]:
        with pytest.raises(ValueError, match=message):
            subtree_sizes(broken, FULL)
