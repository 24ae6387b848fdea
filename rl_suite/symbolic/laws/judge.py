"""Has a law been recovered? Symbolic equivalence, held-out error and extrapolation, all three.

A small error in the domain alone is fooled: log(r)/r^2 passes for 1/r^2 where the target is heavy-tailed.

Equivalence is decided on sympy objects that are built from tokens. The measured constants of the candidate
are first allowed to take the values that noise-free data give them (and must already be near them, within
what the noise permits); those values are recognised as exact numbers where they are such; then candidate and
truth must be one expression to sympy, or agree to 40 digits at random points inside and far outside the
domain, as an identity of elementary functions must.
"""

import math
import threading
import time
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import sympy
from numpy.typing import NDArray

from envs.symbolic.benchmarks import WIDE, Problem
from envs.symbolic.tokens import Library
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.numbers import Exact, simplest
from rl_suite.symbolic.laws.pieces import from_program
from rl_suite.symbolic.laws.polish import Polisher

Values = NDArray[np.float64]
PLAIN = (Exact(Fraction(0)), Exact(Fraction(1)), Exact(Fraction(-1)))  # what a constant that is not needed may be
DIGITS = 40
AGREEMENT = 1e-30  # relative difference of two evaluations at DIGITS digits
POINTS = 12
EXACT = 1e-9  # held-out NMSE of a law that was found from data without noise
STRETCH = 1.5  # ranges of the extrapolation test, around their middle
CONSTANT_TOLERANCE = 1e-6  # relative, of measured constants, from data without noise
ROUNDING = 1e-18  # of the variance: what constants change by less, arithmetic in double precision may have done
FAR_STRETCH, SAME_VALUE, MOST_ROWS = 2.0, 1e-10, 0.99  # of values that are compared; differences cancel in a few rows
NOISY_TOLERANCE = 0.2  # the same with noise; the limit of the held-out error is the stricter one


@dataclass(frozen=True)
class Verdict:
    """What the judge found; ``recovered`` needs all three."""

    symbolic: bool
    held_out: float
    extrapolation: float
    limit: float
    reason: str

    @property
    def recovered(self) -> bool:
        """Symbolically equivalent, and both errors under the limit."""
        return self.symbolic and self.held_out < self.limit and self.extrapolation < 10 * self.limit


def law_of(problem: Problem) -> Law:
    """The truth of a problem as a law."""
    expression = problem.expression()
    piece = from_program(expression.program, expression.constants.tolist(), problem.library)
    numbers = tuple(
        (value, exact if exact is not None else simplest(value, 1e-12 * abs(value), with_pi=False))
        for value, exact in piece.numbers
    )
    return replace(piece, numbers=numbers).law(Library("full", problem.variables, constant=True))


def judge(law: Law, problem: Problem, noise: float = 0.0, seed: int = 0, time_limit: float = 10.0) -> Verdict:
    """Compare a law with the truth of a problem.

    Args:
        law: what was found.
        problem: what should have been found.
        noise: level of the noise in the training data; the errors are measured without noise, and their
            limit is a tenth of the noise's share of the variance.
        seed: of the held-out points.
        time_limit: seconds for the symbolic part; what is undecided by then is not recovered.
    """
    rng = np.random.default_rng(seed)
    X, y = problem.draw(rng, 1000)
    held_out = relative_error(law, X, y)
    try:
        far = relative_error(law, *problem.draw(rng, 1000, STRETCH))
    except ValueError:  # the truth itself ends at the border of its domain
        far = held_out
    scale = float(np.mean(y**2) / np.var(y)) if np.var(y) > 0 else 1.0
    limit = max(EXACT, 0.1 * noise**2 * scale)
    if not held_out < max(limit, 1e-3):
        return Verdict(False, held_out, far, limit, "the error on held-out data is too large")
    if problem.group == WIDE:  # its constants of nature are no numbers to recognise
        symbolic, reason = same_values(law, problem, noise > 0, rng)
    else:
        symbolic, reason = equivalent(law, law_of(problem), X, y, noise > 0, time_limit)
    return Verdict(symbolic, held_out, far, limit, reason)


def relative_error(law: Law, X: Values, y: Values) -> float:
    """Mean squared error over the variance of the truth; infinite where the law is not finite."""
    with np.errstate(over="ignore"):
        value = float(np.mean((law.predict(X) - y) ** 2) / max(float(np.var(y)), 1e-300))
    return value if math.isfinite(value) else math.inf


def equivalent(law: Law, truth: Law, X: Values, y: Values, noisy: bool, time_limit: float = 10.0) -> tuple[bool, str]:
    """Whether a law is the truth, and why (not); X (n, d) and y (n,) are the truth without noise."""
    exact, reason = settle_constants(law, X, y, noisy)
    if exact is None:
        return False, reason
    decided: list[bool] = []
    worker = threading.Thread(target=lambda: decided.append(identical(exact, truth, X, time_limit)), daemon=True)
    worker.start()
    worker.join(time_limit)
    if not decided:
        return False, f"undecided after {time_limit:g} s"
    return decided[0], "equivalent" if decided[0] else "another expression"


def same_values(law: Law, problem: Problem, noisy: bool, rng: np.random.Generator) -> tuple[bool, str]:
    """Whether a law, its measured constants settled, has the truth's values to ten digits far outside the ranges.

    For laws with constants of nature, which are measured numbers: sympy cannot compare these.
    """
    X, y = problem.draw(rng, 1000)
    settled, reason = settle_constants(law, X, y, noisy, recognise=False)
    if settled is None:
        return False, reason
    try:
        far, expected = problem.draw(rng, 1000, FAR_STRETCH)
    except ValueError:  # the truth itself ends at the border of its domain
        far, expected = X, y
    off = np.abs(settled.predict(far) - expected) / np.maximum(np.abs(expected), ROUNDING * np.abs(expected).max())
    agreed = float(np.mean(off < SAME_VALUE))
    return agreed > MOST_ROWS, "the same values" if agreed > MOST_ROWS else "other values outside the ranges"


def settle_constants(law: Law, X: Values, y: Values, noisy: bool, recognise: bool = True) -> tuple[Law | None, str]:
    """The law with its measured constants at the exact numbers that the truth gives them, or as the fit has them.

    None if no constants make the law exact, or if the measured ones are not near those that do. Where numbers are not
    to be recognised, relative errors are fitted: over decades, the rounding of the largest row is all that counts.
    """
    with np.errstate(over="ignore", divide="ignore"):
        relative = 1 / y**2
    polisher = Polisher(X, y, weights=None if recognise or not np.isfinite(relative).all() else relative)
    # Numbers recognised through noise were a guess unless they are as plain as 2 or 1/2.
    loose = replace(law, exact=tuple(e if e is not None and not (noisy and e.bits > 5) else None for e in law.exact))
    fitted = polisher.fit(loose)[0][0] if loose.n_free else loose
    if polisher.nmse(fitted) > 1e-16:
        return None, "no constants make this expression the law"
    tolerance = NOISY_TOLERANCE if noisy else CONSTANT_TOLERANCE
    for i, (value, measured) in enumerate(zip(fitted.constants, law.constants, strict=True)):
        near = abs(value - measured) <= tolerance * abs(value)
        if not (near or _is_rounding(polisher, fitted, i, float(measured))):
            return None, f"constant {measured:.6g} should be {value:.6g}"
    if not recognise:
        return fitted, ""
    known = tuple(
        e if e is not None else simplest(float(value), max(1e-9 * abs(float(value)), 1e-13))
        for value, e in zip(fitted.constants, fitted.exact, strict=True)
    )
    numbers = [exact for exact in known if exact is not None]
    if len(numbers) == len(known):
        return replace(fitted, constants=np.array([float(exact) for exact in numbers]), exact=known), ""
    # Constants that only matter together settle one by one.
    free = replace(fitted, exact=(None,) * len(known))
    together = polisher.finish(_without_redundancy(polisher, free)).law
    if together.n_free == 0 and polisher.nmse(together) < 1e-16:
        return together, ""
    return None, f"constant {fitted.constants[known.index(None)]:.9g} is no recognisable number"


def _without_redundancy(polisher: Polisher, law: Law) -> Law:
    """An exact law with all constants at 0, 1 or -1 that the others can make up for: exp(1)*exp(x - 1), a*sqrt(b*x)."""
    for i in range(len(law.constants)):
        for number in PLAIN:
            if law.exact[i] is None:
                constants, exact = law.constants.copy(), list(law.exact)
                constants[i], exact[i] = float(number), number
                trial = polisher.fit(replace(law, constants=constants, exact=tuple(exact)))[0][0]
                law = trial if polisher.nmse(trial) < ROUNDING else law
    return law


def _is_rounding(polisher: Polisher, law: Law, i: int, value: float) -> bool:
    """Whether constant i of an exact law may as well have another value: 1e-16 and 0 as an offset."""
    constants = law.constants.copy()
    constants[i] = value
    return polisher.nmse(replace(law, constants=constants)) < ROUNDING


def identical(law: Law, truth: Law, X: Values, time_limit: float) -> bool:
    """Whether two exact laws are one expression to sympy, or agree to many digits at random points."""
    deadline = time.monotonic() + time_limit
    positive = bool((X > 0).all())
    signs = dict.fromkeys(law.library.variables, "positive") if positive else {}
    a, b = law.sympy(signs), truth.sympy(signs)
    if a == b or sympy.expand(a - b) == 0:
        return True
    rng = np.random.default_rng(0)
    low, high = X.min(0), X.max(0)
    agreed = tried = 0
    while agreed < POINTS and tried < 10 * POINTS and time.monotonic() < deadline:
        stretch = 1.0 if tried % 2 else 4.0
        point = (low + high) / 2 + (rng.random(len(low)) - 0.5) * (high - low) * stretch
        if positive:
            point = np.abs(point)
        tried += 1
        # Decimal numbers of many digits: powers of exact fractions would be factorised, which can take for ever.
        exact = [sympy.Float(str(round(float(v), 6)), 2 * DIGITS) for v in point]
        if not (np.isfinite(law.predict(point[None])) and np.isfinite(truth.predict(point[None]))).all():
            continue
        left = _at(a, law.library.variables, exact, positive)
        right = _at(b, law.library.variables, exact, positive)
        if left is None or right is None:
            continue
        if abs(left - right) > AGREEMENT * (abs(right) + sympy.Float("1e-20", DIGITS)):
            return False
        agreed += 1
    return agreed >= POINTS


def _at(expression: sympy.Expr, names: tuple[str, ...], point: list[sympy.Expr], positive: bool) -> sympy.Expr | None:
    """A real value to DIGITS digits, or None where the expression is not real and finite."""
    symbols = [sympy.Symbol(name, real=True, positive=True if positive else None) for name in names]
    value = expression.xreplace(dict(zip(symbols, point, strict=True))).evalf(DIGITS)
    return value if value.is_Float or value.is_Rational else None
