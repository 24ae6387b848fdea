"""The stack machine agrees with plain numpy wherever numpy stays finite."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symbolic_oracles import assert_agree, random_batch, random_programs

from envs.symbolic import tokens
from envs.symbolic.fastmath import EXP_LOW, TRIG_LIMIT
from envs.symbolic.program import BLOCK, count_constants, evaluate_programs, mean_square_kernel
from envs.symbolic.text import parse, to_infix
from envs.symbolic.tokens import MAX_STACK, Library, pad_programs

FULL = Library("full", ["x", "y"], literals=["1", "2", "pi"], constant=True)
NO_POWERS = Library([f for f in FULL.functions if f != "pow"], ["x", "y"], literals=["1", "2", "3"], constant=True)
RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-3.0, 3.0, (23, 2))


def evaluate_text(text, X, library=FULL):
    expression = parse(text, library)
    programs, lengths = pad_programs([expression.program])
    return evaluate_programs(programs, lengths, X, library, expression.constants[None])[0]


@settings(max_examples=300, deadline=None)
@given(program=random_programs(FULL), values=st.lists(st.floats(-4, 4), min_size=20, max_size=20))
def test_random_programs_agree_with_numpy(program, values):
    constants = np.array(values)[: int((program == FULL.constant_id).sum())]
    programs, lengths = pad_programs([program], length=24)
    ours = evaluate_programs(programs, lengths, POINTS, FULL, np.array(values)[None])[0]
    assert_agree(ours, program, FULL, POINTS, constants)


def test_a_batch_over_many_blocks_agrees_with_numpy():
    X = RNG.uniform(0.1, 2.0, (2 * BLOCK + 37, 2))
    batch = random_batch(FULL, RNG, 300)
    programs, lengths = pad_programs(batch)
    constants = RNG.normal(size=(300, 16))
    ours = evaluate_programs(programs, lengths, X, FULL, constants)
    for row, program in enumerate(batch):
        assert_agree(ours[row], program, FULL, X, constants[row, : (program == FULL.constant_id).sum()])
    assert 50 < np.isfinite(ours[:, 0]).sum() < 300  # both outcomes were there


def test_constants_are_taken_in_prefix_order():
    program = FULL.encode(["sub", "mul", "c", "x", "c"])[None]
    values = evaluate_programs(program, np.array([5]), np.array([[2.0, 0.0]]), FULL, np.array([[10.0, 3.0]]))
    assert values.tolist() == [[17.0]]
    assert count_constants(program, np.array([5]), FULL).tolist() == [2]
    assert evaluate_programs(program, np.array([5]), np.array([[2.0, 0.0]]), FULL).tolist() == [[1.0]]  # all 1


def test_one_bad_point_spoils_the_row_even_in_a_late_block():
    X = np.ones((3 * BLOCK, 2))
    X[-1, 0] = -1.0
    assert np.isnan(evaluate_text("log(x)", X)).all()
    assert np.isnan(evaluate_text("1/(1/(x + 1))", X)).all()  # inf on the way, finite at the end
    assert np.isfinite(evaluate_text("log(y)", X)).all()


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos"])
def test_polynomials_keep_double_precision(name):
    low, high = {"exp": (EXP_LOW, 709.0), "log": (1e-300, 1e6), "sin": (-TRIG_LIMIT, TRIG_LIMIT)}.get(name, (-10, 10))
    x = np.concatenate([np.linspace(low, high, 5001), np.geomspace(1e-12, min(high, 700.0), 5001)])
    ours = evaluate_text(f"{name}(x)", np.column_stack([x, x]))
    expected = getattr(np, name)(x)
    assert (abs(ours - expected) <= 3e-16 * np.maximum(1.0 if name in ("sin", "cos") else 0.0, abs(expected))).all()


def test_large_angles_fall_back_to_the_library():
    x = np.array([[1e6 + 0.3, 0.0], [1e15, 0.0], [12.0, 0.0]])
    np.testing.assert_allclose(evaluate_text("sin(x)", x), np.sin(x[:, 0]), rtol=1e-15)
    np.testing.assert_allclose(evaluate_text("cos(x)", x), np.cos(x[:, 0]), rtol=1e-15)


@pytest.mark.parametrize(("text", "x"), [("exp(x)", 710.0), ("log(x)", 0.0), ("sqrt(x)", -1e-9), ("asin(x)", 1.01)])
def test_out_of_range_is_not_finite(text, x):
    assert np.isnan(evaluate_text(text, np.array([[x, 0.0]]))).all()


@settings(max_examples=200, deadline=None)
@given(program=random_programs(NO_POWERS, max_length=12))
def test_printed_text_parses_back_to_the_same_values(program):
    constants = np.linspace(-1.3, 2.1, int((program == NO_POWERS.constant_id).sum()))
    text = to_infix(program, NO_POWERS, constants, digits=17)
    again = evaluate_text(text, POINTS, NO_POWERS)
    assert_agree(again, program, NO_POWERS, POINTS, constants)


def test_opcodes_have_names():
    for name, operation in tokens.OPERATIONS.items():
        assert getattr(tokens, name.upper()) == operation.opcode
        assert (operation.arity == 2) == (operation.opcode <= tokens.LAST_BINARY)
    assert max(operation.opcode for operation in tokens.OPERATIONS.values()) == tokens.LAST_OPCODE


def test_mean_square_error_matches_numpy_and_is_inf_for_bad_programs():
    library = Library("koza", ["x"])
    programs, lengths = pad_programs([library.encode(["mul", "x", "x"]), library.encode(["log", "x"])])
    x = np.linspace(-1.0, 1.0, 300)
    target = x**2 + 0.5
    out = np.empty(2)
    mean_square_kernel(programs, lengths, library.table, x[None], target, np.ones((2, 0)), out)
    assert out == pytest.approx([0.25, np.inf])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones((3, 1))}, r"shape \(n, 2\)"),
        ({"X": np.full((3, 2), np.nan)}, "NaN"),
        ({"lengths": np.array([2])}, "row 0 is not one whole expression"),
        ({"lengths": np.array([9])}, "row 0"),
        ({"programs": np.array([[99, 0, 0]])}, "row 0"),
        ({"constants": np.ones((1, 0))}, r"constants must be \(1, >= 1\)"),
        ({"programs": np.zeros(3, dtype=np.int16)}, "programs must be"),
        ({"programs": np.array([[2**16 + 3, 0, 0]])}, "programs must be whole numbers of int16"),
        ({"programs": np.array([[0.5, 1.0, 2.0]])}, "programs must be whole numbers"),
        ({"programs": np.array([[None, 1, 2]])}, "programs must be whole numbers"),
        ({"lengths": np.array([3.0])}, "lengths must be whole numbers"),
        ({"lengths": np.array([2**63], dtype=np.uint64)}, "lengths must be whole numbers"),
        ({"X": np.array([["1", "2"]])}, "X must be real numbers"),
        ({"constants": np.array([[1j]])}, "constants must be real numbers"),
    ],
)
def test_bad_batches_are_refused(change, message):
    arguments = {"programs": FULL.encode(["add", "c", "x"])[None], "lengths": np.array([3]), "X": np.ones((3, 2))}
    with pytest.raises(ValueError, match=message):
        evaluate_programs(**{**arguments, **change}, library=FULL)


def test_too_deep_programs_are_refused():
    deep = ["add", "x"] * (MAX_STACK + 1) + ["x"]  # every x waits on the stack... read from the end, none does
    wide = ["add"] * (MAX_STACK + 1) + ["x"] * (MAX_STACK + 2)
    programs, lengths = pad_programs([FULL.encode(deep), FULL.encode(wide)])
    X = np.ones((4, 2))
    assert evaluate_programs(programs[:1], lengths[:1], X, FULL)[0, 0] == MAX_STACK + 2
    with pytest.raises(ValueError, match=f"at most {MAX_STACK} levels"):
        evaluate_programs(programs[1:], lengths[1:], X, FULL)
