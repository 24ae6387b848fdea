"""Derivatives against finite differences, fits against scipy's least_squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from symbolic_oracles import evaluate_with_numpy, random_batch, random_programs

from envs.symbolic.fitting import fit_constants, refine_constants
from envs.symbolic.gradient import run_with_gradient
from envs.symbolic.program import BLOCK, evaluate_programs, make_machine
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library, pad_programs

FULL = Library("full", ["x"], literals=["2"], constant=True)
KOZA = Library("koza", ["x"], constant=True)
X = np.linspace(0.2, 2.0, 20)[:, None]


STEEP_AT_THE_BORDER = {"sqrt", "asin", "acos", "pow"}


def gradient_of(program, constants):
    """(k, n) from the kernel, or None where it is not finite."""
    machine = make_machine(FULL.table, 1)
    machine.workspace[0, : len(X)] = X[:, 0]
    gradient = np.full((max(1, len(constants)), BLOCK), np.nan)
    row = run_with_gradient(program, len(program), machine, constants, gradient, len(X))
    return None if row < 0 else gradient[: len(constants), : len(X)]


@settings(max_examples=300, deadline=None)
@given(program=random_programs(FULL, max_length=12), values=st.lists(st.floats(0.2, 3), min_size=12, max_size=12))
def test_forward_derivatives_equal_central_differences(program, values):
    constants = np.array(values[: int((program == FULL.constant_id).sum())])
    gradient = gradient_of(program, constants)
    if gradient is None:
        assert np.isnan(evaluate_with_numpy(program, FULL, X, constants)).all()
        return
    for k in range(len(constants)):
        differences = []
        for h in (1e-4, 1e-5):
            low, high = constants.copy(), constants.copy()
            low[k], high[k] = constants[k] - h, constants[k] + h
            low, high = (evaluate_with_numpy(program, FULL, X, c) for c in (low, high))
            differences.append((high - low) / (2 * h))
        rough, fine = differences
        smooth = np.isfinite(rough + fine) & (abs(rough - fine) < 1e-3 * (1e-3 + abs(fine))) & (abs(low) < 1e4)
        if STEEP_AT_THE_BORDER & set(FULL.decode(program)):  # asin(tanh(40)): 0 times infinity, a point that fits drop
            smooth &= np.isfinite(gradient[k])
        np.testing.assert_allclose(gradient[k][smooth], fine[smooth], rtol=2e-3, atol=1e-4)


def test_derivatives_of_every_operation_by_hand():
    cases = {
        "c*x": (2.0, lambda c, x: x),
        "x/c": (2.0, lambda c, x: -x / c**2),
        "c/x": (2.0, lambda c, x: 1 / x),
        "x - c": (2.0, lambda c, x: -np.ones_like(x)),
        "x^c": (1.5, lambda c, x: x**c * np.log(x)),
        "pow(c, x)": (1.5, lambda c, x: x * c ** (x - 1)),
        "-(c*x)": (2.0, lambda c, x: -x),
        "inv(c + x)": (2.0, lambda c, x: -1 / (c + x) ** 2),
        "(c*x)^2": (3.0, lambda c, x: 2 * c * x * x),
        "(c*x)^3": (3.0, lambda c, x: 3 * c**2 * x**3),
        "sqrt(c*x)": (3.0, lambda c, x: 0.5 * np.sqrt(x / c)),
        "abs(c - 2*x)": (2.0, lambda c, x: np.where(c >= 2 * x, 1.0, -1.0)),
        "exp(c*x)": (0.5, lambda c, x: x * np.exp(c * x)),
        "log(c*x)": (0.5, lambda c, x: np.full_like(x, 1 / c)),
        "sin(c*x)": (0.5, lambda c, x: x * np.cos(c * x)),
        "cos(c*x)": (0.5, lambda c, x: -x * np.sin(c * x)),
        "tan(c*x)": (0.5, lambda c, x: x / np.cos(c * x) ** 2),
        "asin(c*x)": (0.3, lambda c, x: x / np.sqrt(1 - (c * x) ** 2)),
        "acos(c*x)": (0.3, lambda c, x: -x / np.sqrt(1 - (c * x) ** 2)),
        "atan(c*x)": (0.3, lambda c, x: x / (1 + (c * x) ** 2)),
        "sinh(c*x)": (0.3, lambda c, x: x * np.cosh(c * x)),
        "cosh(c*x)": (0.3, lambda c, x: x * np.sinh(c * x)),
        "tanh(c*x)": (0.3, lambda c, x: x / np.cosh(c * x) ** 2),
    }
    for text, (c, expected) in cases.items():
        program = parse(text, FULL).program
        np.testing.assert_allclose(
            gradient_of(program, np.array([c]))[0], expected(c, X[:, 0]), rtol=1e-12, err_msg=text
        )


def test_known_constants_are_found_to_twelve_digits():
    program = parse("c*exp(c*x) + c", KOZA).program
    y = 2.5 * np.exp(-1.3 * X[:, 0]) + 0.7
    fits = fit_constants(program[None], np.array([len(program)]), X, y, KOZA)
    np.testing.assert_allclose(fits.constants[0], [2.5, -1.3, 0.7], rtol=1e-9)
    assert fits.mean_square[0] < 1e-20


def test_many_blocks_of_points_and_a_noisy_optimum_equal_scipy():
    rng = np.random.default_rng(3)
    x = rng.uniform(0.0, 3.0, (3 * BLOCK + 5, 1))
    y = 1.7 * np.sin(2.1 * x[:, 0]) + 0.1 * rng.normal(size=len(x))
    program = parse("c*sin(c*x)", KOZA).program
    fits = fit_constants(
        program[None], np.array([len(program)]), x, y, KOZA, initial=np.array([[1.0, 2.0]]), restarts=0
    )
    peer = least_squares(lambda c: c[0] * np.sin(c[1] * x[:, 0]) - y, [1.0, 2.0], method="lm")
    np.testing.assert_allclose(fits.constants[0], peer.x, rtol=1e-6)
    assert fits.mean_square[0] == pytest.approx(2 * peer.cost / len(x), rel=1e-10)


def random_problems(n, seed):
    """Programs with 1-3 constants and targets that some constants in [-3, 3] give exactly."""
    rng = np.random.default_rng(seed)
    problems = []
    while len(problems) < n:
        for program in random_batch(KOZA, rng, 200, max_length=12):
            k = int((program == KOZA.constant_id).sum())
            if 1 <= k <= 3 and (program == KOZA.id("x")).any():
                y = evaluate_with_numpy(program, KOZA, X, rng.uniform(-3, 3, k))
                if np.isfinite(y).all() and y.std() > 1e-3 and abs(y).max() < 1e4:
                    problems.append((program, y))
    return problems[:n]


def test_fits_are_at_least_as_good_as_scipy_and_restarts_reach_four_in_five():
    problems = random_problems(150, seed=4)
    ours, scipys, with_restarts = [], [], []
    for program, y in problems:
        padded, lengths = pad_programs([program])
        k = int((program == KOZA.constant_id).sum())
        ours.append(fit_constants(padded, lengths, X, y, KOZA, restarts=0).mean_square[0] / y.var())
        with_restarts.append(fit_constants(padded, lengths, X, y, KOZA, restarts=4).mean_square[0] / y.var())

        def residuals(c, program=program, y=y):
            values = evaluate_with_numpy(program, KOZA, X, c) - y
            return np.clip(values, -1e6, 1e6) if np.isfinite(values).all() else np.full(len(y), 1e6)

        scipys.append(2 * least_squares(residuals, np.ones(k), method="lm", max_nfev=100).cost / len(y) / y.var())
    ours, scipys, with_restarts = (np.array(a) < 1e-10 for a in (ours, scipys, with_restarts))
    assert ours.mean() >= scipys.mean() - 0.03
    assert with_restarts.mean() >= 0.8
    assert with_restarts[ours].all()  # restarts never lose what the first start found


def test_rows_do_not_influence_each_other_and_seeds_repeat():
    programs, lengths = pad_programs([parse(t, KOZA).program for t in ("c*x", "sin(c*x)", "x", "log(c - x)")])
    y = np.sin(3.3 * X[:, 0])
    fits = fit_constants(programs, lengths, X, y, KOZA, seed=5)
    again = fit_constants(programs, lengths, X, y, KOZA, seed=5)
    np.testing.assert_array_equal(fits.constants, again.constants)
    alone = fit_constants(programs[:1], lengths[:1], X, y, KOZA, seed=5)
    assert alone.mean_square[0] == fits.mean_square[0]
    assert fits.mean_square[1] < 1e-20
    assert fits.mean_square[2] == pytest.approx(np.mean((X[:, 0] - y) ** 2))
    values = evaluate_programs(programs, lengths, X, KOZA, fits.constants)
    np.testing.assert_allclose(np.mean((values - y) ** 2, axis=1), fits.mean_square, rtol=1e-9, atol=1e-25)


def refine(text, y, start, held=(), scale=1.0):
    free = np.array([i not in held for i in range(len(start))])
    return refine_constants(parse(text, KOZA).program, X.T.copy(), y, KOZA, np.array(start), free, scale)


def test_held_constants_stay_and_the_others_fit_around_them():
    x = X[:, 0]
    found = refine("c*x + c", 3 * x + 5, [1.0, 4.0], held=[1])
    slope = x @ (3 * x + 1) / (x @ x)
    np.testing.assert_allclose(found.constants, [slope, 4.0], rtol=1e-12)
    assert found.mean_square == pytest.approx(np.mean((3 * x + 1 - slope * x) ** 2))
    variance = found.mean_square * 20 / 19 / (x @ x)  # one constant is fitted to 20 rows
    np.testing.assert_allclose(found.covariance, [[variance, 0], [0, 0]], rtol=1e-9)


def test_covariance_is_that_of_least_squares_in_any_unit():
    x = X[:, 0]
    y = 3 * x + 5 + 0.1 * np.random.default_rng(1).normal(size=20)
    A = np.stack([x, np.ones(20)], axis=1)
    for size in (1.0, 1e-120, 1e120):
        found = refine("c*x + c", size * y, [size, size], scale=size)
        rest = y - A @ (found.constants / size)
        np.testing.assert_allclose(found.constants / size, np.linalg.lstsq(A, y)[0], rtol=1e-9)
        np.testing.assert_allclose(
            found.covariance / size / size, np.linalg.inv(A.T @ A) * (rest @ rest) / 18, rtol=1e-6
        )


def test_constants_that_say_the_same_twice_share_the_work():
    x = X[:, 0]
    y = np.exp(1.7 * x) + 0.1 * np.random.default_rng(2).normal(size=20)
    alone = refine("c*exp(c*x)", y, [1.2, 1.5])
    twice = refine("c*exp(c*x + c*x + c)", y, [1.2, 0.7, 0.8, 0.0])
    assert twice.mean_square == pytest.approx(alone.mean_square, rel=1e-9)
    assert twice.constants[1:3].sum() == pytest.approx(alone.constants[1], rel=1e-6)
    assert abs(twice.constants).max() < 3.0  # no pair of huge constants that cancel
    assert (np.diag(twice.covariance) > 1.0).all()  # and it is said that nothing is known about each


def test_points_without_a_derivative_do_not_spoil_the_fit():
    x = np.linspace(0.0, 2.0, 20)
    program = parse("c*x^c", FULL).program
    found = refine_constants(program, x[None].copy(), 3 * x**0.7, FULL, np.array([1.0, 1.0]), np.ones(2, bool))
    np.testing.assert_allclose(found.constants, [3.0, 0.7], rtol=1e-9)


def test_every_program_may_have_a_target_of_its_own():
    x = X[:, 0]
    programs, lengths = pad_programs([parse(t, KOZA).program for t in ("c*x", "exp(c*x)", "x")])
    targets = np.array([2 * x, np.exp(0.5 * x), x + 1])
    fits = fit_constants(programs, lengths, X, targets, KOZA)
    np.testing.assert_allclose(fits.constants[:2, 0], [2.0, 0.5], rtol=1e-9)
    assert fits.mean_square[2] == pytest.approx(1.0)


def test_random_starts_are_the_best_of_many():
    """sin(c*x) has many valleys: four blind starts reach the right one for one in eight of these."""
    program = parse("sin(c*x)", KOZA).program
    x = np.linspace(0.0, 10.0, 50)[:, None]
    frequencies = np.linspace(1.5, 4.0, 30)
    targets = np.sin(frequencies[:, None] * x[:, 0])
    padded, lengths = pad_programs([program] * len(frequencies))
    fits = fit_constants(padded, lengths, x, targets, KOZA, restarts=4)
    assert (fits.mean_square < 1e-12).mean() >= 0.6


def test_never_finite_programs_get_infinite_error():
    program = parse("log(x - x) + c", KOZA).program
    assert fit_constants(program[None], np.array([len(program)]), X, X[:, 0], KOZA).mean_square[0] == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones(3)}, "20 finite numbers"),
        ({"y": np.full(20, np.nan)}, "finite"),
        ({"initial": np.ones((2, 1))}, r"initial must be \(1, >= 1\)"),
    ],
)
def test_bad_data_are_refused(change, message):
    arguments = {"programs": KOZA.encode(["mul", "c", "x"])[None], "lengths": np.array([3]), "X": X, "y": X[:, 0]}
    with pytest.raises(ValueError, match=message):
        fit_constants(**{**arguments, **change}, library=KOZA)
