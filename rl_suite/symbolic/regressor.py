"""The search as a scikit-learn estimator."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from rl_suite.symbolic.data import DEFAULT_BUDGET, Data, Options
from rl_suite.symbolic.estimator_options import (
    chosen_columns,
    require_options,
    run_for,
    seed_of,
    units_of,
    weights_of,
)
from rl_suite.symbolic.hole import Hole
from rl_suite.symbolic.laws.constants import Constant, bootstrapped, constants_of
from rl_suite.symbolic.laws.constraints import read_constraints
from rl_suite.symbolic.laws.edges import Edge
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.nature import as_numbers, beside, read_nature
from rl_suite.symbolic.output.exports import as_rows, c_code, latex_table, python_code, torch_module
from rl_suite.symbolic.output.saved import model_record, read_model, write_model
from rl_suite.symbolic.report import Report
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.table import formula_names
from rl_suite.waiting import notice_compilation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn


class SymbolicRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Finds a law y = f(X) that people can read.

    Args:
        budget: programs that may be evaluated on the data.
        functions: functions of the search, names out of ``envs.symbolic.tokens.OPERATIONS``; None: those of physics.
            ``{"hill": "x**n/(k**n + x**n)"}`` adds one of your own; such mappings may stand in the list of names.
        max_length: longest program, in tokens, inside a frame.
        units: unit of every variable by name, such as ``{"m": "kg", "v": "m/s"}``; None: no units.
        target_unit: unit of y, where ``units`` is given.
        prior: file of a learned prior, or "shipped": its proposals are tried before all others; "auto": the shipped one
            in searches of at most 10,000 programs, where it is known to help; None: none.
        stop_at_noise: end before the budget when the residuals no longer depend on the inputs.
        random_state: seed, a numpy RandomState or Generator, or None (0); the same seed gives the same law.
        free_constants: with units, whether fitted constants may have any unit.
        nature: with units, constants of nature that the law may hold: names such as ``["c", "hbar", "k_B"]``, or one's
            own, ``{"mu": "3.986e14 m^3/s^2"}``; None: none.
        known: a sub-expression known to matter, such as ``"sin(x0)"``; programs may use it as one token.
        skeleton: the form of the law with one hole, such as ``"x0*exp(?)"``: only the hole is searched.
        columns: names of the columns that the law may use; None: all.
        literals: numbers that programs may hold beside the fitted ones; None: 1, 2 and pi.
        population: programs per island; None: as in ``config.yaml``.
        search_points: rows that programs are bred on; None: as in ``config.yaml``.
        inner_constants: scan for constants inside functions of one variable.
        polynomials: begin with sparse polynomials and quotients of them.
        policy: let a recurrent policy, trained during the search, propose programs.
        proposals: forms that the ``prior`` proposes.
        constraints: what every law must keep to: ``{"positive": True, "monotone": {"x0": "increasing"}, "nesting":
            {"sin": ["sin", "cos"]}, "complexity": {"exp": 5}}``; None: nothing.
        loss: "squared"; "relative" for errors in proportion to y; "huber" or "absolute" for heavy tails.
        time_limit: seconds after which the best law so far is taken; None: none.
        verbose: show a progress bar.
        model_selection: "bits" for the law of least price, "accuracy" for that of least error, "best" for that where
            the error falls most steeply among those of nearly the least error.
        warm_start: a second ``fit`` to the same data goes on for another ``budget``.

    Attributes:
        law_: the chosen law; ``front_``: the front of complexity and error, simplest first; ``table_``: as rows.
        constants_: the numbers of the law with their standard errors; ``constants_of_``: by dataset.
        laws_: with several datasets, the law of each by its label.
        stopped_: why the search ended ("exact", "noise", "budget", "time", "interrupted").
        outliers_: rows of X that are left out because the law of the others does not give them.
        edges_: where the law is not finite, jumps or grows without bound, in the range of the rows or a tenth beyond.
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
        functions: Sequence[Any] | Mapping[str, str] | None = None,
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
        prior: str | Path | None = "auto",
        proposals: int = Options.proposals,
        polynomials: bool = Options.polynomials,
        policy: bool = Options.policy,
        constraints: Mapping[str, Any] | None = None,
        nature: Sequence[str] | Mapping[str, str] | None = None,
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
        self.proposals = proposals
        self.polynomials = polynomials
        self.policy = policy
        self.constraints = constraints
        self.nature = nature

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
        notice_compilation()
        checked = require_options(self)
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        given = getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])])
        weights = weights_of(y, sample_weight, y_error, self.loss)
        sets, labels = None, np.array([""])
        if datasets is not None:
            labels, sets = np.unique(column_or_1d(datasets), return_inverse=True)
            check_consistent_length(y, sets)
        used = chosen_columns(self.columns, [str(name) for name in given])
        names = formula_names([str(given[i]) for i in used])
        nature = read_nature(self.nature or ())
        kept = np.flatnonzero(weights > 0) if weights is not None else np.arange(len(y))
        columns, variables, units = beside(X[kept][:, used], names, units_of(self, given, used, names), nature)
        named = {str(given[i]): name for i, name in zip(used, names, strict=True)}
        options = replace(checked, constraints=read_constraints(self.constraints, named))
        data = Data(
            np.ascontiguousarray(columns), y[kept], variables, units, "y",
            None if sets is None else sets[kept], tuple(str(label) for label in labels),
            None if weights is None else weights[kept],
        )  # fmt: skip
        hole = None if self.skeleton is None else Hole.of(self.skeleton, data)
        searched = data if hole is None else hole.data
        search = self._search(searched, options)
        self.stopped_ = run_for(search, self.time_limit, self.verbose)
        report = Report.of(search.findings(), searched, self.stopped_, search.evaluations)
        report = (report if hole is None else report.inside(hole)).choosing(self.model_selection)
        chosen = report.chosen
        self._columns, self._nature = used, nature
        self._chosen = chosen
        self._given = data
        self._labels = labels.tolist()
        self.front_: list[Finished] = list(report.front)
        self.laws_: dict[Any, Law] = dict(zip(self._labels, chosen.laws, strict=True))
        numbers = constants_of(chosen, report.polisher)
        self.constants_: list[Constant] = numbers[0]
        self.constants_of_: dict[Any, list[Constant]] = dict(zip(self._labels, numbers, strict=True))
        self.law_: Law = chosen.law
        self.outliers_ = kept[search.outliers]
        self.edges_: list[Edge] = report.edges
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
    def table_(self) -> Any:
        """The front, simplest first: complexity, error (NRMSE), bits, law; a data frame where pandas is installed."""
        check_is_fitted(self)
        rows = as_rows(self.front_)
        if importlib.util.find_spec("pandas") is None:
            return rows
        return importlib.import_module("pandas").DataFrame(rows)

    def predict(self, X: Any, datasets: Any = None, index: int | None = None) -> NDArray[np.float64]:
        """Values of the law at X (n, d); NaN where it is not finite. ``datasets`` (n,) as in :meth:`fit`.

        ``index``: of a law in ``front_`` and ``table_``; None: the chosen one.
        """
        check_is_fitted(self)
        X = self._inputs(validate_data(self, X, reset=False, dtype=np.float64))
        laws = self.laws_
        if index is not None:
            laws = dict(zip(self._labels, self._at(index).laws, strict=True))
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

    def numpy_code(self, index: int | None = None) -> str:
        """The law as the text of a Python function of the columns; ``index`` as in :meth:`predict`."""
        return python_code(as_numbers(self._one_law(index), self._nature))

    def c_code(self, index: int | None = None) -> str:
        """The law as the text of a C function of the columns."""
        return c_code(as_numbers(self._one_law(index), self._nature))

    def torch(self, index: int | None = None) -> "nn.Module":
        """The law as a torch module of the used columns, (..., d) -> (...); measured constants are its parameters."""
        return torch_module(as_numbers(self._one_law(index), self._nature))

    def latex_table(self) -> str:
        """The front as a LaTeX table."""
        check_is_fitted(self)
        return latex_table(self.front_)

    def plot(self, X: Any = None, y: Any = None, index: int | None = None) -> "Figure":
        """A figure of fit, residuals and front; of the data of the last ``fit`` unless X and y are given."""
        from rl_suite.symbolic.output.figures import law_figure

        law = self._one_law(index)
        chosen = self._chosen if index is None else self._at(index)
        if (X is None) != (y is None):
            raise ValueError("plot: give both X and y, or neither")
        if X is not None:
            X, y = validate_data(self, X, y, reset=False, y_numeric=True, dtype=np.float64)
            X = self._inputs(X)
        elif hasattr(self, "_given"):
            X, y = self._given.X, self._given.y
        else:
            raise ValueError("plot: a model that was read from a file has no data; give X and y")
        return law_figure((X, np.asarray(y), law.predict(X)), law.library.variables, "y", self.front_, chosen)

    def save(self, path: str | Path) -> None:
        """Write the fitted model as JSON, without pickle; :meth:`load` reads it."""
        check_is_fitted(self)
        write_model(model_record(self, self.law_.library.variables, self._chosen), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> "SymbolicRegressor":
        """The model of a file that :meth:`save` wrote; the file is data, whoever wrote it.

        Raises:
            UserError: the file is missing or not such a model.
        """
        record, library, front, chosen = read_model(Path(path), set(cls._get_param_names()))
        model = cls(**record.parameters)
        model._nature = read_nature(model.nature or ())
        model._columns, model._labels = list(record.columns), list(record.labels)
        model.n_features_in_ = record.n_features
        if record.feature_names is not None:
            model.feature_names_in_ = np.array(record.feature_names, dtype=object)
        model.front_, model._chosen, model.law_ = front, chosen, replace(chosen.law, library=library)
        model.laws_ = dict(zip(model._labels, chosen.laws, strict=True))
        constants = [[Constant(**constant) for constant in row] for row in record.constants]
        model.constants_, model.constants_of_ = constants[0], dict(zip(model._labels, constants, strict=True))
        model.stopped_, model.evaluations_ = record.stopped, record.evaluations
        return model

    def _inputs(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """The columns of the law: those that were chosen, and the constants of nature."""
        values = [np.full(len(X), constant.value) for constant in self._nature]
        return np.ascontiguousarray(np.column_stack([X[:, self._columns], *values]))

    def _at(self, index: int) -> Finished:
        if not -len(self.front_) <= index < len(self.front_):
            raise ValueError(f"index={index}: the front has {len(self.front_)} laws, 0 to {len(self.front_) - 1}")
        return self.front_[index]

    def _one_law(self, index: int | None) -> Law:
        check_is_fitted(self)
        return self.law_ if index is None else self._at(index).law
