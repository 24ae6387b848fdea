"""Laws with constants inside functions, found by scanning one variable's inner constants and solving for the rest.

y = b x + sum_j b_j z_j + sum_f sum_j c_fj z_j f(x; theta), where z is 1 and the other variables. For given inner
constants theta the coefficients are a linear least-squares problem, so theta alone is searched (variable
projection, Golub and Pereyra 1973): over a grid, then by Gauss-Newton steps. A wave's grid is a periodogram
(Lomb 1976). Terms that the data do not ask for are left out before the law is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product as cartesian

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.forms.assembly import DEPENDENT, least_squares
from rl_suite.symbolic.forms.shapes import FACTORED, SHAPES, SQUARED_WAVE, TWO_WAVES, WAVES, Shape, with_phase
from rl_suite.symbolic.laws.pieces import Piece, binary, chain, number, product, weighted_sum

Values = NDArray[np.float64]
MAX_POINTS = 200
MAX_MULTIPLIERS = 4  # other variables beside 1
MAX_VARIABLES, MAX_PRODUCT_VARIABLES = 6, 3
BEST_STARTS = 3  # of each grid
STEPS = 12  # Gauss-Newton steps of the inner constants
CHUNK = 400_000  # numbers in memory while a grid is scanned
RIDGE = 1e-12
SIGNIFICANT = 3.0  # standard errors below which a term is left out
SECOND_WAVE = 1e-4  # of the variance that the linear part leaves: what one wave must leave for a second to be tried
WORTH = 0.7  # of the variance that the linear part leaves: what a shape may leave and be worth writing


@dataclass(frozen=True)
class Found:
    """A shape of one variable with its inner constants and what it leaves of the target."""

    shape: Shape
    variable: int
    theta: Values
    left: float


def inner_laws(
    X: Values, y: Values, variables: Sequence[Piece], functions: Sequence[str], limit: int, which: Sequence[int]
) -> Iterator[tuple[Piece, int]]:
    """The ``limit`` best laws for X (d, n), y (n,), and the grid points that were tried before each.

    ``which`` variables may stand beside inner constants; the first ``MAX_VARIABLES`` of them are looked at.
    """
    if X.shape[1] > MAX_POINTS:
        rows = np.linspace(0, X.shape[1] - 1, MAX_POINTS).astype(np.int64)
        X, y = X[:, rows], y[rows]
    yield from shaped_laws(X, y, variables, functions, SHAPES, which[:MAX_VARIABLES], limit)


def waves_in_products(
    X: Values, y: Values, variables: Sequence[Piece], functions: Sequence[str]
) -> Iterator[tuple[Piece, int]]:
    """Laws with a wave, or its square, in a product or quotient of several columns, as in sin(E t/h)^2."""
    if not 2 <= len(X) <= MAX_PRODUCT_VARIABLES:
        return
    if X.shape[1] > MAX_POINTS:
        rows = np.linspace(0, X.shape[1] - 1, MAX_POINTS).astype(np.int64)
        X, y = X[:, rows], y[rows]
    for powers in cartesian((-1, 0, 1), repeat=len(X)):
        used = [i for i, power in enumerate(powers) if power]
        if len(used) < 2 or powers[used[0]] < 0:
            continue
        with np.errstate(all="ignore"):
            inside = np.prod(X ** np.array(powers, np.float64)[:, None], axis=0)
        if np.isfinite(inside).all():
            rest = [i for i in range(len(X)) if not powers[i]]
            argument = product(None, [(variables[i], Fraction(powers[i])) for i in used])
            columns, pieces = np.array([inside, *X[rest]]), [argument, *(variables[i] for i in rest)]
            yield from shaped_laws(columns, y, pieces, functions, (SHAPES[0], SQUARED_WAVE), (0,), 2)


def shaped_laws(
    X: Values,
    y: Values,
    variables: Sequence[Piece],
    functions: Sequence[str],
    shapes: Sequence[Shape],
    which: Sequence[int],
    limit: int,
    weight: Values | None = None,
) -> Iterator[tuple[Piece, int]]:
    """The ``limit`` best laws with one of the shapes in one of ``which`` variables; ``weight`` (n,) of the residuals.

    A wave that leaves much has a second one beside it.
    """
    weight = np.ones(len(y)) if weight is None else weight
    y = weight * y
    found: list[Found] = []
    tried = 0
    for i in which:
        base = weight * _base(X, i)
        if len(y) <= 2 * len(base) + 4:
            continue
        for shape in shapes:
            if shape.allowed(functions, X[i]):
                grid = shape.grid(X[i])
                best = _scan(shape, grid, X, i, base, y, weight)
                found += best
                tried += len(grid)
                if shape.name == "wave" and best and best[0].left > SECOND_WAVE and len(y) > 6 * len(base):
                    second = np.column_stack([np.full(len(grid), best[0].theta[0]), grid])
                    found += _scan(TWO_WAVES, second, X, i, base, y, weight)
                    tried += len(grid)
    for law in sorted(found, key=lambda f: f.left)[:limit]:
        for piece in _written(law, X, y, variables, weight):
            yield piece, tried
            tried = 0


def _base(X: Values, variable: int) -> Values:
    """1 and the other variables, (m, n)."""
    others = [row for i, row in enumerate(X) if i != variable][:MAX_MULTIPLIERS]
    return np.array([np.ones(X.shape[1]), *others])


def _design(shape: Shape, x: Values, theta: Values, base: Values) -> Values:
    """The columns z_j f(x; theta), each of length 1, (T, f * m, n); not finite where f is not."""
    with np.errstate(all="ignore"):
        f = shape.columns(x - _origin(shape, x), theta)  # (T, f, n)
        columns = (f[:, :, None] * base).reshape(len(theta), -1, len(x))
        return np.asarray(columns / np.linalg.norm(columns, axis=2, keepdims=True))


def _origin(shape: Shape, x: Values) -> float:
    """Waves and rates are the same functions from any origin; the middle keeps their values small."""
    return (float(x.min()) + float(x.max())) / 2 if shape.name in (*WAVES, "rate", "two rates") else 0.0


def _scan(shape: Shape, grid: Values, X: Values, variable: int, base: Values, y: Values, weight: Values) -> list[Found]:
    """The best of a shape over a grid (T, q) of its inner constants, refined; empty if it leaves too much."""
    x = X[variable]
    linear = np.concatenate([base, (weight * x)[None]])
    Q = np.linalg.qr((linear / np.maximum(np.linalg.norm(linear, axis=1, keepdims=True), 1e-300)).T)[0]  # (n, m + 1)
    rest = y - Q @ (Q.T @ y)
    total = float(rest @ rest)
    if total <= 0 or len(grid) == 0:
        return []
    step = max(1, CHUNK // (2 * base.size))
    left = np.concatenate([_left(shape, x, grid[k : k + step], base, Q, rest) for k in range(0, len(grid), step)])
    found = []
    for k in np.argsort(left, kind="stable")[:BEST_STARTS]:
        if left[k] < total:
            theta, error = _refined(shape, x, grid[k], base, Q, rest)
            if error < WORTH * total:
                found.append(Found(shape, variable, theta, error / total))
    found.sort(key=lambda f: f.left)
    return found[:1]


def _left(shape: Shape, x: Values, theta: Values, base: Values, Q: Values, rest: Values) -> Values:
    """Sum of squares that each theta leaves of ``rest``, (T,); infinite where it is not finite."""
    columns = _design(shape, x, theta, base)
    columns -= (columns @ Q) @ Q.T
    fine = np.isfinite(columns).all(axis=(1, 2))
    columns[~fine] = 0.0
    gram = columns @ columns.transpose(0, 2, 1) + RIDGE * np.eye(columns.shape[1])
    right = columns @ rest  # (T, c)
    value = np.linalg.solve(gram, right[:, :, None])[:, :, 0]
    error = rest - (value[:, None, :] @ columns)[:, 0]
    return np.where(fine, (error**2).sum(axis=1), np.inf)


def _residual(shape: Shape, x: Values, theta: Values, base: Values, Q: Values, rest: Values) -> Values | None:
    columns = _design(shape, x, theta[None], base)[0]
    if not np.isfinite(columns).all():
        return None
    columns = columns - (columns @ Q) @ Q.T
    return np.asarray(rest - columns.T @ np.linalg.lstsq(columns.T, rest, rcond=DEPENDENT)[0])


def _refined(shape: Shape, x: Values, start: Values, base: Values, Q: Values, rest: Values) -> tuple[Values, float]:
    """Damped Gauss-Newton steps on the projected residual: (theta, sum of squares)."""
    theta = start.astype(np.float64)
    residual = _residual(shape, x, theta, base, Q, rest)
    if residual is None:
        return theta, np.inf
    error, damping = float(residual @ residual), 1e-3
    size = np.maximum(np.abs(theta), 1e-3 / max(float(np.ptp(x)), 1e-300))
    for _ in range(STEPS):
        slopes = []
        for k in range(len(theta)):
            moved = theta.copy()
            moved[k] += 1e-6 * size[k]
            other = _residual(shape, x, moved, base, Q, rest)
            slopes.append(np.zeros_like(rest) if other is None else (other - residual) / 1e-6)
        J = np.array(slopes)  # (q, n) by theta in units of its size
        normal = J @ J.T
        step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal) + 1e-300), -(J @ residual), rcond=None)[0]
        trial = theta + np.clip(step, -0.5, 0.5) * size
        new = _residual(shape, x, trial, base, Q, rest)
        if new is None or float(new @ new) >= error:
            damping *= 10.0
            continue
        converged = error - float(new @ new) < 1e-10 * error
        theta, residual, error, damping = trial, new, float(new @ new), damping * 0.1
        if converged:
            break
    return theta, error


def _written(found: Found, X: Values, y: Values, variables: Sequence[Piece], weight: Values) -> Iterator[Piece]:
    """The law without the terms that say nothing; and without an intercept where it is small. ``y`` is weighted."""
    shape, x, base = found.shape, X[found.variable], weight * _base(X, found.variable)
    with np.errstate(all="ignore"):
        f = shape.columns(x, found.theta[None])[0]
        terms = np.concatenate([base, (f[:, None] * base).reshape(-1, len(y)), (weight * x)[None]])
    if not np.isfinite(terms).all() or not (np.abs(terms).max(axis=1) < 1e150).all():
        return
    m = len(base)
    active = list(range(len(terms)))
    while True:
        fit = least_squares(terms[active].T, y)
        sure = np.abs(fit.value) / np.maximum(fit.error, 1e-300)
        share = np.abs(fit.value) * np.linalg.norm(terms[active], axis=1) / np.linalg.norm(y)
        shaped = [j for j in active if m <= j < len(terms) - 1]  # one of which must stay
        weak = [
            k
            for k, j in enumerate(active)
            if (sure[k] < SIGNIFICANT or share[k] < 1e-9) and (j not in shaped or len(shaped) > 1)
        ]
        if not weak:
            break
        del active[min(weak, key=lambda k: float(sure[k]))]
    yield _law(found, dict(zip(active, fit.value.tolist(), strict=True)), m, variables)
    if 0 in active and len(active) > 1 and sure[active.index(0)] < 10 * SIGNIFICANT:
        active.remove(0)
        again = least_squares(terms[active].T, y).value
        yield _law(found, dict(zip(active, again.tolist(), strict=True)), m, variables)


def _law(found: Found, weights: dict[int, float], m: int, variables: Sequence[Piece]) -> Piece:
    """The law out of the weights of its terms: m linear ones, m for each function of the shape, and the variable."""
    variable = variables[found.variable]
    others = [v for i, v in enumerate(variables) if i != found.variable][:MAX_MULTIPLIERS]

    def combination(first: int) -> Piece | None:
        chosen = [(weights[first + j], others[j - 1]) for j in range(1, m) if first + j in weights]
        if first not in weights and not chosen:
            return None
        return weighted_sum(weights.get(first), chosen)

    parts: list[Piece] = []
    functions = found.shape.pieces(variable, found.theta)
    trend = (1 + len(functions)) * m
    result = combination(0)
    if trend in weights:
        parts.append(binary("mul", number(weights[trend]), variable))
    if found.shape.name in WAVES:
        parts += _waves(found, weights, m, variable, others)
    elif found.shape.name in FACTORED:
        stretch = functions[0]
        plain, bent = combination(m), combination(2 * m)
        inside = [piece for piece in (plain, None if bent is None else binary("mul", variable, bent)) if piece]
        together = chain("add", inside)
        if together is not None:
            parts.append(binary("mul", stretch, together))
    else:
        for k, function in enumerate(functions):
            factor = combination((k + 1) * m)
            if factor is not None:
                parts.append(binary("mul", factor, function))
    for part in parts:
        result = part if result is None else binary("add", result, part)
    return result if result is not None else weighted_sum(0.0, [])


def _waves(found: Found, weights: dict[int, float], m: int, variable: Piece, others: list[Piece]) -> Iterator[Piece]:
    """Sine and cosine of each wave as one with a phase where one factor alone has both, else as they are."""
    functions = found.shape.pieces(variable, found.theta)
    for k in range(1, len(functions), 2):
        own = [j for j in weights if k * m <= j < (k + 2) * m]
        j = own[0] - k * m if own else 0
        if own == [k * m + j, (k + 1) * m + j]:
            theta = found.theta[k // 2 :][:1] if found.shape.name == "two waves" else found.theta
            size, wave = with_phase(found.shape, variable, theta, weights[own[0]], weights[own[1]])
            yield weighted_sum(None, [(size, wave if j == 0 else binary("mul", others[j - 1], wave))])
            continue
        for function, first in zip(functions[k - 1 : k + 1], (k * m, (k + 1) * m), strict=True):
            chosen = [(weights[first + j], others[j - 1]) for j in range(1, m) if first + j in weights]
            if chosen or first in weights:
                yield binary("mul", weighted_sum(weights.get(first), chosen), function)
