"""Units as people write them: ``"km/h"``, ``"kg m^2 s^-2"``, ``"J/(mol K)"``, ``"m/s²"``, ``"deg"``.

A small table instead of a library: worlds may import none, and what is needed is exact arithmetic on exponents
and factors. Values: SI brochure (9th edition, 2019), IAU 2012 B2 and 2015 B3, CODATA 2022 for the dalton and the sun.
"""

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_TEXT, MAX_DEPTH = 200, 10  # characters of a unit, open brackets
MAX_POWER = 8  # exponents beyond +-8 are neither read nor searched
MAX_DIGITS = 300  # decimal exponent beyond which a factor is no number of double precision
SI = ("m", "kg", "s", "A", "K", "mol", "cd")

PREFIXES = {
    "Q": 30, "R": 27, "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1,
    "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24, "r": -27, "q": -30,
}  # fmt: skip
LONG_PREFIXES = {
    "giga": 9, "mega": 6, "kilo": 3, "hecto": 2, "deci": -1, "centi": -2, "milli": -3, "micro": -6, "nano": -9,
    "pico": -12,
}  # fmt: skip


class Scale(NamedTuple):
    """The factor ``fraction * pi ** pi_power`` that turns numbers in a unit into numbers in SI base units."""

    fraction: Fraction = Fraction(1)
    pi_power: int = 0

    @property
    def value(self) -> float:
        """As a number."""
        return float(self.fraction) * math.pi**self.pi_power

    def times(self, other: "Scale") -> "Scale":
        """The product of two factors."""
        return Scale(self.fraction * other.fraction, self.pi_power + other.pi_power)


ONE = Scale()


@dataclass(frozen=True)
class Measure:
    """A unit: powers of base units, and its size in them."""

    powers: Mapping[str, Fraction] = field(default_factory=dict)
    scale: Scale = ONE

    def times(self, other: "Measure") -> "Measure":
        """The product of two units."""
        powers = dict(self.powers)
        for name, power in other.powers.items():
            powers[name] = powers.get(name, Fraction(0)) + power
        return Measure({name: power for name, power in powers.items() if power}, self.scale.times(other.scale))

    def to_the(self, exponent: Fraction) -> "Measure":
        """A power of a unit; ValueError where its factor has no exact root."""
        powers = {name: power * exponent for name, power in self.powers.items() if exponent}
        top, bottom = (_root(n, exponent.denominator) for n in self.scale.fraction.as_integer_ratio())
        turns = self.scale.pi_power * exponent
        if not (top and bottom) or turns.denominator != 1:
            raise ValueError(f"a root of a unit that is {self.scale.value:g} in SI has no exact size")
        if abs(exponent * math.log10(max(top, bottom))) > MAX_DIGITS:
            raise ValueError("it is too large or too small")
        return Measure(powers, Scale(Fraction(top, bottom) ** int(exponent.numerator), int(turns)))


def _root(n: int, degree: int) -> int:
    """The whole root of n, or 0 if there is none."""
    root = n if degree == 1 else round(n ** (1 / degree))
    return root if root**degree == n else 0


Entry = tuple[str, str, int]  # factor in SI base units, dimension as "m2 kg s-2", power of pi

# Units that take prefixes.
_PREFIXED: dict[str, Entry] = {
    "m": ("1", "m", 0), "g": ("1/1000", "kg", 0), "s": ("1", "s", 0), "A": ("1", "A", 0), "K": ("1", "K", 0),
    "mol": ("1", "mol", 0), "cd": ("1", "cd", 0), "rad": ("1", "", 0), "sr": ("1", "", 0), "Hz": ("1", "s-1", 0),
    "Bq": ("1", "s-1", 0), "N": ("1", "m kg s-2", 0), "Pa": ("1", "m-1 kg s-2", 0), "J": ("1", "m2 kg s-2", 0),
    "W": ("1", "m2 kg s-3", 0), "C": ("1", "s A", 0), "V": ("1", "m2 kg s-3 A-1", 0),
    "ohm": ("1", "m2 kg s-3 A-2", 0), "S": ("1", "m-2 kg-1 s3 A2", 0), "F": ("1", "m-2 kg-1 s4 A2", 0),
    "H": ("1", "m2 kg s-2 A-2", 0), "T": ("1", "kg s-2 A-1", 0), "Wb": ("1", "m2 kg s-2 A-1", 0),
    "lm": ("1", "cd", 0), "lx": ("1", "m-2 cd", 0), "Gy": ("1", "m2 s-2", 0), "Sv": ("1", "m2 s-2", 0),
    "kat": ("1", "mol s-1", 0), "eV": ("1.602176634e-19", "m2 kg s-2", 0), "L": ("1/1000", "m3", 0),
    "l": ("1/1000", "m3", 0), "t": ("1000", "kg", 0), "bar": ("100000", "m-1 kg s-2", 0),
    "cal": ("4.184", "m2 kg s-2", 0), "yr": ("31557600", "s", 0), "pc": ("96939420213600000", "m", -1),
    "Da": ("1.66053906892e-27", "kg", 0), "Wh": ("3600", "m2 kg s-2", 0), "Ah": ("3600", "s A", 0),
    "M": ("1000", "m-3 mol", 0),
}  # fmt: skip
_PLAIN: dict[str, Entry] = {
    "min": ("60", "s", 0), "h": ("3600", "s", 0), "hr": ("3600", "s", 0), "d": ("86400", "s", 0),
    "week": ("604800", "s", 0), "deg": ("1/180", "", 1), "arcmin": ("1/10800", "", 1), "arcsec": ("1/648000", "", 1),
    "%": ("1/100", "", 0), "percent": ("1/100", "", 0), "ppm": ("1e-6", "", 0), "ppb": ("1e-9", "", 0),
    "au": ("149597870700", "m", 0), "AU": ("149597870700", "m", 0), "ly": ("9460730472580800", "m", 0),
    "u": ("1.66053906892e-27", "kg", 0), "Msun": ("1.98841e30", "kg", 0), "Rsun": ("695700000", "m", 0),
    "Lsun": ("3.828e26", "m2 kg s-3", 0), "angstrom": ("1e-10", "m", 0), "ha": ("10000", "m2", 0),
    "in": ("0.0254", "m", 0), "ft": ("0.3048", "m", 0), "yd": ("0.9144", "m", 0), "mi": ("1609.344", "m", 0),
    "nmi": ("1852", "m", 0), "lb": ("0.45359237", "kg", 0), "oz": ("0.028349523125", "kg", 0),
    "atm": ("101325", "m-1 kg s-2", 0), "Torr": ("101325/760", "m-1 kg s-2", 0),
    "mmHg": ("133.322387415", "m-1 kg s-2", 0), "psi": ("6894.757293168361", "m-1 kg s-2", 0),
    "kgf": ("9.80665", "m kg s-2", 0), "lbf": ("4.4482216152605", "m kg s-2", 0), "dyn": ("1e-5", "m kg s-2", 0),
    "erg": ("1e-7", "m2 kg s-2", 0), "gauss": ("1e-4", "kg s-2 A-1", 0), "rpm": ("1/30", "s-1", 1),
    "rev": ("2", "", 1), "Ry": ("2.1798723611030e-18", "m2 kg s-2", 0), "hp": ("745.69987158227022", "m2 kg s-3", 0),
    "mph": ("0.44704", "m s-1", 0), "kn": ("1852/3600", "m s-1", 0), "Jy": ("1e-26", "kg s-2", 0),
    "D": ("3.33564e-30", "m s A", 0), "G": ("1e-4", "kg s-2 A-1", 0), "P": ("1/10", "m-1 kg s-1", 0),
    "Ci": ("37000000000", "s-1", 0), "gal": ("0.003785411784", "m3", 0), "BTU": ("1055.05585262", "m2 kg s-2", 0),
}  # fmt: skip
# Names in full; those of the first line take prefixes in full.
_LONG = {
    "meter": "m", "metre": "m", "gram": "g", "second": "s", "ampere": "A", "watt": "W", "joule": "J", "volt": "V",
    "newton": "N", "pascal": "Pa", "hertz": "Hz", "liter": "L", "litre": "L", "tesla": "T", "farad": "F",
}  # fmt: skip
_SYNONYMS = {
    "sec": "s", "kelvin": "K", "mole": "mol", "minute": "min", "hour": "h", "day": "d", "year": "yr", "degree": "deg",
    "radian": "rad", "coulomb": "C", "henry": "H", "weber": "Wb", "°": "deg", "Ω": "ohm", "Å": "angstrom",
    "Ohm": "ohm", "amp": "A", "inch": "in", "foot": "ft", "feet": "ft", "mile": "mi", "amu": "u", "parsec": "pc",
    "torr": "Torr", "electronvolt": "eV", "siemens": "S", "secs": "s", "mins": "min", "hrs": "h", "molar": "M",
    "turn": "rev", "revolution": "rev", "knot": "kn", "pound": "lb", "ounce": "oz", "candela": "cd", "becquerel": "Bq",
    "lumen": "lm", "lux": "lx", "dalton": "Da", "tonne": "t", "hectare": "ha", "horsepower": "hp", "lightyear": "ly",
}  # fmt: skip
_OFFSETS = {"degC": "K (add 273.15)", "°C": "K (add 273.15)", "celsius": "K (add 273.15)", "degF": "K", "°F": "K"}
_SAME = str.maketrans({"µ": "u", "μ": "u", "Ω": "Ω", "Å": "Å", "−": "-", "·": "*", "⋅": "*", "×": "*", "∙": "*"})
_RAISED = {"⁻": "-", **{raised: str(n) for n, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}}

_SIZE = r"\(\s*[+-]?\d+(?:\.\d+)?(?:\s*/\s*\d+)?\s*\)|[+-]?\d+(?:\.\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<own>\[[^\[\]]{{1,30}}\])|(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d_]+|°[CF]?|%)"
    rf"(?P<attached>-?\d+(?![\d.]))?|(?P<power>(?:\^|\*\*)\s*(?:{_SIZE}))|(?P<op>[*/()]))"
)


def read_unit(text: str) -> Measure:
    """Read a unit: products, quotients and powers of names with prefixes, or ``[name]`` for a unit of one's own.

    Raises:
        ValueError: text that is no unit, an unknown name (with the nearest), or powers beyond ``MAX_POWER``.

    >>> speed = read_unit("km/h")
    >>> {name: str(power) for name, power in speed.powers.items()}, str(speed.scale.fraction)
    ({'m': '1', 's': '-1'}, '5/18')
    >>> read_unit("kgg")
    Traceback (most recent call last):
    ...
    ValueError: unit 'kgg': 'kgg' is not known; did you mean 'kg'? (a unit of your own is written in brackets: '[kgg]')
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ValueError(f"unit {str(text)[:40]!r}: must be text of at most {MAX_TEXT} characters, such as 'kg*m/s^2'")
    plain = _raised_digits(text).translate(_SAME)
    try:
        measure = _Reader(list(_tokens(plain))).whole()
        for name, power in measure.powers.items():
            if abs(power) > MAX_POWER or (power * 12).denominator != 1:
                raise ValueError(f"the power {power} of {name} is beyond {MAX_POWER} or too odd a fraction")
        size = measure.scale.value
        if not 10.0**-MAX_DIGITS < size < 10.0**MAX_DIGITS:
            raise ValueError("it is too large or too small")
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(f"unit {text!r}: {error}") from None
    return measure


def _raised_digits(text: str) -> str:
    """Superscripts as powers: ``s⁻²`` is ``s^-2``."""
    return re.sub(f"[{''.join(_RAISED)}]+", lambda found: "^" + "".join(_RAISED[c] for c in found[0]), text)


def _tokens(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, text, attached power) of each part."""
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"is not a product of powers such as 'kg*m/s^2' (column {position + 1})")
        kind = "name" if match["name"] else str(match.lastgroup)
        yield kind, match[kind], match["attached"] or ""
        position = match.end()


class _Reader:
    """Left to right, as arithmetic is read; a space is a product."""

    def __init__(self, tokens: list[tuple[str, str, str]]):
        self.tokens, self.at, self.depth = tokens, 0, 0

    def whole(self) -> Measure:
        measure = self._product() if self.tokens else Measure()
        if self.at < len(self.tokens):
            raise ValueError(f"{self.tokens[self.at][1]!r} does not belong there")
        return measure

    def _next(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def _product(self) -> Measure:
        measure = self._factor()
        divided = False
        while self.at < len(self.tokens) and self._next() != ")":
            operator = self._next() if self._next() in ("*", "/") else ""
            if not operator and divided:
                raise ValueError("a product after '/' can be read in two ways; write brackets, as in J/(mol K)")
            self.at += bool(operator)
            part = self._factor()
            measure = measure.times(part.to_the(Fraction(-1)) if operator == "/" else part)
            divided = divided or operator == "/"
        return measure

    def _factor(self) -> Measure:
        if self.at >= len(self.tokens):
            raise ValueError("ends where a unit is expected; it is not a product of powers such as 'kg*m/s^2'")
        kind, text, attached = self.tokens[self.at]
        self.at += 1
        if text == "(":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise ValueError("has too many brackets")
            measure = self._product()
            if self._next() != ")":
                raise ValueError("a bracket is never closed")
            self.at += 1
            self.depth -= 1
        elif kind == "name":
            measure = named_unit(text).to_the(Fraction(attached or 1))
        elif kind == "own":
            measure = Measure({text: Fraction(1)})
        elif kind == "number":
            measure = Measure({}, Scale(_number(text)))
        else:
            raise ValueError(f"{text!r} stands where a unit is expected; it is not a product of powers")
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "power":
            exponent = self._next().lstrip("^*").strip().strip("()").replace(" ", "")
            self.at += 1
            measure = measure.to_the(_number(exponent))
        return measure


def _number(text: str) -> Fraction:
    """A plain number; one that is 0 or a giant is refused before it is computed."""
    digits = re.search(r"[eE]([+-]?\d+)$", text)
    if len(text) > 40 or (digits is not None and abs(int(digits[1])) > MAX_DIGITS):
        raise ValueError(f"the number {text[:20]} is too large or too small")
    value = Fraction(text)
    if not value:
        raise ValueError("0 is no size and no power of a unit")
    return value


@lru_cache(maxsize=4096)
def named_unit(name: str) -> Measure:
    """One unit by its name, with its prefix if it has one; ValueError with the nearest name."""
    if name in _OFFSETS:
        raise ValueError(f"{name!r} begins elsewhere than 0: give the column in {_OFFSETS[name]}")
    short = next((n for n in (name, name.removesuffix("s")) if n in _LONG or n in _SYNONYMS), name)
    short = _LONG.get(short, _SYNONYMS.get(short, short))
    entry = _PREFIXED.get(short) or _PLAIN.get(short)
    if entry is not None:
        return _measure(entry)
    for prefix, exponent in PREFIXES.items():
        if name.startswith(prefix) and _SYNONYMS.get(name[len(prefix) :], name[len(prefix) :]) in _PREFIXED:
            rest = _SYNONYMS.get(name[len(prefix) :], name[len(prefix) :])
            return _measure(_PREFIXED[rest]).times(Measure({}, Scale(Fraction(10) ** exponent)))
    for prefix, exponent in LONG_PREFIXES.items():
        rest = name.removeprefix(prefix).removesuffix("s")
        if name.startswith(prefix) and rest in _LONG:
            return _measure(_PREFIXED[_LONG[rest]]).times(Measure({}, Scale(Fraction(10) ** exponent)))
    near = difflib.get_close_matches(name, _known_names(), n=1, cutoff=0.5) or [
        known for known in _known_names() if known.lower() == name.lower()
    ]
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    raise ValueError(f"{name!r} is not known{hint} (a unit of your own is written in brackets: '[{name}]')")


def _measure(entry: Entry) -> Measure:
    size, dimension, pi_power = entry
    powers = {}
    for part in dimension.split():
        name = part.rstrip("-0123456789")
        powers[name] = Fraction(part[len(name) :] or 1)
    return Measure(powers, Scale(Fraction(size), pi_power))


@lru_cache(maxsize=1)
def _known_names() -> list[str]:
    """Names to suggest, the common ones first."""
    common = [prefix + name for name in _PREFIXED for prefix in ("", "k", "m", "c", "u", "n", "M", "G", "h", "d", "p")]
    return [*_PREFIXED, *_PLAIN, *_LONG, *_SYNONYMS, *common]
