"""Numbers a person would write: small fractions, with powers of pi, that lie within a tolerance."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import sympy
from numpy.typing import NDArray

ROOTS = (1, 2, 3, 5)
SCALE_BITS = 100.0  # no number of so many bits is recognised: powers of ten such as 1e-200 keep a law computable
MAX_PART, MAX_PRODUCT = 64, 256  # of numerator and denominator of the fractions that are tried first
PI_POWERS = tuple(Fraction(k, 2) for k in (0, 2, -2, 4, -4, 6, -6, 1, -1))


@dataclass(frozen=True)
class Exact:
    """The number ``fraction * pi ** pi_power * root ** 0.5``, with what it costs to say it."""

    fraction: Fraction
    pi_power: Fraction = Fraction(0)  # a multiple of 1/2
    root: int = 1
    given: bool = False
    """Whether it is no number of the law but one that the units bring: it costs nothing and is never doubted."""

    @classmethod
    def whole(cls, value: int) -> "Exact":
        """A whole number."""
        return cls(Fraction(value))

    def __float__(self) -> float:
        return float(float(self.fraction) * math.pi ** float(self.pi_power) * math.sqrt(self.root))

    @property
    def bits(self) -> float:
        """Description length in bits; 0 and 1 cost about one bit, 3/5 about six."""
        if self.given:
            return SCALE_BITS
        numerator, denominator = abs(self.fraction.numerator), self.fraction.denominator
        extra = 2.0 + float(abs(self.pi_power)) if self.pi_power else 0.0
        extra += 2.0 if self.pi_power.denominator == 2 else 0.0
        extra += 2.0 + math.log2(self.root) if self.root > 1 else 0.0
        sign = 1.0 if self.fraction < 0 else 0.0
        return 1.0 + sign + 1.5 * math.log2(max(numerator, 1) * denominator) + extra

    def sympy(self) -> sympy.Expr:
        """As an exact sympy number."""
        value: sympy.Expr = sympy.Rational(self.fraction.numerator, self.fraction.denominator)
        power = sympy.Rational(self.pi_power.numerator, self.pi_power.denominator)
        return value * sympy.pi**power * sympy.sqrt(self.root)

    def infix(self) -> str:
        """As text that the formula parser reads."""
        top = [str(abs(self.fraction.numerator))] if abs(self.fraction.numerator) != 1 else []
        bottom = [str(self.fraction.denominator)] if self.fraction.denominator != 1 else []
        if self.pi_power:
            power = {Fraction(1): "pi", Fraction(1, 2): "sqrt(pi)"}.get(abs(self.pi_power), f"pi^{abs(self.pi_power)}")
            (top if self.pi_power > 0 else bottom).append(power)
        if self.root > 1:
            top.append(f"sqrt({self.root})")
        text = "*".join(top) or "1"
        if bottom:
            text += "/" + (bottom[0] if len(bottom) == 1 else "(" + "*".join(bottom) + ")")
        return "-" + text if self.fraction < 0 else text


@lru_cache(maxsize=1)
def _forms() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of the positive numbers that :func:`simplest` tries, in order, and their description lengths."""
    fractions, *_ = _fractions()
    forms = [Exact(f, power, root) for power in PI_POWERS for root in ROOTS for f in fractions]
    values, bits = np.array([float(e) for e in forms]), np.array([e.bits for e in forms])
    order = np.argsort(values, kind="stable")
    return values[order], bits[order]


def coincidences(exact: Exact, value: float, error: float) -> float:
    """How many of the numbers that were tried, at least as simple, chance puts as near to a measured value.

    ``error`` is the standard error of ``value``: what lies within two of them is as near as the data can tell.

    >>> coincidences(Exact(Fraction(2)), 2.02, 0.02) > 0.01 > coincidences(Exact(Fraction(2)), 2.0002, 0.0002)
    True
    """
    width = 2.0 * max(2.0 * error, abs(value - float(exact)))
    values, bits = _forms()
    size = max(abs(value), 1e-300)
    first, last = np.searchsorted(values, [size / 2, 2 * size])
    density = max(1.0, float((bits[first:last] <= exact.bits + 1e-9).sum())) / (1.5 * size)  # itself at least
    fraction = abs(exact.fraction)
    if (
        max(fraction.numerator, fraction.denominator) > MAX_PART
        or fraction.numerator * fraction.denominator > MAX_PRODUCT
    ):  # whole numbers and decimals, at every scale
        steps = 1 if fraction.denominator == 1 else 100 if 100 % fraction.denominator == 0 else 1000
        density += steps * len(PI_POWERS) * len(ROOTS) if exact.pi_power or exact.root > 1 else steps
    return density * width


@lru_cache(maxsize=1)
def _fractions() -> tuple[list[Fraction], NDArray[np.float64], list[float]]:
    """Fractions to begin a search with, simplest first, their values, and what they cost."""
    found = {Fraction(a, b) for a in range(1, MAX_PART + 1) for b in range(1, MAX_PART + 1) if a * b <= MAX_PRODUCT}
    ordered = sorted(found, key=lambda f: (f.numerator * f.denominator, f.numerator))
    return ordered, np.array([float(f) for f in ordered]), [Exact(f).bits for f in ordered]


def simplest(value: float, tolerance: float, with_pi: bool = True) -> Exact | None:
    """The number of least description length within ``tolerance`` (absolute) of ``value``; None if there is none.

    >>> simplest(0.0795774715, 1e-9)
    Exact(fraction=Fraction(1, 4), pi_power=Fraction(-1, 1), root=1, given=False)
    >>> simplest(1.4999, 1e-3).infix()
    '3/2'
    """
    if not math.isfinite(value) or abs(value) <= tolerance:
        return None
    factors, scales, factor_bits = _scales(with_pi)
    targets, widths = abs(value) / scales, tolerance / scales
    ordered, values, fraction_bits = _fractions()
    near: NDArray[np.bool_] = np.abs(values - targets[:, None]) <= widths[:, None]
    places = np.where(near.any(axis=1), near.argmax(axis=1), -1)
    nearest = [
        (ordered[place], fraction_bits[place]) if place >= 0 else _rounded(target, width)
        for place, target, width in zip(places.tolist(), targets.tolist(), widths.tolist(), strict=True)
    ]
    row = int(np.argmin(factor_bits + [bits for _, bits in nearest]))
    fraction = nearest[row][0]
    return None if fraction is None else Exact(-fraction if value < 0 else fraction, *factors[row])


@lru_cache(maxsize=2)
def _scales(with_pi: bool) -> tuple[list[tuple[Fraction, int]], NDArray[np.float64], NDArray[np.float64]]:
    """Powers of pi and roots that a fraction may be multiplied by, simplest first, their values, and what they cost."""
    factors = [(power, root) for power in PI_POWERS for root in ROOTS] if with_pi else [(PI_POWERS[0], 1)]
    products = [Exact(Fraction(1), *factor) for factor in factors]
    return factors, np.array([float(e) for e in products]), np.array([e.bits - Exact.whole(1).bits for e in products])


def _rounded(target: float, width: float) -> tuple[Fraction | None, float]:
    """What people type, where it is as near as that (a whole number of some size, or 1.35, or 0.075), and its bits."""
    if math.isfinite(target * 1000):
        whole = round(target)
        if MAX_PART < whole < 10_000 and abs(whole - target) <= width:
            return Fraction(whole), Exact.whole(whole).bits
        for steps in (100, 1000):
            number = round(target * steps)
            if number > 0 and abs(number / steps - target) <= width:
                return Fraction(number, steps), Exact(Fraction(number, steps)).bits
    return None, math.inf


def nearest_exponent(value: float, tolerance: float) -> Fraction:
    """A whole or half exponent, or thirds, quarters and fifths where only they lie within ``tolerance``."""
    for denominator in (1, 2, 3, 5, 4):
        fraction = Fraction(round(value * denominator), denominator)
        if abs(float(fraction) - value) <= tolerance:
            return fraction
    return Fraction(round(value * 2), 2)
