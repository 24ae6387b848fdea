"""Measured tables of 6 to 40 rows: which law is found, and how well it predicts rows that it has not seen.

    python -m rl_suite.benchmarks symbolic --set real --jobs 8

Every row is left out once, and every contender, ours with a whole new search, is fitted to the others (Stone 1974).
Beside ours: a line in all columns, a sparse polynomial, gradient boosting, and gplearn and Operon where they are
installed. The tables, with their sources, are the shipped examples that ``tables.csv`` lists: values as published,
checked against the published fits of the laws that the literature has for them.
"""

import csv
import importlib.util
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.benchmarks.harness import BenchmarkResult, Row
from rl_suite.benchmarks.symbolic_peers import GPLEARN_FUNCTIONS, OPERON_SYMBOLS
from rl_suite.sweeps.executor import map_jobs
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.data import Options as SearchOptions
from rl_suite.symbolic.forms.monomials import exponents
from rl_suite.symbolic.laws.numbers import Exact
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Polisher
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.table import read_table

Values = NDArray[np.float64]
Predict = Callable[[Values], Values]
Contender = Callable[[Values, Values, int], Predict]
INDEX = Path(__file__).parent / "tables.csv"
BUDGET = 100_000  # programs of each search
QUICK_BUDGET, QUICK_TABLES = 2_000, ("boxbod", "danwood")
DEGREE = 3  # of the polynomial; 4 in one variable
GPLEARN_POPULATION, GPLEARN_GENERATIONS = 1000, 20
OPERON_EVALUATIONS, OPERON_SECONDS = 50_000, 10
WORST = 1e3  # standard deviations of the target: what a prediction that is no number, or far off, counts as
ITERATIONS = 500  # of the fit of the literature's law


@dataclass(frozen=True)
class RealTable:
    """A table with the law that the literature has for it; its numbers are where a fit begins."""

    name: str
    target: str
    columns: tuple[str, ...]
    law: str
    called: str
    source: str

    def data(self) -> Data:
        """The rows of the shipped example."""
        return read_table(Path(f"{self.name}.csv"), self.target, self.columns).data

    def literature(self) -> tuple[str, float]:
        """The literature's law with the constants of least squares, whole numbers and pi held, and its NRMSE."""
        data = self.data()
        library = Library("full", data.variables, constant=True)
        expression = parse(self.law, library)
        law = from_program(expression.program, expression.constants.tolist(), library).law(library)
        held = tuple(_as_written(constant) for constant in law.constants.tolist())
        polisher = Polisher(data.X, data.y, iterations=ITERATIONS)
        fitted = polisher.fit(replace(law, exact=held))[0][0]
        return str(fitted), float(np.sqrt(polisher.nmse(fitted)))


@dataclass(frozen=True)
class Outcome:
    """One table: the law of all rows, and everybody's errors on rows left out, over the target's deviation."""

    table: str
    rows: int
    law: str
    stopped: str
    error: float
    literature: str
    literature_error: float
    left_out: dict[str, float]
    """Root of the mean squared error of each contender."""
    near_best: bool
    """Whether ours is within one standard error of the least."""
    source: str


@lru_cache(maxsize=1)
def real_tables() -> tuple[RealTable, ...]:
    """All of them.

    >>> real_tables()[0].called
    'Michaelis-Menten'
    """
    with INDEX.open(newline="", encoding="utf-8") as file:
        return tuple(
            RealTable(r["table"], r["target"], tuple(r["columns"].split()), r["law"], r["name"], r["source"])
            for r in csv.DictReader(file)
        )


def ours(X: Values, y: Values, seed: int, budget: int = BUDGET) -> Predict:
    """A search of the rows."""
    search = Search(Data(X, y, tuple(f"x{i}" for i in range(X.shape[1]))), SearchOptions(), seed, budget)
    search.run()
    return search.law.predict


def line(X: Values, y: Values, seed: int) -> Predict:
    """Least squares in all columns."""
    return _quiet(LinearRegression().fit(X, y).predict)


def sparse_polynomial(X: Values, y: Values, seed: int) -> Predict:
    """Monomials taken one by one, each the best beside those before; as many as predict left-out rows best (PRESS)."""
    powers = exponents(X.shape[1], DEGREE if X.shape[1] > 1 else DEGREE + 1)
    size = np.maximum(np.abs(X).max(axis=0), 1e-300)

    def columns(of: Values, chosen: Sequence[int]) -> Values:
        monomials = [np.prod((of / size) ** powers[k], axis=1) for k in chosen]
        return np.column_stack([np.ones(len(of)), *monomials])

    chosen: list[int] = []
    best, least = [], _press(columns(X, []), y)
    while len(chosen) < min(len(powers), len(y) - 3):
        scores = {k: _left(columns(X, [*chosen, k]), y) for k in range(len(powers)) if k not in chosen}
        chosen.append(min(scores, key=lambda k: scores[k]))
        error = _press(columns(X, chosen), y)
        if error < least:
            best, least = list(chosen), error
    weights = np.linalg.lstsq(columns(X, best), y, rcond=None)[0]
    return lambda of: np.asarray(columns(of, best) @ weights)


def boosting(X: Values, y: Values, seed: int) -> Predict:
    """Gradient boosting as scikit-learn has it."""
    return _quiet(GradientBoostingRegressor(random_state=seed).fit(X, y).predict)


def gplearn(X: Values, y: Values, seed: int) -> Predict:
    """gplearn with its usual population."""
    from gplearn.genetic import SymbolicRegressor

    model = SymbolicRegressor(
        population_size=GPLEARN_POPULATION,
        generations=GPLEARN_GENERATIONS,
        function_set=GPLEARN_FUNCTIONS,
        stopping_criteria=1e-10,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return _quiet(model.predict)


def operon(X: Values, y: Values, seed: int) -> Predict:
    """Operon with local search of constants."""
    from pyoperon.sklearn import SymbolicRegressor

    model = SymbolicRegressor(
        allowed_symbols=OPERON_SYMBOLS,
        max_evaluations=OPERON_EVALUATIONS,
        max_time=OPERON_SECONDS,
        optimizer_iterations=5,
        n_threads=1,
        random_state=seed,
    )
    model.fit(X, y)
    return _quiet(model.predict)


def contenders(budget: int, peers: bool) -> dict[str, Contender]:
    """Who predicts, by name."""
    found: dict[str, Contender] = {
        "ours": partial(ours, budget=budget),
        "line": line,
        "polynomial": sparse_polynomial,
        "boosting": boosting,
    }
    for module, fit in (("gplearn", gplearn), ("pyoperon", operon)):
        if peers and importlib.util.find_spec(module) is not None:
            found[module] = fit
    return found


def left_out(fit: Contender, X: Values, y: Values, seed: int) -> Values:
    """Squared error (n,) of each row by a fit to all others, in variances of the target."""
    errors = np.empty(len(y))
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        with np.errstate(all="ignore"):
            off = (float(fit(X[others], y[others], seed)(X[i : i + 1])[0]) - y[i]) / y.std()
        errors[i] = min(off**2, WORST**2) if np.isfinite(off) else WORST**2
    return errors


def measure(task: tuple[RealTable, int, int, bool]) -> Outcome:
    """One table."""
    table, seed, budget, peers = task
    data = table.data()
    search = Search(data, SearchOptions(), seed, budget)
    search.run()
    errors = {name: left_out(fit, data.X, data.y, seed) for name, fit in contenders(budget, peers).items()}
    best = min(errors.values(), key=lambda e: float(e.mean()))
    limit = best.mean() + best.std(ddof=1) / np.sqrt(len(best))
    text, error = table.literature()
    found = search.findings().chosen
    return Outcome(
        table.name,
        len(data.y),
        found.text,
        search.reason,
        float(np.sqrt(found.nmse)),
        text,
        error,
        {name: float(np.sqrt(e.mean())) for name, e in errors.items()},
        bool(errors["ours"].mean() <= limit),
        table.source,
    )


def choose(quick: bool, every: int, smallest: int | None) -> list[RealTable]:
    """All tables, or every n-th, or those of the fewest rows (of equally many by name): chosen before any result."""
    if quick:
        return [table for table in real_tables() if table.name in QUICK_TABLES]
    by_size = sorted(real_tables(), key=lambda table: (len(table.data().y), table.name))
    return by_size[:smallest] if smallest is not None else list(real_tables()[::every])


def run(
    chosen: Sequence[RealTable], seed: int, budget: int | None, quick: bool, peers: bool, jobs: int
) -> BenchmarkResult:
    """Every table by every contender."""
    tasks = [(table, seed, QUICK_BUDGET if quick else budget or BUDGET, peers and not quick) for table in chosen]
    outcomes = map_jobs(measure, tasks, "serial" if jobs == 1 else "processes", None if jobs == 1 else jobs)
    return summary(outcomes, budget or BUDGET)


def summary(outcomes: Sequence[Outcome], budget: int) -> BenchmarkResult:
    """How often ours predicts best or nearly, and everybody's typical error."""
    near = sum(o.near_best for o in outcomes)
    rows = [
        Row("real: tables", len(outcomes), None, ""),
        Row("real: least error on rows left out, or within one standard error of it", near, None, "tables"),
        Row("real: law as good as the literature's", sum(_as_good(o) for o in outcomes), None, "tables"),
    ]
    typical = {name: float(np.median([o.left_out[name] for o in outcomes])) for name in outcomes[0].left_out}
    rows += [
        Row("real: median error on rows left out", typical["ours"], other, "std", name, higher_is_better=False)
        for name, other in typical.items()
        if name != "ours"
    ]
    notes = (f"at most {budget} programs per search", "every row left out once, with a new search each time")
    return BenchmarkResult(tuple(rows), notes, tuple(asdict(o) for o in outcomes))


def _as_good(outcome: Outcome) -> bool:
    """Whether the law's error on its own rows is within a tenth of that of the literature's law, or below it."""
    return outcome.error <= 1.1 * outcome.literature_error


def _as_written(value: float) -> Exact | None:
    """Whole numbers and pi are parts of a form; others are measured."""
    if value == math.pi:
        return Exact(Fraction(1), Fraction(1))
    return Exact.whole(int(value)) if value.is_integer() else None


def _quiet(predict: Predict) -> Predict:
    def predicted(X: Values) -> Values:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(predict(X), dtype=np.float64)

    return predicted


def _left(A: Values, y: Values) -> float:
    return float(((y - A @ np.linalg.lstsq(A, y, rcond=None)[0]) ** 2).sum())


def _press(A: Values, y: Values) -> float:
    """Sum of squared errors of rows that are left out, by the hat matrix."""
    Q = np.linalg.qr(A)[0]
    residual = y - Q @ (Q.T @ y)
    return float(((residual / np.maximum(1 - (Q**2).sum(axis=1), 1e-9)) ** 2).sum())
