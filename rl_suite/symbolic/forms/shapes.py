"""Functions of one variable with constants inside, over grids of them: waves, rates, steps, peaks, powers, bends.

A grid is in the column's own units: rates per range, frequencies in cycles over the range, places within it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import Piece, binary, number, product, unary

Values = NDArray[np.float64]
MAX_CYCLES = 60.0  # over the range of a column
CYCLES_STEP = 0.2  # less than the width of a peak of the periodogram, 1 cycle
WHOLE = 1e-6  # a power that is found no further from a whole number is that number
LARGEST_EXPONENT = 300.0  # of exp at the middle of a column, so that factors are numbers


@dataclass(frozen=True)
class Shape:
    """A family of functions; ``theta`` are its inner constants, (q,)."""

    name: str
    needs: tuple[str, ...]
    """Functions of the search, all of which (or "pow" alone) must be allowed."""
    positive: bool
    """Whether it takes no negative numbers."""
    grid: Callable[[Values], Values]
    """Column (n,) -> (T, q) to begin with."""
    columns: Callable[[Values, Values], Values]
    """Column (n,), theta (T, q) -> (T, f, n): values of the f functions that a sum has coefficients for."""
    pieces: Callable[[Piece, Values], list[Piece]]
    """Variable, theta (q,) -> the f functions as tokens."""

    def allowed(self, functions: Sequence[str], x: Values) -> bool:
        """Whether the search may use it on a column (n,)."""
        known = all(name in functions for name in self.needs)
        return known and not (self.positive and x.min() < 0) and len(np.unique(x)) > 2


def _range(x: Values) -> tuple[float, float, float]:
    """Least value, middle, and range of a column."""
    low, high = float(x.min()), float(x.max())
    return low, (low + high) / 2, high - low


def _pairs(first: Values, second: Values) -> Values:
    return np.array([(a, b) for a in first.tolist() for b in second.tolist()])


def _rates(x: Values, count: int) -> Values:
    half = np.geomspace(0.2, 60.0, count) / _range(x)[2]
    return np.concatenate([-half[::-1], half])


def _cycles(x: Values) -> Values:
    most = min(MAX_CYCLES, len(np.unique(x)) / 2)
    return 2 * np.pi * np.arange(0.3, max(most, 1.0), CYCLES_STEP) / _range(x)[2]


def _places(x: Values) -> Values:
    low, _, width = _range(x)
    return low + width * np.linspace(-0.25, 1.25, 13)


def linear(variable: Piece, slope: float, place: float) -> Piece:
    """slope*x + place."""
    return binary("add", binary("mul", number(slope), variable), number(place))


def _exponential(variable: Piece, rate: float) -> Piece:
    return unary("exp", binary("mul", number(rate), variable))


def _planck(variable: Piece, power: float, exponent: Piece) -> Piece:
    """variable^power/(exp(exponent) - 1), as in Planck's law; the power is whole where it is as near as that."""
    occupation = unary("inv", binary("sub", unary("exp", exponent), number(1.0, ONE)))
    whole = round(power)
    if whole == 0 and abs(power) < WHOLE:
        return occupation
    near = abs(power - whole) < WHOLE
    factor = product(None, [(variable, Fraction(whole))]) if near else binary("pow", variable, number(power))
    return binary("mul", factor, occupation)


def _one_plus(a: Piece) -> Piece:
    return unary("inv", binary("add", number(1.0, ONE), a))


def _saturations(x: Values) -> Values:
    """Exponents and logarithms of half-way points; falling where the column holds 0, which x^-n could not take."""
    middle = np.log(np.quantile(x[x > 0], np.linspace(0.02, 0.98, 9)))
    return _pairs(np.geomspace(0.4, 9.0, 9) * (1.0 if x.min() > 0 else -1.0), middle)


def _occupied(x: Values) -> Values:
    """Powers and rates of x^p/(exp(r x) - 1): 1, as of a pure number, or such that the column bends it."""
    return _pairs(np.arange(-1.0, 5.1, 1.0), np.append(np.geomspace(0.5, 60.0, 12) / float(x.max()), 1.0))


def _occupied_inverse(x: Values) -> Values:
    """Powers and places of x^p/(exp(place/x) - 1), chosen as in :func:`_occupied`."""
    return _pairs(np.arange(-6.0, 2.1, 1.0), np.append(np.geomspace(0.5, 60.0, 12) * float(x.min()), 1.0))


def _stretches(x: Values) -> Values:
    """Curvatures of 1/sqrt(1 - theta x^2): slow and fast, and with the other sign."""
    size = np.geomspace(3e-4, 0.97, 9)
    return np.asarray(np.concatenate([size, -10 * size[::2]]) / np.square(np.abs(x).max()))


def _stretch(x: Values, theta: Values) -> Values:
    """1/sqrt(1 - theta x^2), (T, n)."""
    return np.asarray(1.0 / np.sqrt(1.0 - theta * x**2))


ONE = Exact.whole(1)


def _sigmoid(z: Values) -> Values:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))


def _phase(x: Values, theta: Values) -> Values:
    """theta[:, 0] * (x - theta[:, 1]), (T, n)."""
    return np.asarray(theta[:, :1] * (x - theta[:, 1:]))


def _stretched(variable: Piece, curvature: float) -> Piece:
    inside = binary("sub", number(1.0, ONE), binary("mul", number(curvature), unary("sq", variable)))
    return unary("inv", unary("sqrt", inside))


SHAPES = (
    Shape(
        "wave", ("sin",), False,
        lambda x: _cycles(x)[:, None],
        lambda x, t: np.stack([np.sin(t * x), np.cos(t * x)], axis=1),
        lambda v, t: [unary("sin", binary("mul", number(t[0]), v)), unary("cos", binary("mul", number(t[0]), v))],
    ),
    Shape(
        "rate", ("exp",), False,
        lambda x: _rates(x, 16)[:, None],
        lambda x, t: np.exp(t * x)[:, None],
        lambda v, t: [_exponential(v, t[0])],
    ),
    Shape(
        "power", ("exp", "log"), True,
        lambda x: np.concatenate([np.arange(-4.0, 0.0, 0.25), np.arange(0.25, 6.1, 0.25)])[:, None],
        lambda x, t: (x**t)[:, None],
        lambda v, t: [binary("pow", v, number(t[0]))],
    ),
    Shape(
        "two rates", ("exp",), False,
        lambda x: np.array([(a, b) for i, a in enumerate(_rates(x, 8)) for b in _rates(x, 8)[:i]]),
        lambda x, t: np.exp(t[:, :, None] * x),
        lambda v, t: [_exponential(v, t[0]), _exponential(v, t[1])],
    ),
    Shape(
        "step", ("exp",), False,
        lambda x: _pairs(_rates(x, 7)[2:-2] * 2, _places(x)),
        lambda x, t: _sigmoid(_phase(x, t))[:, None],
        lambda v, t: [_one_plus(unary("exp", linear(v, -t[0], t[0] * t[1])))],
    ),
    Shape(
        "tanh", ("tanh",), False,
        lambda x: _pairs(_rates(x, 7)[7:-2], _places(x)),
        lambda x, t: np.tanh(_phase(x, t))[:, None],
        lambda v, t: [unary("tanh", linear(v, t[0], -t[0] * t[1]))],
    ),
    Shape(
        "peak", ("exp",), False,
        lambda x: _pairs(np.geomspace(1.0, 30.0, 7) / _range(x)[2], _places(x)),
        lambda x, t: np.exp(-_phase(x, t) ** 2)[:, None],
        lambda v, t: [unary("exp", unary("neg", unary("sq", linear(v, t[0], -t[0] * t[1]))))],
    ),
    Shape(
        "saturation", ("exp", "log"), True,
        _saturations,
        lambda x, t: _sigmoid(_phase(np.log(x), t))[:, None],
        lambda v, t: [_one_plus(binary("mul", number(np.exp(t[0] * t[1])), binary("pow", v, number(-t[0]))))],
    ),
    Shape(
        "damped wave", ("exp", "sin"), False,
        lambda x: _pairs(np.array([-6.0, -3.0, -1.5, -0.7, 0.7, 1.5]) / _range(x)[2], _cycles(x)[:120:2]),
        lambda x, t: np.exp(t[:, :1] * x)[:, None] * np.stack([np.sin(t[:, 1:] * x), np.cos(t[:, 1:] * x)], axis=1),
        lambda v, t: [
            binary("mul", _exponential(v, t[0]), unary("sin", binary("mul", number(t[1]), v))),
            binary("mul", _exponential(v, t[0]), unary("cos", binary("mul", number(t[1]), v))),
        ],
    ),
    Shape(
        "occupation", ("exp", "log"), True,
        _occupied,
        lambda x, t: (x ** t[:, :1] / np.expm1(t[:, 1:] * x))[:, None],
        lambda v, t: [_planck(v, t[0], binary("mul", number(t[1]), v))],
    ),
    Shape(
        "occupation of the inverse", ("exp", "log"), True,
        _occupied_inverse,
        lambda x, t: (x ** t[:, :1] / np.expm1(t[:, 1:] / x))[:, None],
        lambda v, t: [_planck(v, t[0], binary("div", number(t[1]), v))],
    ),
    Shape(
        "shifted logarithm", ("log",), False,
        lambda x: (_range(x)[2] * np.geomspace(0.003, 10.0, 12) - _range(x)[0])[:, None],
        lambda x, t: np.log(np.maximum(x + t, 1e-300))[:, None],
        lambda v, t: [unary("log", binary("add", v, number(t[0])))],
    ),
    Shape(
        "bend", ("sqrt",), False,  # |x| is the root of x^2
        lambda x: np.linspace(float(x.min()), float(x.max()), 27)[1:-1, None],
        lambda x, t: np.abs(x - t)[:, None],
        lambda v, t: [unary("abs", binary("sub", v, number(t[0])))],
    ),
    Shape(
        "Lorentz factor", ("sqrt",), False,
        lambda x: _stretches(x)[:, None],
        lambda x, t: np.stack([_stretch(x, t), x * _stretch(x, t)], axis=1),
        lambda v, t: [_stretched(v, t[0]), binary("mul", v, _stretched(v, t[0]))],
    ),
)  # fmt: skip
SQUARED_WAVE = Shape(  # 1 - cos(2 theta x) has lost its digits where x is small
    "squared wave", ("sin", "sq"), False,
    lambda x: _cycles(x)[:, None] / 2,
    lambda x, t: (np.sin(t * x) ** 2)[:, None],
    lambda v, t: [unary("sq", unary("sin", binary("mul", number(t[0]), v)))],
)  # fmt: skip
TWO_WAVES = Shape(  # the grid is that of the second beside the best one
    "two waves", ("sin",), False,
    lambda x: np.zeros((0, 2)),
    lambda x, t: np.stack([f(t[:, k : k + 1] * x) for k in (0, 1) for f in (np.sin, np.cos)], axis=1),
    lambda v, t: [unary(f, binary("mul", number(t[k]), v)) for k in (0, 1) for f in ("sin", "cos")],
)  # fmt: skip
FACTORED = ("Lorentz factor",)  # f and x f: f is written once, before the sum of both
WAVES = ("wave", "damped wave", "two waves")  # whose pairs of functions are one with an amplitude and a phase


def with_phase(shape: Shape, variable: Piece, theta: Values, sine: float, cosine: float) -> tuple[float, Piece]:
    """sine * f_1 + cosine * f_2 of a wave as amplitude times one function."""
    wave = unary("sin", linear(variable, float(theta[-1]), float(np.arctan2(cosine, sine))))
    damped = wave if shape.name != "damped wave" else binary("mul", _exponential(variable, float(theta[0])), wave)
    return float(np.hypot(sine, cosine)), damped
