"""What a symbolic regression is about: inputs and a target, checked once, and packed for kernels."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.benchmarks import BASE_UNITS, SETS, Problem, add_noise, problems
from envs.symbolic.units import Units

Floats = NDArray[np.float64]

MAX_VARIABLES = 50
MAX_POINTS = 10_000  # more points only make every evaluation slower
TEST_POINTS = 200
STRETCH = 1.5  # half of the test points lie in ranges this much wider

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Data of one law.

    Attributes:
        name: of the task.
        variables: names of the inputs (d).
        X: (n, d) inputs.
        y: (n,) target.
        units: of the variables and the target, where they are declared.
        formula: the law as text, where it is known.
        X_test, y_test: points inside and outside the ranges of X, without noise; empty where the law is unknown.
    """

    name: str
    variables: tuple[str, ...]
    X: Floats
    y: Floats
    units: Units | None = None
    formula: str = ""
    X_test: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    y_test: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def from_arrays(
        X: Floats,
        y: Floats,
        variables: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        target_units: str | None = None,
        free_constant: bool = True,
        name: str = "data",
        seed: int = 0,
    ) -> "Dataset":
        """One's own data, in SI base units where ``units`` are given.

        More than ``MAX_POINTS`` rows are thinned out at random, with a message in the log.

        Raises:
            ValueError: anything that makes a regression impossible, with what to do about it.

        >>> Dataset.from_arrays(np.array([[1.0], [2.0]]), np.array([1.0, 4.0])).variables
        ('x0',)
        """
        X, y = _numbers(X, "X"), _numbers(y, "y")
        if X.ndim == 1:
            X = X[:, None]
        if y.ndim == 2 and y.shape[1] == 1:  # a column, as a table gives it
            y = y[:, 0]
        if X.ndim != 2 or y.shape != X.shape[:1]:
            raise ValueError(f"X must be (n, d) and y (n,), not {X.shape} and {y.shape}")
        names = tuple(variables) if variables is not None else tuple(f"x{i}" for i in range(X.shape[1]))
        if len(names) != X.shape[1]:
            raise ValueError(f"{len(names)} variable names were given for {X.shape[1]} columns of X")
        if (units is None) != (target_units is None):
            raise ValueError("give both units (of the variables) and target_units (of y), or neither")
        declared = None
        if units is not None and target_units is not None:
            X, y, declared = Units.from_text(names, units, target_units, free_constant).in_base_units(X, y)
        if len(X) > MAX_POINTS:
            _log.warning("%d rows are thinned out to %d at random", len(X), MAX_POINTS)
            keep = np.sort(np.random.default_rng(seed).choice(len(X), MAX_POINTS, replace=False))
            X, y = X[keep], y[keep]
        return Dataset(name, names, np.ascontiguousarray(X), np.ascontiguousarray(y), declared)

    @staticmethod
    def from_problem(problem: Problem, seed: int = 0, noise: float = 0.0, n_points: int | None = None) -> "Dataset":
        """Training data of a benchmark problem, and test points in its ranges and around them."""
        if noise < 0:
            raise ValueError(f"noise must be >= 0 (a share of the root mean square of y), not {noise}")
        rng = np.random.default_rng(seed)
        X, y = problem.sample(rng, n_points)
        units = None
        if problem.units is not None:
            exponents = np.array(problem.units)
            units = Units.from_powers(BASE_UNITS, exponents[:-1], exponents[-1])
        parts = []
        for stretch in (1.0, STRETCH):
            try:
                parts.append(problem.draw(rng, TEST_POINTS // 2, stretch))
            except ValueError:  # nowhere finite outside: judge inside only
                continue
        X_test = np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, X.shape[1]))
        y_test = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0)
        noisy = add_noise(y, noise, rng)
        return Dataset(problem.name, problem.variables, X, noisy, units, problem.formula, X_test, y_test)


Task = str | Problem | Dataset


def make_datasets(
    task: Task | Sequence[Task], seed: int = 0, noise: float = 0.0, n_points: int | None = None
) -> list[Dataset]:
    """Datasets of tasks given by the name of a problem or of a whole set (in any case), or as objects.

    >>> [d.name for d in make_datasets(["nguyen-1", "I.12.2"])], len(make_datasets("nguyen"))
    (['Nguyen-1', 'I.12.2'], 12)
    """
    tasks = [task] if isinstance(task, str | Problem | Dataset) else list(task)
    found: list[Dataset] = []
    for item in tasks:
        if isinstance(item, Dataset):
            found.append(item)
            continue
        for n, problem in enumerate(_problems(item) if isinstance(item, str) else [item]):
            found.append(Dataset.from_problem(problem, seed + n, noise, n_points))
    if not found:
        raise ValueError("no task was given; name a problem such as 'nguyen-1' or a set such as 'feynman'")
    return found


def _problems(name: str) -> list[Problem]:
    if name.lower() in SETS:
        return list(problems(name.lower()))
    for group in SETS:
        for problem in problems(group):
            if problem.name.lower() == name.lower():
                return [problem]
    raise ValueError(f"unknown task {name!r}; name one of the sets {', '.join(SETS)}, or a problem such as 'nguyen-1'")


def _numbers(values: object, name: str) -> Floats:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers only; turn text columns into numbers or leave them out") from None


def _check(data: Dataset) -> None:
    for name, values in (("X", data.X), ("y", data.y)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise ValueError(
                f"{name} holds NaN or infinite values, first in row {int(np.argwhere(bad)[0][0])}; drop them"
            )
    if len(data.y) < 2:
        raise ValueError(f"a law needs at least 2 rows of data, not {len(data.y)}")
    if data.X.shape[1] > MAX_VARIABLES:
        raise ValueError(f"{data.X.shape[1]} variables are more than {MAX_VARIABLES}; choose the columns that matter")
    with np.errstate(over="ignore", invalid="ignore"):
        spread = data.y.std()
    if not 0.0 < spread < np.inf or spread < 1e-14 * np.abs(data.y).max():
        raise ValueError(f"y is constant or too large ({data.y[0]:g} ...): there is no law to find")


class Bank(NamedTuple):
    """T datasets for kernels; shorter ones leave the ends of their rows unused."""

    columns: Floats  # (T, d, n)
    target: Floats  # (T, n)
    n_points: NDArray[np.int64]  # (T,)
    variance: Floats  # (T,) of the target
    test_columns: Floats  # (T, d, m)
    test_target: Floats  # (T, m)
    n_test_points: NDArray[np.int64]  # (T,)
    n_variables: NDArray[np.int64]  # (T,)


def make_bank(datasets: Sequence[Dataset]) -> Bank:
    """Pack datasets of different sizes into common arrays."""
    d = max(len(data.variables) for data in datasets)
    n, m = max(len(data.y) for data in datasets), max(len(data.y_test) for data in datasets)
    shape = len(datasets)
    bank = Bank(
        columns=np.zeros((shape, d, n)),
        target=np.zeros((shape, n)),
        n_points=np.array([len(data.y) for data in datasets]),
        variance=np.array([data.y.var() for data in datasets]),
        test_columns=np.zeros((shape, d, m)),
        test_target=np.zeros((shape, m)),
        n_test_points=np.array([len(data.y_test) for data in datasets]),
        n_variables=np.array([len(data.variables) for data in datasets]),
    )
    for t, data in enumerate(datasets):
        width = len(data.variables)
        bank.columns[t, :width, : len(data.y)] = data.X.T
        bank.target[t, : len(data.y)] = data.y
        if len(data.y_test):
            bank.test_columns[t, :width, : len(data.y_test)] = data.X_test.T
            bank.test_target[t, : len(data.y_test)] = data.y_test
    return bank


def make_sample(datasets: Sequence[Dataset], n_points: int) -> NDArray[np.float32]:
    """What an agent sees of the data: (T, n_points, d + 1), each column and y (last) standardised, within +-10.

    The points are spread evenly over the rows of the dataset; missing variables are 0.
    """
    d = max(len(data.variables) for data in datasets)
    sample = np.zeros((len(datasets), n_points, d + 1), dtype=np.float32)
    for t, data in enumerate(datasets):
        rows = np.linspace(0, len(data.y) - 1, n_points).round().astype(np.int64)
        table = np.column_stack([data.X, data.y])
        scale = table.std(axis=0)
        scale[scale == 0.0] = 1.0
        shown = np.clip((table - table.mean(axis=0)) / scale, -10.0, 10.0)[rows]
        sample[t, :, : data.X.shape[1]], sample[t, :, d] = shown[:, :-1], shown[:, -1]
    return sample


def common_variables(datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """Names for the columns of all datasets: those of the widest if the others agree with it, else x0, x1, ..."""
    widest = max((data.variables for data in datasets), key=len)
    if all(widest[: len(data.variables)] == data.variables for data in datasets):
        return widest
    return tuple(f"x{i}" for i in range(len(widest)))
