"""A table with fewer columns that says the same: columns that multiply the target, that act together, or not at all.

If ``y = x0 * g(x1, x2)``, then ``y / x0`` is a law of two columns; if columns act only as ``x1 / x2``, one column
does; so does ``x1 - x2`` where only their difference counts. Which of these a table allows is tried greedily: after
every possible step a polynomial of the columns that are left is fitted, and the step whose polynomial predicts rows
left out best is taken. Two scales are tried, ``y`` in the columns and ``log|y|`` in their logarithms. Nothing is
proven: a reduced table is a guess of what is worth looking at. The idea is that of dimensionless groups (Buckingham)
and of symmetries found by a fit (AI Feynman, Udrescu and Tegmark 2020), with polynomials in the place of networks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, combinations_with_replacement
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.law_forms import WHOLE, Form, product, substituted, total
from rl_suite.symbolic.prior import context_of

Values = NDArray[np.float64]
Scale = Literal["raw", "log"]
Key = tuple[frozenset[Form], Form]

# Quarters of the exponent of a column that multiplies the target; exponents of two columns that act as one product.
STRIPPED = (0, 4, -4, 8, -8, 2, -2, 12, -12, 6, -6, 16, -16, 20, -20)
MERGED = ((1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1))
ROOM = 0.6  # terms of a polynomial, at most this share of the rows
HIGHEST = 8  # degree
EXACT = 1e-10  # share of the variance below which one polynomial is as good as another
WIDTH, NARROW = 4, 6  # tables that are followed at a time; one where more columns than these are left
HARMLESS, WORSE = 1e-5, 2.0  # a step may end with this error, or with so many times the error before it
USEFUL = 0.1  # share of the variance that a polynomial may leave where a reduced table is looked at
LEAST_SPREAD = 1e-12  # of a column over its largest value


@dataclass(frozen=True, eq=False)
class Part:
    """A column of a reduced table, and the form over the columns of the whole table that it holds."""

    values: Values  # (n,)
    form: Form

    @cached_property
    def usable(self) -> bool:
        """Whether it is finite and not the same everywhere."""
        v = self.values
        return bool(np.isfinite(v).all() and np.ptp(v) > LEAST_SPREAD * np.abs(v).max())

    @cached_property
    def raw(self) -> Values:
        """With mean 0 and deviation 1 (n,)."""
        return _standard(self.values)

    @cached_property
    def log(self) -> Values:
        """Its logarithm with mean 0 and deviation 1, or itself where it is not positive everywhere (n,)."""
        return _standard(np.log(self.values)) if (self.values > 0).all() else self.raw


def _standard(values: Values) -> Values:
    result: Values = (values - values.mean()) / (values.std() or 1.0)
    return result


class Reduced(NamedTuple):
    """A table of ``parts`` whose target is y over a product of powers."""

    parts: tuple[Part, ...]
    factor: Values  # (n,) what y is divided by
    powers: tuple[tuple[Form, int], ...] = ()  # that factor as forms and quarters of their exponents

    def columns(self) -> Values:
        """The columns (n, parts)."""
        return np.column_stack([part.values for part in self.parts])

    def key(self) -> Key:
        """Equal for tables that hold the same."""
        return frozenset(part.form for part in self.parts), product(self.powers)

    def back(self, form: Form) -> Form:
        """The form of y where the target has this one over the parts; ValueError where it cannot be written."""
        own = substituted(form, [part.form for part in self.parts])
        return product([(own, WHOLE), *self.powers])


def whole_table(X: Values) -> Reduced:
    """The table X (n, d) as it is."""
    return Reduced(tuple(Part(X[:, c], ("x", c)) for c in range(X.shape[1])), np.ones(len(X)))


def reductions(X: Values, y: Values) -> list[Reduced]:
    """Reduced tables of X (n, d), y (n,), at most d - 1 for each scale; none where a table has one column."""
    size = np.abs(y).max(initial=0.0)
    if not size > 0.0:
        return []
    order = context_of(X, y).order[0, : X.shape[1]]  # by influence: the order of the columns has no part in the result
    parts = whole_table(X).parts
    scales: tuple[Scale, ...] = ("raw", "log") if (y != 0).all() else ("raw",)
    with np.errstate(all="ignore"):  # what is not finite is no step
        table = Reduced(tuple(parts[c] for c in order if parts[c].usable), np.ones(len(y)))
        return [found for scale in scales for found in _best_of_each_size(table, y / size, scale)]


def _best_of_each_size(table: Reduced, y: Values, scale: Scale) -> Iterator[Reduced]:
    """The best table with one column fewer, two fewer, ..., while a polynomial goes on predicting rows left out."""
    followed = [(float(_left_out([table], y, scale)[0]), table)]
    for size in range(len(table.parts) - 1, 0, -1):
        different: dict[Key, tuple[float, Reduced]] = {}
        for before, from_ in followed:
            steps = list(_steps(from_))
            errors = np.maximum(_left_out(steps, y, scale), EXACT) if steps else np.empty(0)
            for i in np.argsort(errors, kind="stable")[:WIDTH]:
                if errors[i] <= max(HARMLESS, WORSE * before):
                    different.setdefault(steps[i].key(), (float(errors[i]), steps[i]))
        followed = sorted(different.values(), key=lambda found: found[0])[: WIDTH if size <= NARROW else 1]
        if followed and followed[0][0] <= USEFUL:
            yield followed[0][1]


def _steps(table: Reduced) -> Iterator[Reduced]:
    """All tables with one part fewer: those that are the least change come first."""
    for i, part in enumerate(table.parts):
        rest = table.parts[:i] + table.parts[i + 1 :]
        for quarters in STRIPPED:
            if quarters % WHOLE == 0 or (part.values > 0).all():
                factor = table.factor * part.values ** (quarters / WHOLE)
                powers = ((part.form, quarters),) if quarters else ()
                if np.isfinite(factor).all() and factor.all():
                    yield Reduced(rest, factor, table.powers + powers)
    for a, b in combinations(table.parts, 2):
        rest = tuple(part for part in table.parts if part is not a and part is not b)
        for merged in _together(a, b):
            if merged.usable:
                yield Reduced((*rest, merged), table.factor, table.powers)


def _together(a: Part, b: Part) -> Iterator[Part]:
    """One column for two: products of powers, sums and differences of both or of their squares."""
    for p, q in MERGED:
        try:
            form = product([(a.form, WHOLE * p), (b.form, WHOLE * q)])
        except ValueError:  # an exponent that no form has
            continue
        yield Part(a.values ** float(p) * b.values ** float(q), form)
    for exponent in (1, 2):
        form = total([product([(part.form, WHOLE * exponent)]) for part in (a, b)])
        yield Part(a.values**exponent + b.values**exponent, form)
        yield Part(a.values**exponent - b.values**exponent, form)


def _left_out(tables: Sequence[Reduced], y: Values, scale: Scale) -> Values:
    """Mean squared error (T,) on rows left out, over the target's variance, of polynomials of the parts of tables
    that have equally many; the better of the two highest degrees that the rows can carry.
    """
    n = len(y)
    columns = np.array([[p.raw if scale == "raw" else p.log for p in t.parts] for t in tables])  # (T, d, n)
    factor = np.stack([table.factor for table in tables])
    if scale == "log":
        target = np.log(np.abs(y)) - np.log(np.abs(factor))
        factor = np.ones_like(factor)
        variance = np.log(np.abs(y)).var()
    else:
        target, variance = np.broadcast_to(y, factor.shape), y.var()
    best = np.full(len(tables), np.inf)
    for terms in _polynomials(columns.shape[1], n):
        design = np.stack([factor * columns[:, term].prod(axis=1) for term in terms], 2)  # (T, n, p)
        basis = np.linalg.qr(design)[0]
        residual = target - np.einsum("tnp,tp->tn", basis, np.einsum("tnp,tn->tp", basis, target))
        lever = np.maximum(1.0 - (basis * basis).sum(axis=2), 1e-3)
        error = ((residual / lever) ** 2).mean(axis=1)
        best = np.fmin(best, error)
    result: Values = best / (variance or 1.0)
    return result


@lru_cache(maxsize=64)
def _polynomials(d: int, n: int) -> list[list[list[int]]]:
    """Terms, each a list of columns to be multiplied, of the two largest polynomials of d columns for n rows."""
    found = [[list(c) for k in range(degree + 1) for c in combinations_with_replacement(range(d), k)]
             for degree in range(1, HIGHEST + 1) if _size(d, degree) <= ROOM * n]  # fmt: skip
    if len(found) < 2:
        found.append([[], *([c] for c in range(d)), *([c, c] for c in range(d))])
    return found[-2:]


def _size(d: int, degree: int) -> int:
    size = 1
    for k in range(1, degree + 1):
        size = size * (d + k) // k
    return size
