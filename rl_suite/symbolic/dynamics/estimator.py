"""Laws of motion as an estimator: ``SymbolicODE().fit(t, X)``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from rl_suite.symbolic.data import Options
from rl_suite.symbolic.dynamics.system import BUDGET, DEGREE, Followed, System, derivatives, discover, simulate
from rl_suite.symbolic.dynamics.weak import Trajectory
from rl_suite.symbolic.estimator_options import seed_of
from rl_suite.symbolic.forms.custom import read_functions
from rl_suite.symbolic.laws.constants import Constant
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.table import formula_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = NDArray[np.float64]


class SymbolicODE(BaseEstimator):  # type: ignore[misc]
    """Finds dx/dt = f(x) in trajectories with noise, without differentiating them.

    Args:
        degree: of the polynomial terms that are tried first.
        budget: programs that a search may evaluate for a state whose law is no sum of few of them; 0: no search.
        functions: functions of that search; None: those of physics.
        random_state: as of ``SymbolicRegressor``.

    Attributes:
        laws_: the law of dx/dt for each state; ``names_``: of the states; ``system_``: everything that was found.
        noise_: (d,) standard deviation of each state's noise, estimated.
        constants_: the numbers of each law with their standard errors.

    >>> t = np.linspace(0, 10, 200)
    >>> model = SymbolicODE().fit(t, np.column_stack([np.cos(t), -np.sin(t)]), names=["x", "v"])
    >>> [str(law) for law in model.laws_]
    ['v', '-x']
    """

    def __init__(
        self,
        degree: int = DEGREE,
        budget: int = BUDGET,
        functions: Sequence[Any] | None = None,
        random_state: Any = None,
    ):
        self.degree = degree
        self.budget = budget
        self.functions = functions
        self.random_state = random_state

    def fit(self, t: Any, X: Any, names: Sequence[str] | None = None) -> "SymbolicODE":
        """Find the laws of states X (n, d) at times t (n,); of several trajectories, lists of both.

        Args:
            t: increasing times.
            X: states; the columns of a data frame name them.
            names: of the states; None: those of the data frame, else x0, x1, ...

        Raises:
            ValueError: times that do not increase, too few samples, states that never change, bad options.
        """
        for name, least, most in (("degree", 1, 5), ("budget", 0, None)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ValueError(f"{name}={value!r}: must be a whole number from {least} on")
            if most is not None and value > most:
                raise ValueError(f"{name}={value!r}: must be a whole number from {least} to {most}")
        several = isinstance(X, list | tuple) and len(X) > 0 and np.ndim(X[0]) == 2
        first = X[0] if several else X
        named = getattr(first, "columns", None)
        self.trajectories_ = [_trajectory(*pair) for pair in (zip(t, X, strict=True) if several else [(t, X)])]
        d = self.trajectories_[0].X.shape[1]
        given = names if names is not None else [f"x{i}" for i in range(d)] if named is None else list(named)
        if len(given) != d:
            raise ValueError(f"{len(given)} names were given for {d} states")
        functions, custom = read_functions(self.functions, Options.functions)
        options = Options(functions=functions, custom=custom)
        self.names_ = tuple(formula_names([str(name) for name in given]))
        seed = seed_of(self.random_state)
        self.system_: System = discover(self.trajectories_, self.names_, self.degree, self.budget, options, seed)
        self.laws_: tuple[Law, ...] = self.system_.laws
        self.noise_: Values = self.system_.noise
        self.constants_: list[tuple[Constant, ...]] = [state.constants for state in self.system_.states]
        self.n_features_in_ = d
        return self

    def predict(self, X: Any) -> Values:
        """dx/dt (n, d) at states X (n, d); NaN where a law is not finite."""
        check_is_fitted(self)
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise ValueError(f"X must be (n, {self.n_features_in_}), not {X.shape}")
        return derivatives(self.laws_, X)

    def simulate(self, t: Any, start: Any) -> Values:
        """States (n, d) at increasing times t (n,) from ``start`` (d,); NaN from where they cannot be followed."""
        check_is_fitted(self)
        t, start = np.asarray(t, dtype=np.float64), np.asarray(start, dtype=np.float64)
        if t.ndim != 1 or len(t) < 2 or not (np.diff(t) > 0).all() or start.shape != (self.n_features_in_,):
            raise ValueError(f"t must be increasing times (n,) and start ({self.n_features_in_},)")
        return simulate(self.laws_, start, t)

    def follow(self) -> list[Followed]:
        """The trajectories of ``fit`` beside their simulations from the first state."""
        check_is_fitted(self)
        return [self.system_.follow(own) for own in self.trajectories_]

    def sympy(self) -> list[sympy.Expr]:
        """dx/dt of each state as a sympy expression."""
        check_is_fitted(self)
        return [law.sympy() for law in self.laws_]

    def latex(self) -> list[str]:
        """The equations as LaTeX."""
        check_is_fitted(self)
        pairs = zip(self.names_, self.laws_, strict=True)
        return [rf"\frac{{d {sympy.latex(sympy.Symbol(n))}}}{{dt}} = {law.latex()}" for n, law in pairs]

    def plot(self) -> "Figure":
        """The first trajectory and its simulation against time, and the phase portrait."""
        from rl_suite.symbolic.dynamics.figures import system_figure

        check_is_fitted(self)
        return system_figure(self.trajectories_[0], self.system_, self.system_.follow(self.trajectories_[0]))


def _trajectory(t: Any, X: Any) -> Trajectory:
    states = np.asarray(X, dtype=np.float64)
    return Trajectory(np.asarray(t, dtype=np.float64), states[:, None] if states.ndim == 1 else states)
