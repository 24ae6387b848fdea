"""The law of one state: few terms out of a library first; where these do not reach the noise, a search for others."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from envs.symbolic.tokens import Library
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.dynamics.sparse import Subset, best_subsets
from rl_suite.symbolic.dynamics.weak import WeakForm
from rl_suite.symbolic.laws.canonical import canonical
from rl_suite.symbolic.laws.constants import Constant, constants_of
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import Piece, binary, number, product, weighted_sum
from rl_suite.symbolic.laws.polish import Finished, Polisher
from rl_suite.symbolic.laws.price import EXPONENT_BITS, TOKEN_BITS
from rl_suite.symbolic.search import Search

Values = NDArray[np.float64]
MOST_TERMS = 8
ROUNDS = 3  # of choosing terms and whitening again with the law that they make
STEP = 1e-4  # of a state's spread, for df/dx
TAIL = 4.0  # standard deviations of chi square per row above 1, up to which a law is said to reach the noise
LARGEST_LIBRARY = 60  # terms; the degree is lowered until there are no more
EDGE = 0.04  # share of a trajectory at each end where the slope of a spline is no guide


@dataclass(frozen=True)
class StateLaw:
    """dx/dt of one state.

    Attributes:
        state: its name.
        chosen: the law, ``front`` the best law of each size; errors are of the weak form, in units of its target.
        constants: its numbers with their standard errors.
        misfit: chi square per row; 1 for the true law with the noise as it was estimated.
        rows: independent rows of the weak form.
        by_search: whether a search of programs found it, and not the library of polynomial terms.
    """

    state: str
    chosen: Finished
    front: tuple[Finished, ...]
    constants: tuple[Constant, ...]
    misfit: float
    rows: int
    by_search: bool

    @property
    def reaches_noise(self) -> bool:
        """Whether what the law leaves is no more than noise in the states gives."""
        return self.misfit <= 1 + TAIL * math.sqrt(2 / max(self.rows, 1))


class Identifier:
    """Laws of trajectories with the same states.

    Args:
        forms: the weak form of each trajectory.
        names: of the states.
        degree: of the polynomial terms.
        options: of the search; ``budget`` programs per state, 0: no search. ``seed``: of the search.
    """

    def __init__(self, forms: Sequence[WeakForm], names: Sequence[str], degree: int, options: Options, seed: int):
        self.forms, self.names, self.options, self.seed = forms, tuple(names), options, seed
        self.library = Library("full", self.names, constant=True)
        self.terms = monomials(len(names), degree)

    def law_of(self, state: int, budget: int) -> StateLaw:
        """The law of a state; programs are searched where no sum of few terms reaches the noise."""
        found = self._of_terms(state)
        if found.reaches_noise or budget == 0:
            return found
        searched = self._searched(state, budget)
        return min([found, *searched], key=lambda law: law.chosen.bits)

    def _of_terms(self, state: int) -> StateLaw:
        features = [_values(self.terms, form.X) for form in self.forms]
        jacobians: list[Values | None] = [None] * len(self.forms)
        for _ in range(ROUNDS):
            parts = [form.whitened(state, own) for form, own in zip(self.forms, jacobians, strict=True)]
            A = np.concatenate([project @ own for (project, _), own in zip(parts, features, strict=True)])
            b = np.concatenate([target for _, target in parts])
            subsets = best_subsets(A, b, MOST_TERMS)
            chosen = min(subsets, key=lambda s: s.price(len(b), len(self.terms)))
            jacobians = [self._slope(form.smooth, self._sum(chosen)) for form in self.forms]
        front = [self._finished(A, b, subset) for subset in subsets]
        law, constants = min(front, key=lambda pair: pair[0].bits)
        return self._state_law(state, law, [f for f, _ in front], constants, len(b), float(b @ b), False)

    def _state_law(
        self,
        state: int,
        law: Finished,
        front: Sequence[Finished],
        constants: Sequence[Constant],
        rows: int,
        total: float,
        by_search: bool,
    ) -> StateLaw:
        misfit = law.nmse * total / max(1, rows - law.law.n_free)
        return StateLaw(self.names[state], law, tuple(front), tuple(constants), misfit, rows, by_search)

    def _finished(self, A: Values, b: Values, subset: Subset) -> tuple[Finished, list[Constant]]:
        """A subset as a law with the numbers that the rows support, and their errors."""
        used = [f"a{i}" for i in range(len(subset.columns))]
        columns = np.ascontiguousarray(A[:, list(subset.columns)])
        rows = Polisher(columns, b)
        terms = [(float(c), Piece((name,))) for c, name in zip(subset.coefficients, used, strict=True)]
        linear = weighted_sum(None, terms).law(Library("full", used, constant=True))
        settled = rows.finish(linear)
        piece = _in_place(settled.law, [self._monomial(j) for j in subset.columns])
        law = canonical(piece.law(self.library), {})
        left = float(((_predicted(settled.law, columns) - b) ** 2).sum())
        return _priced(law, left, b), constants_of(settled, rows)[0]

    def _monomial(self, term: int) -> Piece:
        powers = self.terms[term]
        factors = [(Piece((self.names[i],)), Fraction(p)) for i, p in enumerate(powers) if p]
        return product(None, factors)

    def _sum(self, subset: Subset) -> Callable[[Values], Values]:
        chosen = [self.terms[j] for j in subset.columns]
        return lambda X: _values(chosen, X) @ subset.coefficients if chosen else np.zeros(len(X))

    def _slope(self, X: Values, f: Callable[[Values], Values]) -> Values:
        """df/dx (n, d) by central differences; 0 where it is no number."""
        columns = []
        for i in range(X.shape[1]):
            step = np.zeros(X.shape[1])
            step[i] = STEP * max(float(X[:, i].std()), 1e-300)
            columns.append((f(X + step) - f(X - step)) / (2 * step[i]))
        slopes: Values = np.nan_to_num(np.column_stack(columns), nan=0.0, posinf=0.0, neginf=0.0)
        return slopes

    def _searched(self, state: int, budget: int) -> list[StateLaw]:
        """Laws that a search finds in the slopes of the smooth states, fitted again to the weak form."""
        parts = []
        for form in self.forms:
            edge = max(2, int(EDGE * len(form.smooth)))
            parts.append((form.smooth[edge:-edge], form.slopes[edge:-edge, state]))
        X, y = (np.ascontiguousarray(np.concatenate(own)) for own in zip(*parts, strict=True))
        if np.ptp(y) == 0:
            return []
        search = Search(Data(X, y, self.names, target=self.names[state]), self.options, self.seed, budget)
        search.run()
        fitted = [self._refitted(state, finished.law) for finished in search.findings().front]
        good = [law for law in fitted if law is not None]
        front = [law.chosen for law in good]
        return [replace(law, front=tuple(sorted(front, key=lambda f: f.complexity))) for law in good]

    def _refitted(self, state: int, law: Law) -> StateLaw | None:
        """A law with its measured numbers at the least squares of the weak form; None where it is not finite."""
        free = np.array([exact is None for exact in law.exact], dtype=np.bool_)
        for _ in range(2):
            with np.errstate(all="ignore"):
                slopes = [self._slope(form.smooth, law.predict) for form in self.forms]
            parts = [form.whitened(state, own) for form, own in zip(self.forms, slopes, strict=True)]
            b = np.concatenate([target for _, target in parts])
            if free.sum() >= len(b):
                return None

            def off(values: Values, law: Law = law, parts: list[tuple[Values, Values]] = parts) -> Values:
                constants = law.constants.copy()
                constants[free] = values
                own = replace(law, constants=constants)
                rows = [project @ own.predict(form.X) for (project, _), form in zip(parts, self.forms, strict=True)]
                difference: Values = np.concatenate(rows) - np.concatenate([target for _, target in parts])
                return difference

            start = law.constants[free]
            if not np.isfinite(off(start)).all():
                return None
            errors = np.zeros(len(law.exact))
            if free.any():
                try:
                    fit = least_squares(off, start, x_scale=np.maximum(np.abs(start), 1e-6), max_nfev=50)
                except ValueError:  # a step led where the law is no number
                    return None
                constants = law.constants.copy()
                constants[free] = fit.x
                law = replace(law, constants=constants)
                errors[free] = np.sqrt(np.maximum(np.diag(np.linalg.pinv(fit.jac.T @ fit.jac)), 0.0))
        left = float((off(law.constants[free]) ** 2).sum())
        measured = [
            Constant(law.constant_names[k], float(law.constants[k]), float(errors[k]), False)
            for k in range(len(law.exact))
            if free[k]
        ]
        finished = _priced(law, left, b)
        return self._state_law(state, finished, [finished], measured, len(b), float(b @ b), True)


def monomials(d: int, degree: int) -> list[tuple[int, ...]]:
    """Powers (d,) of all monomials up to a degree, which is lowered where they would be too many.

    >>> monomials(2, 2)
    [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
    """
    found: list[tuple[int, ...]] = []
    for total in range(degree + 1):
        own = [
            tuple(chosen.count(i) for i in range(d))
            for chosen in itertools.combinations_with_replacement(range(d), total)
        ]
        if total > 1 and len(found) + len(own) > LARGEST_LIBRARY:
            break
        found += own
    return found


def _values(terms: Sequence[tuple[int, ...]], X: Values) -> Values:
    """Values (n, terms) of monomials at X (n, d)."""
    return np.column_stack([np.prod(X ** np.array(powers), axis=1) for powers in terms])


def _predicted(law: Law, columns: Values) -> Values:
    return law.predict(columns)


def _in_place(law: Law, monomials: Sequence[Piece]) -> Piece:
    """A linear law over a0, a1, ... with monomials in their places."""
    numbers = iter(zip(law.constants.tolist(), law.exact, strict=True))
    stack: list[Piece] = []
    backwards = list(reversed(list(numbers)))
    given = iter(backwards)
    for i in law.program[::-1].tolist():
        token = law.library.tokens[i]
        if token.index >= 0:
            stack.append(monomials[token.index])
        elif token.arity == 0:
            value, exact = next(given)
            stack.append(number(value, exact))
        elif token.arity == 1:
            inner = stack.pop()
            stack.append(Piece((token.name, *inner.names), inner.numbers))
        else:
            left = stack.pop()
            stack.append(binary(token.name, left, stack.pop()))
    return stack[0]


def _priced(law: Law, left: float, b: Values) -> Finished:
    """A law with its share of the weak form's squares, and its price in bits where the noise is known."""
    rows, total = len(b), max(float(b @ b), 1e-300)
    misfit = 0.5 * rows * math.log2(max(left / rows, 1.0))
    said = TOKEN_BITS * len(law.program) + EXPONENT_BITS * law.measured_exponents + sum(law.number_bits)
    bits = misfit + 0.5 * law.n_free * math.log2(max(rows, 2)) + said
    return Finished((law,), left / total, bits, rows)
