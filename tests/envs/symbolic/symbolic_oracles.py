"""Slow and plain versions of the kernels, and random programs to compare them on."""

import numpy as np
from hypothesis import strategies as st

from envs.symbolic.tokens import CONSTANT, LITERAL, VARIABLE

NUMPY_OPERATIONS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "min": np.minimum,
    "max": np.maximum,
    "atan2": np.arctan2,
    "neg": np.negative,
    "inv": np.reciprocal,
    "sq": np.square,
    "cube": lambda a: a**3,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "step": lambda a: np.where(a >= 0, 1.0, 0.0),
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
}


ROUNDING = 2e-15  # relative: vector libraries and our polynomials are right to a few units in the last place
INEXACT_NEAR_ZERO = {"sin", "cos"}  # right to so many units of 1, not of their value
UNDERFLOWING = {"mul", "div", "inv", "sq", "cube", "pow", "exp"}


def evaluate_with_numpy(program, library, X, constants=(), rounding=None):
    """Values (n,) of one program; all NaN if any intermediate value is not finite.

    ``rounding`` (an odd 64-bit number) moves every result of an operation by a little, as another way to round
    it might; equal values move alike, so that x*y - x*y stays 0.
    """
    left_over = list(constants)
    stack = []
    with np.errstate(all="ignore"):
        for i in reversed(program):
            token = library.tokens[i]
            if token.opcode == VARIABLE:
                stack.append(X[:, token.index])
            elif token.opcode == LITERAL:
                stack.append(np.full(len(X), token.value))
            elif token.opcode == CONSTANT:
                stack.append(np.full(len(X), left_over.pop()))
            else:
                arguments = [stack.pop() for _ in range(token.arity)]
                stack.append(NUMPY_OPERATIONS[token.name](*arguments))
                if rounding is not None and token.name not in ("neg", "abs"):
                    stack[-1] = _rounded_differently(token.name, stack[-1], rounding)
            if not np.isfinite(stack[-1]).all():
                return np.full(len(X), np.nan)
    return stack[0]


def _rounded_differently(name, values, salt):
    """Values moved up or down, as a hash of their bits says."""
    up = (values.view(np.uint64) * np.uint64(salt)) >> np.uint64(63)
    sign = np.where(up == 1, 1.0, -1.0)
    size = ROUNDING * (np.maximum(abs(values), 1.0) if name in INEXACT_NEAR_ZERO else abs(values))
    if name in UNDERFLOWING:
        size = size + 1e-322
    if name == "exp":  # may be flushed to 0 below e**-707
        size = np.where(values < 1e-306, values, size)
    return values + sign * size


def assert_agree(ours, program, library, X, constants=()):
    """Our values are numpy's, up to what rounding may do to them; NaN where numpy's are not finite.

    What rounding may do is measured by rounding every step of the program otherwise, in sixteen ways. Where
    these do not agree on whether the program is finite, nothing is asked.
    """
    expected = evaluate_with_numpy(program, library, X, constants)
    salts = np.random.default_rng(0).integers(2**63, size=16, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    others = np.array([evaluate_with_numpy(program, library, X, constants, salt) for salt in salts])  # (16, n)
    finite = np.isfinite(others[:, 0])
    if finite.any() != finite.all() or finite.any() != np.isfinite(expected[0]):
        return
    if not finite.any():
        assert np.isnan(ours).all()
        return
    spread = abs(others - expected).max(axis=0)
    np.testing.assert_array_less(abs(ours - expected), 10 * spread + 1e-15 * abs(expected) + 1e-320)


@st.composite
def random_programs(draw, library, max_length=20):
    """A whole prefix program: tokens drawn one by one, operands only once the length is used up."""
    operands = [i for i in range(len(library)) if library.arity[i] == 0]
    everything = list(range(len(library)))
    program, needed = [], 1
    while needed:
        token = draw(st.sampled_from(everything if len(program) + needed < max_length else operands))
        program.append(token)
        needed += int(library.arity[token]) - 1
    return np.array(program, dtype=np.int16)


def random_batch(library, rng, n, max_length=16):
    """n random programs from a numpy generator, as a list of arrays."""
    operands = np.flatnonzero(library.arity == 0)
    batch = []
    for _ in range(n):
        program, needed, limit = [], 1, rng.integers(1, max_length + 1)
        while needed:
            token = int(rng.integers(len(library)) if len(program) + needed < limit else rng.choice(operands))
            program.append(token)
            needed += int(library.arity[token]) - 1
        batch.append(np.array(program, dtype=np.int16))
    return batch


def unit_of(program, library, units):
    """Unit of a whole program as a list, "any" if a wild constant leaves it open, None if it is inconsistent."""
    stack = []
    for i in reversed(program):
        token = library.tokens[i]
        if token.index >= 0:
            stack.append(units.variables[token.index].astype(float))
        elif token.arity == 0:
            stack.append("any" if token.opcode == CONSTANT and units.free_constant else np.zeros(len(units.base)))
        else:
            stack.append(_value_unit(token.units, [stack.pop() for _ in range(token.arity)], len(units.base)))
        if stack[-1] is None:
            return None
    return stack[0] if isinstance(stack[0], str) else stack[0].tolist()


def _value_unit(rule, arguments, n_base):
    exact = [a for a in arguments if not isinstance(a, str)]
    if rule == "none":
        return None if any(a.any() for a in exact) else np.zeros(n_base)
    if rule == "equal":
        if len(exact) == 2 and not np.array_equal(*exact):
            return None
        return exact[0] if exact else "any"
    if len(exact) < len(arguments):
        return "any"
    a = exact[0]
    if rule in ("mul", "div"):
        return a + exact[1] if rule == "mul" else a - exact[1]
    return {"keep": a, "square": 2 * a, "cube": 3 * a, "sqrt": a / 2, "inverse": -a}[rule]
