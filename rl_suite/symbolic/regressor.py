"""The search as a scikit-learn estimator."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from rl_suite.symbolic.data import DEFAULT_BUDGET, Data, Options
from rl_suite.symbolic.estimator_options import (
    chosen_columns,
    require_options,
    row_weights,
    run_for,
    seed_of,
    units_of,
)
from rl_suite.symbolic.laws.constants import Constant, bootstrapped, constants_of
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.laws.skeleton import Skeleton
from rl_suite.symbolic.report import Report
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.table import formula_names


class SymbolicRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Finds a law y = f(X) that people can read.

    Args:
        budget: programs that may be evaluated on the data.
        functions: functions of the search, names out of ``envs.symbolic.tokens.OPERATIONS``; None: those of physics.
        max_length: longest program, in tokens, inside a frame.
        units: unit of every variable by name, such as ``{"m": "kg", "v": "m/s"}``; None: no units.
        target_unit: unit of y, where ``units`` is given.
        prior: file of a learned prior, or "shipped": its proposals are tried before anything is bred; None: none.
        stop_at_noise: end before the budget when the residuals no longer depend on the inputs.
        random_state: seed, a numpy RandomState or Generator, or None (0); the same seed gives the same law.
        free_constants: with units, whether fitted constants may have any unit.
        known: a sub-expression known to matter, such as ``"sin(x0)"``; programs may use it as one token.
        skeleton: the form of the law with one hole, such as ``"x0*exp(?)"``: only the hole is searched.
        columns: names of the columns that the law may use; None: all.
        literals: numbers that programs may hold beside the fitted ones; None: 1, 2 and pi.
        population: programs per island; None: as in ``config.yaml``.
        search_points: rows that programs are bred on; None: as in ``config.yaml``.
        inner_constants: scan for constants inside functions of one variable.
        loss: "squared"; "relative" for errors in proportion to y; "huber" or "absolute" for heavy tails.
        time_limit: seconds after which the best law so far is taken; None: none.
        verbose: show a progress bar.
        model_selection: "bits" for the law of least price, "accuracy" for that of least error.
        warm_start: a second ``fit`` to the same data goes on for another ``budget``.

    Attributes:
        law_: the chosen law; ``front_``: the front of complexity and error, simplest first; ``table_``: as rows.
        constants_: the numbers of the law with their standard errors; ``constants_of_``: by dataset.
        laws_: with several datasets, the law of each by its label.
        stopped_: why the search ended ("exact", "noise", "budget", "time", "interrupted").
        outliers_: rows of X that are left out because the law of the others does not give them.
        evaluations_: programs it used; ``search_``: the search itself.

    Ctrl-C ends the search and keeps the best law so far.

    >>> x = np.linspace(0.5, 3.0, 30)[:, None]
    >>> model = SymbolicRegressor(budget=20_000, random_state=0).fit(x, 3 * x[:, 0] ** 2 / 4)
    >>> str(model.sympy())
    '3*x0**2/4'
    >>> model.latex()
    '\\\\frac{3 x_{0}^{2}}{4}'
    """

    def __init__(
        self,
        budget: int = DEFAULT_BUDGET,
        functions: Sequence[str] | None = None,
        max_length: int = Options.max_length,
        units: Mapping[str, str] | None = None,
        target_unit: str | None = None,
        stop_at_noise: bool = Options.stop_at_noise,
        random_state: Any = None,
        free_constants: bool = False,
        known: str | None = None,
        skeleton: str | None = None,
        columns: Sequence[str] | None = None,
        literals: Sequence[str] | None = None,
        population: int | None = None,
        search_points: int | None = None,
        inner_constants: bool = Options.inner_constants,
        loss: str = "squared",
        time_limit: float | None = None,
        verbose: bool = False,
        model_selection: str = "bits",
        warm_start: bool = False,
        prior: str | Path | None = None,
    ):
        self.budget = budget
        self.functions = functions
        self.max_length = max_length
        self.units = units
        self.target_unit = target_unit
        self.stop_at_noise = stop_at_noise
        self.random_state = random_state
        self.free_constants = free_constants
        self.known = known
        self.skeleton = skeleton
        self.columns = columns
        self.literals = literals
        self.population = population
        self.search_points = search_points
        self.inner_constants = inner_constants
        self.loss = loss
        self.time_limit = time_limit
        self.verbose = verbose
        self.model_selection = model_selection
        self.warm_start = warm_start
        self.prior = prior

    def fit(
        self, X: Any, y: Any, datasets: Any = None, sample_weight: Any = None, y_error: Any = None
    ) -> "SymbolicRegressor":
        """Search a law for X (n, d), y (n,). Column names of a data frame become the variables.

        Args:
            X: inputs.
            y: target.
            datasets: (n,) labels of the rows: all datasets have one law, and measured constants of their own.
            sample_weight: (n,) weights of the rows, their relative precision; rows of weight 0 are left out.
            y_error: (n,) or one standard error of y; the weights are 1/y_error**2. Not with ``sample_weight``.

        Raises:
            ValueError: data that are not finite numbers, fewer than two rows, units that cannot be reached, options
                that cannot be.
        """
        checked = require_options(self)
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        given = getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])])
        weights = row_weights(y, sample_weight, y_error, self.loss)
        sets, labels = None, np.array([""])
        if datasets is not None:
            labels, sets = np.unique(column_or_1d(datasets), return_inverse=True)
            check_consistent_length(y, sets)
        used = chosen_columns(self.columns, [str(name) for name in given])
        names = formula_names([str(given[i]) for i in used])
        units = units_of(self, given, used, names)
        kept = np.flatnonzero(weights > 0) if weights is not None else np.arange(len(y))
        data = Data(
            np.ascontiguousarray(X[kept][:, used]), y[kept], tuple(names), units, "y",
            None if sets is None else sets[kept], tuple(str(label) for label in labels),
            None if weights is None else weights[kept],
        )  # fmt: skip
        skeleton = None if self.skeleton is None else Skeleton(self.skeleton, data.variables)
        hole = data if skeleton is None else replace(data, y=skeleton.solve(data.X, data.y))
        search = self._search(hole, checked)
        self.stopped_ = run_for(search, self.time_limit, self.verbose)
        report = Report.of(search.findings(), hole, self.stopped_, search.evaluations)
        report = report if skeleton is None else report.inside(skeleton, data)
        accurate = min(report.front, key=lambda f: f.nmse)
        chosen = accurate if self.model_selection == "accuracy" else report.chosen
        self._columns = used
        self._labels = labels.tolist()
        self.front_: list[Finished] = list(report.front)
        self.laws_: dict[Any, Law] = dict(zip(self._labels, chosen.laws, strict=True))
        numbers = constants_of(chosen, report.polisher)
        self.constants_: list[Constant] = numbers[0]
        self.constants_of_: dict[Any, list[Constant]] = dict(zip(self._labels, numbers, strict=True))
        self.law_: Law = chosen.law
        self.outliers_ = kept[search.outliers]
        self._measured = chosen, report.polisher
        self.evaluations_ = search.evaluations
        return self

    def _search(self, data: Data, options: Options) -> Search:
        """A search of the data; with ``warm_start`` the last one, if its data and options were the same."""
        last: Search | None = getattr(self, "search_", None)
        if self.warm_start and last is not None and last.options == options and last.continues(data):
            last.extend(self.budget)
            return last
        self.search_ = Search(data, options, seed_of(self.random_state), self.budget)
        return self.search_

    @property
    def table_(self) -> list[dict[str, Any]]:
        """The front as rows with complexity, error (NRMSE), bits and law, for ``pandas.DataFrame(model.table_)``."""
        check_is_fitted(self)
        return [
            {"complexity": f.complexity, "error": math.sqrt(f.nmse), "bits": f.bits, "law": f.text} for f in self.front_
        ]

    def predict(self, X: Any, datasets: Any = None, index: int | None = None) -> NDArray[np.float64]:
        """Values of the law at X (n, d); NaN where it is not finite. ``datasets`` (n,) as in :meth:`fit`.

        ``index``: of a law in ``front_`` and ``table_``; None: the chosen one.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)[:, self._columns]
        laws = self.laws_
        if index is not None:
            if not -len(self.front_) <= index < len(self.front_):
                raise ValueError(f"index={index}: the front has {len(self.front_)} laws, 0 to {len(self.front_) - 1}")
            laws = dict(zip(self._labels, self.front_[index].laws, strict=True))
        if datasets is None:
            if len(laws) > 1:
                raise ValueError("the law was fitted to several datasets: predict(X, datasets) needs their labels")
            return next(iter(laws.values())).predict(X)
        labels = column_or_1d(datasets)
        check_consistent_length(X, labels)
        unknown = sorted(set(labels.tolist()) - set(self.laws_), key=str)
        if unknown:
            raise ValueError(f"dataset {unknown[0]!r} was not fitted; known: {', '.join(map(repr, self.laws_))}")
        values = np.empty(len(X))
        for label in np.unique(labels):
            rows = labels == label
            values[rows] = laws[label.item()].predict(X[rows])
        return values

    def bootstrap(self, samples: int = 200, random_state: Any = None) -> list[Constant]:
        """The numbers of the law with errors and 95 % intervals of fits to resampled rows; they become ``constants_``.

        Raises:
            ValueError: fewer than two samples.
        """
        check_is_fitted(self)
        if samples < 2:
            raise ValueError(f"samples={samples}: must be a whole number from 2 on")
        numbers = bootstrapped(*self._measured, samples, seed_of(random_state))
        self.constants_, self.constants_of_ = numbers[0], dict(zip(self._labels, numbers, strict=True))
        return self.constants_

    def sympy(self) -> sympy.Expr:
        """The law as a sympy expression with exact numbers where they were recognised.

        With several datasets, measured constants are symbols c1, c2, ...; their values are in ``laws_``.
        """
        check_is_fitted(self)
        return self.law_.sympy(named=len(self.laws_) > 1)

    def latex(self) -> str:
        """The law as LaTeX."""
        check_is_fitted(self)
        return self.law_.latex(named=len(self.laws_) > 1)
