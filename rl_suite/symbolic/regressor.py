"""The search as a scikit-learn estimator."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from envs.symbolic.units import Units
from rl_suite.symbolic.data import DEFAULT_BUDGET, Data, Options
from rl_suite.symbolic.laws.constants import Constant, constants_of
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.search import Search


class SymbolicRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Finds a law y = f(X) that people can read.

    Args:
        budget: programs that may be evaluated on the data.
        functions: functions of the search, names out of ``envs.symbolic.tokens.OPERATIONS``; None: those of physics.
        max_length: longest program, in tokens, inside a frame.
        units: unit of every variable by name, such as ``{"m": "kg", "v": "m/s"}``; None: no units.
        target_unit: unit of y, where ``units`` is given.
        stop_at_noise: end before the budget when the residuals no longer depend on the inputs.
        random_state: seed; the same seed gives the same law.

    Attributes:
        law_: the chosen law; ``front_``: the Pareto front of complexity and error, simplest first.
        constants_: the numbers of the law with their standard errors; ``constants_of_``: by dataset.
        laws_: with several datasets, the law of each by its label.
        stopped_: why the search ended ("exact", "noise", "budget"); ``evaluations_``: what it used.

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
        random_state: int | None = None,
    ):
        self.budget = budget
        self.functions = functions
        self.max_length = max_length
        self.units = units
        self.target_unit = target_unit
        self.stop_at_noise = stop_at_noise
        self.random_state = random_state

    def fit(self, X: Any, y: Any, datasets: Any = None) -> "SymbolicRegressor":
        """Search a law for X (n, d), y (n,). Column names of a data frame become the variables.

        ``datasets`` (n,) are labels of the rows: all datasets have one law, and measured constants of their own.

        Raises:
            ValueError: data that are not finite numbers, fewer than two rows, units that cannot be reached.
        """
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2, dtype=np.float64)
        y = np.asarray(y, dtype=np.float64)
        names = tuple(getattr(self, "feature_names_in_", [f"x{i}" for i in range(X.shape[1])]))
        units = None
        if self.units is not None:
            if self.target_unit is None:
                raise ValueError("units were given; target_unit is needed too ('1' for a pure number)")
            units = Units.from_text(names, self.units, self.target_unit)
        functions = Options.functions if self.functions is None else tuple(self.functions)
        options = Options(functions=functions, max_length=self.max_length, stop_at_noise=self.stop_at_noise)
        seed = 0 if self.random_state is None else int(self.random_state)
        sets, labels = None, np.array([""])
        if datasets is not None:
            labels, sets = np.unique(column_or_1d(datasets), return_inverse=True)
            check_consistent_length(y, sets)
        data = Data(X, y, names, units, "y", sets, tuple(str(label) for label in labels))
        search = Search(data, options, seed, self.budget)
        search.run()
        found = search.findings()
        self.laws_: dict[Any, Law] = dict(zip(labels.tolist(), found.chosen.laws, strict=True))
        self.front_: list[Finished] = found.front
        numbers = constants_of(found.chosen, found.polisher)
        self.constants_: list[Constant] = numbers[0]
        self.constants_of_: dict[Any, list[Constant]] = dict(zip(labels.tolist(), numbers, strict=True))
        self.law_: Law = found.chosen.law
        self.stopped_ = search.reason
        self.evaluations_ = search.evaluations
        return self

    def predict(self, X: Any, datasets: Any = None) -> NDArray[np.float64]:
        """Values of the law at X (n, d); NaN where it is not finite. ``datasets`` (n,) as in :meth:`fit`."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        if datasets is None:
            if len(self.laws_) > 1:
                raise ValueError("the law was fitted to several datasets: predict(X, datasets) needs their labels")
            return self.law_.predict(X)
        labels = column_or_1d(datasets)
        check_consistent_length(X, labels)
        unknown = sorted(set(labels.tolist()) - set(self.laws_), key=str)
        if unknown:
            raise ValueError(f"dataset {unknown[0]!r} was not fitted; known: {', '.join(map(repr, self.laws_))}")
        values = np.empty(len(X))
        for label in np.unique(labels):
            rows = labels == label
            values[rows] = self.laws_[label.item()].predict(X[rows])
        return values

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
