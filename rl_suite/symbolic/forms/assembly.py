"""From a program in its frame to a finished law: fit the frame, round its exponents, write it out."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.evolution.frames import EXPONENTIAL, POWER, Target
from rl_suite.symbolic.laws.numbers import nearest_exponent
from rl_suite.symbolic.laws.pieces import Piece, binary, chain, number, product, unary, undo_transform, weighted_sum

Values = NDArray[np.float64]
MAX_EXPONENT = 9
DEPENDENT = 1e-11  # of the largest singular value: columns that add less are sums of the others
WORTH = 20.0  # bits of the residuals that exponents as measured must save to be offered
REFINEMENTS = 6  # Gauss-Newton steps


@dataclass(frozen=True)
class Fit:
    """Least-squares coefficients (k,) with their standard errors (k,)."""

    value: Values
    error: Values


def least_squares(columns: Values, target: Values) -> Fit:
    """Coefficients of ``columns`` (n, k) for ``target`` (n,); dependent columns, and such as are no numbers, get 0."""
    columns = np.where(np.isfinite(columns).all(axis=0), columns, 0.0)
    scale = np.abs(columns).max(axis=0)  # first, so that squares stay numbers
    scale[scale == 0] = 1.0
    scale *= np.maximum(np.linalg.norm(columns / scale, axis=0), 1e-300)
    U, s, Vt = np.linalg.svd(columns / scale, full_matrices=False)
    keep = s > DEPENDENT * s[0]
    inverse = (Vt[keep].T / s[keep]) @ U[:, keep].T
    value = inverse @ target
    residual = target - (columns / scale) @ value
    freedom = max(len(target) - keep.sum(), 1)
    variance = max(residual @ residual / freedom, (1e-15 * np.linalg.norm(target)) ** 2 / len(target))
    error = np.sqrt((inverse**2).sum(1) * variance)
    return Fit(value / scale, error / scale)


def assemble(
    target: Target, frame: int, variables: list[Piece], X: Values, genes: list[Piece], G: Values
) -> list[Piece]:
    """The laws that a program in its frame amounts to, simplest first.

    ``X`` (d, n) are the data, ``G`` (K, n) the values of the genes on the same points as ``target``.
    """
    logarithmic = frame in (POWER, EXPONENTIAL)
    inner = _power(target, frame, variables, X, genes, G) if logarithmic else _sum(target, genes, G)
    return [undo_transform(target.name, piece, target.negative) for piece in inner]


def _sum(target: Target, genes: list[Piece], G: Values) -> list[Piece]:
    """a + sum b_k g_k with the insignificant terms left out; with and without the intercept."""
    found = []
    for intercept in (False, True):
        active = list(range(len(genes)))
        while True:
            rows = [np.ones_like(target.t)] * intercept + [G[k] for k in active]
            if not rows:
                break
            columns = target.weight[:, None] * np.array(rows).T
            fit = least_squares(columns, target.weight * target.t)
            share = np.abs(fit.value) * np.linalg.norm(columns, axis=0) / np.linalg.norm(target.weight * target.t)
            weak = np.abs(fit.value) < 2.0 * fit.error
            tiny = share < 1e-10
            drop = [i for i in range(intercept, len(rows)) if weak[i] or tiny[i]]
            if drop and len(active) > 1:
                sureness = np.abs(fit.value) / np.maximum(fit.error, 1e-300)
                worst = min(drop, key=lambda i: float(sureness[i]))
                del active[worst - intercept]
                continue
            a = float(fit.value[0]) if intercept else None
            if a is not None and (tiny[0] or not active):
                break
            terms = [(float(b), genes[k]) for b, k in zip(fit.value[int(intercept) :], active, strict=True)]
            found.append(weighted_sum(a, terms))
            break
    return found


def _power(target: Target, frame: int, variables: list[Piece], X: Values, genes: list[Piece], G: Values) -> list[Piece]:
    """A prod x^p prod g^q, or A prod x^p exp(sum b g), with p and q rounded one after the other."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.abs(X))
        usable = [i for i in range(len(X)) if np.isfinite(logs[i]).all() and np.ptp(logs[i]) > 1e-12]
        inner = np.log(np.abs(G)) if frame == POWER else G
        inner = np.where(np.isfinite(inner), inner, 0.0)
    columns = np.concatenate([np.ones((1, X.shape[1])), logs[usable], inner]).T  # (n, 1 + k)
    n_rounded = len(usable) + (len(genes) if frame == POWER else 0)
    start = _logarithmic(columns, target)
    value, covariance = start if start is not None else (None, None)
    if value is None or covariance is None or np.abs(value[1 : n_rounded + 1]).max(initial=0.0) > MAX_EXPONENT + 1:
        return []
    measured = value.copy()
    whole = _round_exponents(value, covariance, n_rounded)
    factors = [(variables[i], whole[k]) for k, i in enumerate(usable) if whole[k] != 0]
    if frame == POWER:
        factors += [(gene, e) for gene, e in zip(genes, whole[len(usable) :], strict=True) if e != 0]
        known = columns[:, 1:] @ np.array([float(e) for e in whole])
        rounded = product(_scale(target, known, _sign(factors, variables, X, genes, G)), factors)
        bases = [(variables[i], X[i]) for i in usable] + list(zip(genes, G, strict=True))
        return [rounded, *_with_measured_powers(target, columns, measured, known, whole, bases)]
    known = columns[:, 1 : n_rounded + 1] @ np.array([float(e) for e in whole])
    rates = columns[:, n_rounded + 1 :]
    begin = np.concatenate([value[:1], value[n_rounded + 1 :]])
    fit = _refine(np.column_stack([np.ones(len(known)), rates]), known, begin, target)
    spread = np.std(G, axis=1)
    said = np.abs(fit.value[1:]) * spread > np.maximum(1e-9, 2.0 * fit.error[1:] * spread)
    if not said.all():  # say it again without the terms that the data do not ask for
        kept = [gene for gene, keep in zip(genes, said, strict=True) if keep]
        return _power(target, EXPONENTIAL if kept else POWER, variables, X, kept, G[said])
    tail = unary("exp", weighted_sum(None, zip(fit.value[1:].tolist(), genes, strict=True)))
    sign = _sign(factors, variables, X, [], G[:0])
    return [product(_scale(target, known + rates @ fit.value[1:], sign), [*factors, (tail, Fraction(1))])]


def _with_measured_powers(
    target: Target,
    columns: Values,
    value: Values,
    rounded: Values,
    whole: list[Fraction],
    bases: list[tuple[Piece, Values]],
) -> list[Piece]:
    """The product with its exponents ``value[1:]`` as measured, where the ``rounded`` one leaves more."""
    model = columns @ value
    weight = target.log_weight
    with np.errstate(divide="ignore"):
        log_t = np.where(weight > 0, np.log(np.abs(target.t)), 0.0)
    off = rounded - log_t
    left = [float(np.sum((weight * part) ** 2)) for part in (log_t - model, off - np.average(off, weights=weight**2))]
    kept = [(piece, e, float(q)) for (piece, _), e, q in zip(bases, whole, value[1:], strict=True) if abs(q) > 1e-6]
    saved = 0.5 * len(model) * np.log2(max(left[1], 1e-300) / max(left[0], 1e-300))
    if saved < WORTH or not kept or not all((row > 0).all() for _, row in bases):
        return []
    factors = [piece if q == float(e) else binary("pow", piece, number(q)) for piece, e, q in kept]
    scale = _scale(target, model - value[0], np.ones(len(model)))
    return [chain("mul", [number(scale), *factors]) or number(scale)]


def _logarithmic(columns: Values, target: Target) -> tuple[Values, Values] | None:
    """Coefficients of log|t| and their covariance, refined to the least squares of t itself; None if singular."""
    weight = target.log_weight
    with np.errstate(divide="ignore"):
        log_t = np.where(weight > 0, np.log(np.abs(target.t)), 0.0)
    first = _normal_equations(weight[:, None] * columns, weight * log_t)
    if first is None:
        return None
    best, value = first, first[0]
    error = np.inf
    for _ in range(REFINEMENTS):
        with np.errstate(over="ignore"):
            model = np.exp(np.clip(columns @ value, -300, 300))
        residual = target.weight * (np.abs(target.t) - model)
        now = float(np.mean(np.clip(residual, -1e100, 1e100) ** 2))
        if not now < error * (1 - 1e-6):
            break
        error = now
        step = _normal_equations((target.weight * np.minimum(model, 1e100))[:, None] * columns, residual)
        if step is None:
            break
        best = (value, step[1])
        if error < 1e-12 * float(np.mean((target.weight * target.t) ** 2)):  # exact: nothing to refine
            break
        value = value + np.clip(step[0], -2, 2)
    return best


def _normal_equations(A: Values, b: Values) -> tuple[Values, Values] | None:
    """Least squares by Cholesky: (coefficients, covariance); accurate enough to round exponents with."""
    scale = np.sqrt((A**2).sum(0))
    if not np.isfinite(scale).all() or (scale == 0).any():
        return None
    S = A / scale
    gram = S.T @ S + 1e-13 * np.eye(S.shape[1])
    try:
        inverse = np.linalg.inv(gram)
    except np.linalg.LinAlgError:
        return None
    value = inverse @ (S.T @ b)
    residual = b - S @ value
    variance = max(float(residual @ residual) / max(len(b) - len(value), 1), 1e-30 * float(b @ b) / len(b))
    return value / scale, inverse * variance / np.outer(scale, scale)


def _round_exponents(value: Values, covariance: Values, count: int) -> list[Fraction]:
    """Round coefficients 1 ... count, the surest first; the others follow as the fit says. ``value`` is changed."""
    rounded: dict[int, Fraction] = {}
    C = covariance.copy()
    while len(rounded) < count:
        proposals = []
        for j in range(1, count + 1):
            if j not in rounded:
                error = float(np.sqrt(max(C[j, j], 0.0)))
                e = nearest_exponent(float(value[j]), max(3 * error, 1e-5))
                proposals.append((abs(float(e) - float(value[j])) / max(error, 1e-6), j, e))
        _, j, e = min(proposals)
        if C[j, j] > 1e-300:
            value += C[:, j] / C[j, j] * (float(e) - value[j])
            C = C - np.outer(C[:, j], C[j]) / C[j, j]
        value[j] = float(e)
        rounded[j] = e
    return [rounded[j] for j in range(1, count + 1)]


def _scale(target: Target, log_model: Values, sign: Values) -> float:
    """The factor of least squared error in front of sign * exp(log_model)."""
    model = target.weight * sign * np.exp(np.clip(log_model, -300, 300))
    return float(np.clip((target.weight * target.t) @ model / max(float(model @ model), 1e-300), -1e100, 1e100))


def _sign(
    factors: list[tuple[Piece, Fraction]], variables: list[Piece], X: Values, genes: list[Piece], G: Values
) -> Values:
    """The sign of a product of powers at every point, (n,); roots and even powers have none."""
    values = {id(piece): row for piece, row in zip([*variables, *genes], [*X, *G], strict=True)}
    sign = np.ones(X.shape[1])
    for piece, e in factors:
        if e.numerator % 2 and e.denominator % 2:
            sign = sign * np.sign(values[id(piece)])
    return sign


def _refine(columns: Values, known: Values, start: Values, target: Target) -> Fit:
    """Gauss-Newton on t for the coefficients that are not rounded."""
    theta = start.copy()
    best = np.inf
    result = Fit(theta, np.full(len(theta), np.inf))
    for _ in range(REFINEMENTS):
        model = np.exp(np.clip(columns @ theta + known, -300, 300))
        residual = target.weight * (np.abs(target.t) - model)
        value = float(np.mean(np.clip(residual, -1e100, 1e100) ** 2))
        if not value < best:
            break
        best = value
        step = least_squares((target.weight * model)[:, None] * columns, residual)
        result = Fit(theta.copy(), step.error)
        theta = theta + np.clip(step.value, -2, 2)
    return result
