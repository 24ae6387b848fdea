"""Benchmark problems by name: Nguyen, R, Livermore, Jin, Keijzer, Feynman (with units) and Strogatz.

The tables are CSV files beside this module. Sources of the formulas and ranges:

* Nguyen: Uy et al. (2011), "Semantically-based crossover in genetic programming".
* R: Krawiec, Pawlak (2013), "Approximating geometric crossover by semantic backpropagation".
* Livermore: Mundhenk et al. (2021), "Symbolic regression via neural-guided GP population seeding".
* Jin: Jin et al. (2019), "Bayesian symbolic regression".
* Keijzer: Keijzer (2003), "Improving symbolic regression with interval arithmetic and linear scaling".
* Feynman: Feynman, Leighton, Sands, "Lectures on Physics"; choice and ranges by Udrescu, Tegmark (2020).
  Number I.9.18 means volume I, chapter 9, equation 18. Units are SI base units.
* Strogatz: Strogatz (2015), "Nonlinear Dynamics and Chaos"; choice by La Cava et al. (2016). The targets are
  the time derivatives along trajectories that are integrated here.
* FastSRB: Martinek (2025), "FastSRB", arXiv 2508.14481 (MIT): laws of the Feynman set and its bonus with the constants
  of nature and ranges over decades, those of Matsubara et al. (2024), "Rethinking symbolic regression datasets".
  Its laws are ``problems("fastsrb")``; they are no part of ``SETS``, whose laws they repeat.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import Expression, parse
from envs.symbolic.tokens import Library
from envs.symbolic.units import Units

DATA = Path(__file__).parent / "data"
BASE_UNITS = ("m", "kg", "s", "A", "K")
SETS = ("nguyen", "r", "livermore", "jin", "keijzer", "feynman", "strogatz")
WIDE = "fastsrb"
STROGATZ_POINTS = 100  # per trajectory
Unit = tuple[int, ...]  # exponents of BASE_UNITS
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A formula to be found, with the recipe of its data.

    ``low`` and ``high`` are the ranges of the variables; ``units`` (variables, then the target) are
    exponents of ``BASE_UNITS``, or None. ``sampling`` is "uniform", "grid", "integers" or "trajectories".
    ``kinds`` of the variables, where they are not all uniform: "log" (uniform logarithms), "log+-" (of both signs),
    "uni", "int".
    """

    name: str
    group: str
    formula: str
    variables: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n_points: int
    sampling: str = "uniform"
    target: str = "y"
    units: tuple[Unit, ...] | None = None
    starts: tuple[tuple[float, ...], ...] = ()
    system: tuple[str, ...] = field(default=(), repr=False)
    t_end: float = 0.0
    kinds: tuple[str, ...] = ()

    def dimensions(self) -> Units:
        """The units as the search and the environment take them; ValueError where the set has none."""
        if self.units is None:
            raise ValueError(f"{self.name}: no units are known for it")
        return Units.from_powers(BASE_UNITS, np.array(self.units[:-1]), np.array(self.units[-1]))

    @property
    def library(self) -> Library:
        """All functions, a fitted constant and the problem's variables."""
        return Library("full", self.variables, literals=("pi",), constant=True)

    def expression(self) -> Expression:
        """The formula as a program of ``library``."""
        return parse(self.formula, self.library)

    def value(self, X: Values) -> Values:
        """The noise-free target at points X (n, d); (n,)."""
        expression = self.expression()
        return evaluate_pointwise(expression.program, X, self.library, expression.constants)

    def sample(self, rng: np.random.Generator, n_points: int | None = None) -> tuple[Values, Values]:
        """Training data without noise: X (n, d), y (n,), every row finite.

        ``n_points`` replaces the number of the table; grids and trajectories have their own.
        """
        if self.sampling == "trajectories":
            X = _trajectories(self.system, self.variables, self.starts, self.t_end)
            return X, self.value(X)
        if self.sampling == "grid":
            X = np.linspace(self.low[0], self.high[0], self.n_points)[:, None]
            X = X[np.isfinite(self.value(X))]
            return X, self.value(X)
        if self.sampling == "integers":
            X = np.arange(self.low[0], self.high[0] + 1)[:, None]
            return X, self.value(X)
        return self.draw(rng, n_points or self.n_points)

    def draw(self, rng: np.random.Generator, n: int, stretch: float = 1.0) -> tuple[Values, Values]:
        """n uniform points in the ranges, widened around their middle by ``stretch``; rows are redrawn until finite.

        Ranges of positive numbers stay positive: masses and speeds of light have no other side.

        Raises:
            ValueError: the formula is finite almost nowhere in the widened ranges.
        """
        rows: list[Values] = []
        found = 0
        for _ in range(100):
            X = self._of_kinds(rng, 2 * n, stretch) if self.kinds else self._uniform(rng, 2 * n, stretch)
            keep = np.isfinite(self.value(X))
            rows.append(X[keep])
            found += int(keep.sum())
            if found >= n:
                X = np.concatenate(rows)[:n]
                return X, self.value(X)
        raise ValueError(f"{self.name}: finite at only {found} points of its ranges times {stretch}")

    def _uniform(self, rng: np.random.Generator, n: int, stretch: float) -> Values:
        low, high = np.array(self.low), np.array(self.high)
        middle, half = (low + high) / 2, (high - low) / 2 * stretch
        least = np.where(low > 0, np.maximum(middle - half, low / 2), middle - half)
        return rng.uniform(least, middle + half, size=(n, len(low)))

    def _of_kinds(self, rng: np.random.Generator, n: int, stretch: float) -> Values:
        """Ranges of logarithms and of integers are widened as such."""
        columns = []
        for kind, low, high in zip(self.kinds, self.low, self.high, strict=True):
            a, b = (np.log(low), np.log(high)) if kind.startswith("log") else (low, high)
            middle, half = (a + b) / 2, (b - a) / 2 * stretch
            if kind == "int":
                least = max(1, round(middle - half)) if low > 0 else round(middle - half)
                columns.append(rng.integers(least, round(middle + half) + 1, size=n).astype(np.float64))
                continue
            least = max(middle - half, a / 2) if kind == "uni" and a > 0 else middle - half
            drawn = rng.uniform(least, middle + half, size=n)
            drawn = np.exp(drawn) if kind.startswith("log") else drawn
            columns.append(drawn * rng.choice([-1.0, 1.0], size=n) if kind.endswith("+-") else drawn)
        return np.column_stack(columns)


def add_noise(y: Values, level: float, rng: np.random.Generator) -> Values:
    """Gaussian noise with standard deviation ``level`` times the root mean square of y."""
    return y + level * np.sqrt(np.mean(y**2)) * rng.standard_normal(len(y)) if level > 0 else y


@lru_cache(maxsize=1)
def unit_table() -> Mapping[str, Unit]:
    """Symbol of the Feynman set -> exponents of BASE_UNITS."""
    with (DATA / "units.csv").open(newline="", encoding="utf-8") as file:
        return {row["symbol"]: tuple(int(row[base]) for base in BASE_UNITS) for row in csv.DictReader(file)}


@lru_cache(maxsize=len(SETS) + 1)
def problems(group: str) -> tuple[Problem, ...]:
    """All problems of one set, in the order of its table.

    >>> [p.name for p in problems("nguyen")][:2], len(problems("feynman"))
    (['Nguyen-1', 'Nguyen-2'], 100)
    """
    if group == WIDE:
        return tuple(_wide(row) for row in _rows(WIDE))
    if group not in SETS:
        raise ValueError(f"unknown benchmark set {group!r}; known: {', '.join((*SETS, WIDE))}")
    if group == "feynman":
        return tuple(_feynman(row) for row in _rows("feynman"))
    if group == "strogatz":
        rows = _rows("strogatz")
        return tuple(_strogatz(row, rows) for row in rows)
    return tuple(_plain(row) for row in _rows("sets") if row["set"] == group)


def problem(name: str) -> Problem:
    """One problem by its name, whatever its set.

    >>> problem("I.12.2").formula
    'q1*q2/(4*pi*epsilon*r**2)'
    """
    for group in SETS:
        for candidate in problems(group):
            if candidate.name == name:
                return candidate
    raise ValueError(f"unknown problem {name!r}; sets are {', '.join(SETS)}; list one with problems(set)")


def _rows(table: str) -> list[dict[str, str]]:
    with (DATA / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _numbers(text: str, count: int) -> tuple[float, ...]:
    values = [float(word) for word in text.split()]
    return tuple(values * count if len(values) == 1 else values)


def _plain(row: Mapping[str, str]) -> Problem:
    variables = tuple(row["variables"].split())
    low, high = _numbers(row["low"], len(variables)), _numbers(row["high"], len(variables))
    return Problem(
        row["name"], row["set"], row["formula"], variables, low, high, int(row["points"]), sampling=row["sampling"]
    )


def _feynman(row: Mapping[str, str]) -> Problem:
    parts = [part.split() for part in row["ranges"].split(";")]
    names = tuple(name for name, _, _ in parts)
    table = unit_table()
    units = tuple(table[name] for name in (*names, row["output"]))
    low, high = tuple(float(p[1]) for p in parts), tuple(float(p[2]) for p in parts)
    return Problem(row["name"], "feynman", row["formula"], names, low, high, 200, target=row["output"], units=units)


def _wide(row: Mapping[str, str]) -> Problem:
    parts = [part.split() for part in row["ranges"].split(";")]
    names, kinds = tuple(name for name, *_ in parts), tuple(kind for _, kind, *_ in parts)
    low, high = tuple(float(p[2]) for p in parts), tuple(float(p[3]) for p in parts)
    units = tuple(tuple(int(e) for e in unit.split()) for unit in row["units"].split(";"))
    return Problem(
        row["name"], WIDE, row["formula"], names, low, high, 200, target=row["output"], units=units, kinds=kinds
    )


def _strogatz(row: Mapping[str, str], rows: list[dict[str, str]]) -> Problem:
    system = tuple(other["formula"] for other in rows if other["system"] == row["system"])
    starts = tuple(tuple(float(v) for v in start.split()) for start in row["starts"].split(";"))
    X = _trajectories(system, ("x", "y"), starts, float(row["t_end"]))
    return Problem(
        row["name"],
        "strogatz",
        row["formula"],
        ("x", "y"),
        tuple(float(v) for v in X.min(0)),
        tuple(float(v) for v in X.max(0)),
        len(X),
        sampling="trajectories",
        target=row["equation"],
        starts=starts,
        system=system,
        t_end=float(row["t_end"]),
    )


@lru_cache(maxsize=32)
def _trajectories(
    system: tuple[str, ...], variables: tuple[str, ...], starts: tuple[tuple[float, ...], ...], t_end: float
) -> Values:
    """States along the trajectories of an ordinary differential equation, (starts * STROGATZ_POINTS, d)."""
    library = Library("full", variables, literals=("pi",), constant=True)
    right_sides = [parse(text, library) for text in system]

    def velocity(_: float, state: Values) -> Values:
        return np.array([evaluate_pointwise(e.program, state[None], library, e.constants)[0] for e in right_sides])

    times = np.linspace(0.0, t_end, STROGATZ_POINTS)
    paths = [
        solve_ivp(velocity, (0.0, t_end), start, t_eval=times, rtol=1e-8, atol=1e-10, method="LSODA").y.T
        for start in starts
    ]
    return np.concatenate(paths)
