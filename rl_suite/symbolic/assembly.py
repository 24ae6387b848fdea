"""From a program in its frame to a finished law: fit the frame, round its exponents, write it out."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.frames import EXPONENTIAL, POWER, Target
from rl_suite.symbolic.numbers import nearest_exponent
from rl_suite.symbolic.pieces import Piece, product, unary, undo_transform, weighted_sum

Values = NDArray[np.float64]
MAX_EXPONENT = 9
REFINEMENTS = 6  # Gauss-Newton steps


@dataclass(frozen=True)
class Fit:
    """Least-squares coefficients (k,) with their standard errors (k,)."""

    value: Values
    error: Values


def least_squares(columns: Values, target: Values) -> Fit:
    """Coefficients of ``columns`` (n, k) for ``target`` (n,); dependent columns get 0."""
    scale = np.linalg.norm(columns, axis=0)
    scale[scale == 0] = 1.0
    U, s, Vt = np.linalg.svd(columns / scale, full_matrices=False)
    keep = s > 1e-11 * s[0]
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
    features = np.concatenate([logs[usable], inner]).T  # (n, k)
    n_rounded = len(usable) + (len(genes) if frame == POWER else 0)
    weight = target.log_weight
    with np.errstate(divide="ignore"):
        log_t = np.where(weight > 0, np.log(np.abs(target.t)), 0.0)
    ones = np.ones(len(log_t))
    fixed: dict[int, Fraction] = {}
    while True:
        free = [k for k in range(features.shape[1]) if k not in fixed]
        known = sum((float(e) * features[:, k] for k, e in fixed.items()), np.zeros(len(log_t)))
        columns = np.column_stack([ones, features[:, free]])
        fit = least_squares(weight[:, None] * columns, weight * (log_t - known))
        theta = _refine(columns, known, fit, target)
        to_round = [j for j, k in enumerate(free) if k < n_rounded]
        if not to_round:
            break
        proposals = []
        for j in to_round:
            value, error = float(theta.value[j + 1]), float(theta.error[j + 1])
            if abs(value) > MAX_EXPONENT + 1:
                return []
            e = nearest_exponent(value, max(3 * error, 1e-7))
            proposals.append((abs(float(e) - value) / max(error, 1e-7), j, e))
        # All that are clear at once, else the clearest one; then fit the others again.
        clear = [p for p in proposals if p[0] < 1.0] or [min(proposals)]
        for _, j, e in clear:
            fixed[free[j]] = e
    scale = float(np.exp(np.clip(theta.value[0], -300, 300)))
    factors = [(variables[i], fixed[k]) for k, i in enumerate(usable) if fixed[k] != 0]
    if frame == POWER:
        factors += [(gene, fixed[len(usable) + k]) for k, gene in enumerate(genes) if fixed[len(usable) + k] != 0]
        results = [product(s * scale, factors) for s in _signs(target, factors, variables, X, genes, G)]
        return results
    said = np.abs(theta.value[1:]) * np.std(G, axis=1) > np.maximum(1e-9, 2.0 * theta.error[1:] * np.std(G, axis=1))
    if not said.all():  # say it again without the terms that the data do not ask for
        kept = [gene for gene, keep in zip(genes, said, strict=True) if keep]
        return _power(target, frame, variables, X, kept, G[said])
    terms = [(float(b), gene) for b, gene in zip(theta.value[1:], genes, strict=True)]
    if not terms:
        return [product(s * scale, factors) for s in _signs(target, factors, variables, X, genes, G)]
    tail = unary("exp", weighted_sum(None, terms))
    sign = 1.0 if np.median(target.t) > 0 else -1.0
    return [product(sign * scale, [*factors, (tail, Fraction(1))])]


def _signs(
    target: Target,
    factors: list[tuple[Piece, Fraction]],
    variables: list[Piece],
    X: Values,
    genes: list[Piece],
    G: Values,
) -> list[float]:
    """The sign of the scale that agrees with most of the data."""
    values = {id(piece): row for piece, row in zip(variables, X, strict=True)}
    values |= {id(piece): row for piece, row in zip(genes, G, strict=True)}
    sign = np.ones(X.shape[1])
    for piece, e in factors:
        if e.numerator % 2 and e.denominator % 2:
            sign = sign * np.sign(values[id(piece)])
    return [1.0 if np.sum(sign * target.t * target.weight) >= 0 else -1.0]


def _refine(columns: Values, known: Values, fit: Fit, target: Target) -> Fit:
    """Gauss-Newton from the logarithmic fit to the least squares of t itself, which noise does not bias."""
    theta, error = fit.value.copy(), fit.error
    observed = np.abs(target.t)
    best = np.inf
    result = fit
    for _ in range(REFINEMENTS):
        model = np.exp(np.clip(columns @ theta + known, -300, 300))
        residual = target.weight * (observed - model)
        value = float(residual @ residual)
        if not np.isfinite(value) or value >= best:
            break
        best = value
        result = Fit(theta.copy(), error)
        step = least_squares((target.weight * model)[:, None] * columns, residual)
        theta = theta + np.clip(step.value, -2, 2)
        error = step.error
    return result
