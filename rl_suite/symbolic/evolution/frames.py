"""Frames: what a program may be embedded in without being searched for.

Keijzer (2003) gives every program f a free slope and intercept, y = a + b f, because a search should not
waste itself on finding constants. Physical laws have more such frames. A program is cut at its top-level
sum or product into genes g_1 ... g_K, and three linear least-squares problems decide what it is worth:

* sum:          t = a + sum_k b_k g_k
* power:        log|t| = a + sum_i p_i log|x_i| + sum_k q_k log|g_k|
* exponential:  log|t| = a + sum_i p_i log|x_i| + sum_k b_k g_k

so that a power law is found by its first program, and m/sqrt(1 - v^2/c^2) by the program c*c - v*v.
The target t is y or a transformed y (its square, inverse, exponential, sine); residuals are weighted by
|dy/dt|, so that all errors are errors of y, relative to its variance, to first order.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.copying import copy_row
from envs.symbolic.fastmath import log_poly
from envs.symbolic.tokens import ADD, CONSTANT, DIV, MUL, SUB
from envs.symbolic.unit_algebra import program_unit
from rl_suite.symbolic.evolution.genome import Dimensions, Programs, Symbols, Tokens, Values, subtree_end

MAX_GENES = 8
SUM, POWER, EXPONENTIAL = 0, 1, 2
SINGLE, ADDITIVE, MULTIPLICATIVE = 0, 1, 2
TINY = 1e-9  # a gene whose part outside the others' span is smaller says nothing new
FLOOR = 1e-32


@dataclass(frozen=True)
class Target:
    """A transformed target with what the three frames need; see :func:`make_target`."""

    name: str
    t: Values  # (n,)
    weight: Values  # (n,) |dy/dt|
    log_weight: Values  # (n,) weight * |t|; 0 where log|t| does not exist
    power_basis: Values  # (d + 1, n) orthonormal: 1 and log|x_i|, weighted
    power_residual: Values  # (n,) of log|t| after the basis
    sum_residual: Values  # (n,) of t after the intercept
    ones: Values  # (n,) the weighted, normalised intercept
    total: float  # sum of squares of y around its mean
    power_allowed: bool
    negative: bool  # y < 0 everywhere: the square root to take is the negative one
    scaled: bool = False  # t is a transform of y / scale, a pure number

    def rows(self) -> "Rows":
        """What the kernel needs of it."""
        return Rows(
            self.weight, self.log_weight, self.power_basis, self.power_residual, self.sum_residual, self.ones,
            self.weight * self.t, self.total,
        )  # fmt: skip


class Rows(NamedTuple):
    """A target for the kernel; the fields are those of :class:`Target`."""

    weight: Values
    log_weight: Values
    power_basis: Values
    power_residual: Values
    sum_residual: Values
    ones: Values
    weighted: Values  # (n,) weight * t
    total: float


class Genes(NamedTuple):
    """Programs cut at their top-level sums or products; those of program p are first[p] .. first[p + 1] - 1."""

    tokens: Tokens  # (G, L)
    constants: Values  # (G, L) one after the other
    lengths: NDArray[np.int64]  # (G,)
    sign: Values  # (G,) the program is the sum of sign * gene, or the product of gene ** sign
    first: NDArray[np.int64]  # (P + 1,)
    kind: NDArray[np.int64]  # (P,) SINGLE, ADDITIVE or MULTIPLICATIVE: at what it was cut


def room_for_genes(count: int, max_length: int) -> Genes:
    """Memory for the genes of ``count`` programs."""
    n = count * MAX_GENES
    return Genes(
        tokens=np.zeros((n, max_length), np.int16),
        constants=np.ones((n, max_length)),
        lengths=np.zeros(n, np.int64),
        sign=np.ones(n),
        first=np.zeros(count + 1, np.int64),
        kind=np.zeros(count, np.int64),
    )


TRANSFORMS = ("identity", "square", "inverse", "exp", "sin")


def transform(name: str, y: Values) -> tuple[Values, Values] | None:
    """(t, |dy/dt|) of a transformed target; None where the transform loses information or overflows."""
    if name == "identity":
        return y, np.ones_like(y)
    if name == "square":
        return (y**2, 0.5 / np.abs(y)) if y.min() * y.max() > 0 else None
    if name == "inverse":
        return (1 / y, y**2) if y.min() * y.max() > 0 else None
    if name == "exp":
        return (np.exp(y), np.exp(-y)) if np.abs(y).max() < 20 else None
    if name == "sin":
        cosine = np.cos(y)
        return (np.sin(y), 1 / cosine) if np.abs(y).max() < np.pi / 2 - 1e-3 else None
    raise ValueError(f"unknown transform {name!r}; known: {', '.join(TRANSFORMS)}")


def orthonormal(columns: list[Values]) -> Values:
    """Gram-Schmidt, twice for accuracy, leaving out dependent columns; (k, n)."""
    basis: list[Values] = []
    for column in columns:
        v = column.copy()
        for _ in range(2):
            for q in basis:
                v = v - (q @ v) * q
        norm = np.linalg.norm(v)
        if norm > TINY * np.linalg.norm(column):
            basis.append(v / norm)
    return np.array(basis).reshape(len(basis), len(columns[0]))


@np.errstate(over="ignore", invalid="ignore")  # a target that is no number is refused
def make_target(
    name: str, X: Values, y: Values, scale: Values | None = None, weights: Values | None = None
) -> Target | None:
    """Prepare one transformed target for data X (d, n), y (n,); None if the transform is not usable.

    With a ``scale`` (n,), y / scale is transformed; errors stay errors of y. ``weights`` (n,) of the rows count
    squared errors.
    """
    size = np.ones_like(y) if scale is None else scale
    pair = transform(name, y / size)
    if pair is None or not (np.isfinite(pair[0]).all() and np.isfinite(pair[1]).all()):
        return None
    root = np.ones_like(y) if weights is None else np.sqrt(weights / weights.mean())
    t, weight = pair[0], pair[1] * np.abs(size) * root
    with np.errstate(divide="ignore"):
        log_t = np.log(np.abs(t))
        log_x = np.log(np.abs(X))  # (d, n)
    log_weight = weight * np.abs(t)
    log_weight[~np.isfinite(log_t)] = 0.0
    log_t = np.where(np.isfinite(log_t), log_t, 0.0)
    usable = [row for row in log_x if np.isfinite(row).all() and np.ptp(row) > 1e-12]
    allowed = bool((log_weight > 0).mean() > 0.9)
    basis = orthonormal([log_weight, *(log_weight * row for row in usable)]) if allowed else np.zeros((0, len(y)))
    size_of_weights = float(np.linalg.norm(weight))
    if not 0 < size_of_weights < np.inf:
        return None
    ones = weight / size_of_weights
    power = log_weight * log_t
    for _ in range(2):
        power = power - basis.T @ (basis @ power)
    sums = weight * t
    for _ in range(2):
        sums = sums - (ones @ sums) * ones
    total = float(((root * (y - np.average(y, weights=root**2))) ** 2).sum())
    negative = bool((y / size).max() < 0)
    total = max(total, 1e-300)
    return Target(name, t, weight, log_weight, basis, power, sums, ones, total, allowed, negative, scale is not None)


@kernel()
def cut_genes(programs: Programs, symbols: Symbols, genes: Genes) -> int:
    """Cut programs at their top-level sums or products; return the number of genes."""
    tokens, arity, opcode = programs.tokens, symbols.arity, symbols.opcode
    first, kind = genes.first, genes.kind
    n_genes = 0
    pending = np.empty(2 * MAX_GENES + 2, np.int64)
    signs = np.empty(2 * MAX_GENES + 2)
    for p in range(len(programs.lengths)):
        first[p] = n_genes
        root = opcode[tokens[p, 0]]
        kind[p] = ADDITIVE if root in (ADD, SUB) else (MULTIPLICATIVE if root in (MUL, DIV) else SINGLE)
        top = 1
        pending[0] = 0
        signs[0] = 1.0
        while top > 0:
            top -= 1
            start = pending[top]
            code = opcode[tokens[p, start]]
            split = (kind[p] == ADDITIVE and code in (ADD, SUB)) or (kind[p] == MULTIPLICATIVE and code in (MUL, DIV))
            if split and n_genes - first[p] + top + 2 <= MAX_GENES:
                pending[top] = subtree_end(tokens[p], start + 1, arity)
                pending[top + 1] = start + 1
                signs[top + 1] = signs[top]
                signs[top] = -signs[top] if code in (SUB, DIV) else signs[top]
                top += 2
                continue
            genes.sign[n_genes] = signs[top]
            end = subtree_end(tokens[p], start, arity)
            n_constants = 0
            for i in range(start, end):
                genes.tokens[n_genes, i - start] = tokens[p, i]
                if opcode[tokens[p, i]] == CONSTANT:
                    genes.constants[n_genes, n_constants] = programs.values[p, i]
                    n_constants += 1
            genes.lengths[n_genes] = end - start
            n_genes += 1
    first[len(programs.lengths)] = n_genes
    return n_genes


@kernel(allocates=False, fastmath={"reassoc", "contract", "nsz"})
def _reduce(v: Values, residual: Values, basis: Values, n_basis: int) -> bool:
    """Take ``v`` out of ``residual`` after orthogonalising it; append it to ``basis``. False if it is dependent."""
    n = len(v)
    before = 0.0
    for i in range(n):
        before += v[i] * v[i]
    if not before < 1e200:
        return False
    norm = before
    for _ in range(2):
        for k in range(n_basis):
            q = basis[k]
            dot = 0.0
            for i in range(n):
                dot += q[i] * v[i]
            for i in range(n):
                v[i] -= dot * q[i]
        norm = 0.0
        for i in range(n):
            norm += v[i] * v[i]
        if norm > 0.01 * before:  # little was cancelled: one pass is accurate
            break
    if not norm > TINY * TINY * before:
        return False
    scale = 1.0 / np.sqrt(norm)
    dot = 0.0
    for i in range(n):
        v[i] *= scale
        dot += v[i] * residual[i]
    for i in range(n):
        residual[i] -= dot * v[i]
        basis[n_basis, i] = v[i]
    return True


@kernel(allocates=False, fastmath={"reassoc", "contract", "nsz"})
def _square_sum(v: Values) -> float:
    total = 0.0
    for i in range(len(v)):
        total += v[i] * v[i]
    return total


@kernel(allocates=False, error_model="numpy")
def _combine(G: Values, start: int, end: int, sign: Values, additive: bool, out: Values) -> None:
    """The value of a whole program from its genes."""
    out[:] = 0.0 if additive else 1.0
    for g in range(start, end):
        for i in range(len(out)):
            if additive:
                out[i] += sign[g] * G[g, i]
            elif sign[g] > 0:
                out[i] *= G[g, i]
            else:
                out[i] /= G[g, i]


@kernel(allocates=False)
def _is_finite(G: Values, start: int, end: int) -> bool:
    """Whether all values of some genes are numbers of a reasonable size."""
    for g in range(start, end):
        for i in range(G.shape[1]):
            if not abs(G[g, i]) < 1e100:
                return False
    return True


@kernel(allocates=False)
def _begin(frame: int, target: Rows, intercept: bool, residual: Values, basis: Values) -> int:
    """Write what a frame leaves of the target before the first gene, and its basis; the rows of the basis."""
    if frame != SUM:
        n_power: int = target.power_basis.shape[0]
        copy_row(target.power_residual, residual, len(residual))
        for i in range(n_power):
            copy_row(target.power_basis[i], basis[i], len(residual))
        return n_power
    if intercept:
        copy_row(target.sum_residual, residual, len(residual))
        copy_row(target.ones, basis[0], len(residual))
        return 1
    copy_row(target.weighted, residual, len(residual))
    return 0


@kernel(allocates=False)
def _weigh(frame: int, weight: Values, log_weight: Values, column: Values, out: Values) -> None:
    """The column of a gene in a frame's least-squares problem."""
    if frame == SUM:
        for i in range(len(out)):
            out[i] = weight[i] * column[i]
    elif frame == EXPONENTIAL:
        for i in range(len(out)):
            out[i] = log_weight[i] * column[i]
    else:
        for i in range(len(out)):
            size = abs(column[i])
            out[i] = log_weight[i] * log_poly(size) if size > 1e-300 else 0.0


@kernel()
def score_frames(
    G: Values,
    genes: Genes,
    count: int,
    allowed: NDArray[np.bool_],
    split: bool,
    intercept: bool,
    target: Rows,
    error: Values,
) -> None:
    """Weighted NMSE of each program in each frame, (P, 3), from its genes' values G (genes, n).

    ``allowed`` (P, 3) says which frames its units permit; the NMSE is corrected for the frame's
    degrees of freedom. Programs that are not finite everywhere get infinity.
    """
    n = G.shape[1]
    basis = np.empty((target.power_basis.shape[0] + MAX_GENES + 1, n))
    v, residual, together = np.empty(n), np.empty(n), np.empty(n)
    for p in range(count):
        start, end, kind = genes.first[p], genes.first[p + 1], genes.kind[p]
        error[p] = np.inf
        if not _is_finite(G, start, end):
            continue
        for f in range(3):
            if not allowed[p, f]:
                continue
            k = _begin(f, target, intercept, residual, basis)
            whole = kind != SINGLE and (not split or (kind == ADDITIVE) == (f == POWER))
            for g in range(start, start + 1 if whole else end):
                column = G[g]
                if whole:  # a sum as one factor, or a product as one term
                    _combine(G, start, end, genes.sign, kind == ADDITIVE, together)
                    column = together
                _weigh(f, target.weight, target.log_weight, column, v)
                if _reduce(v, residual, basis, k):
                    k += 1
            if k >= n - 1:
                continue
            error[p, f] = _square_sum(residual) / target.total * (n - 1) / (n - k)


def best_frames(errors: Values) -> tuple[Values, NDArray[np.int64]]:
    """Least error (P,) of the frames' errors (P, 3), and its frame; a sum is preferred to what is hardly better."""
    error, frame = errors[:, SUM].copy(), np.full(len(errors), SUM)
    for f in (POWER, EXPONENTIAL):
        better = errors[:, f] < 0.98 * error
        error[better], frame[better] = errors[better, f], f
    return error, frame


@kernel()
def allowed_frames(
    genes: Genes,
    count: int,
    opcode: NDArray[np.int64],
    dimensions: Dimensions,
    target_unit: NDArray[np.int64],
    allowed: NDArray[np.bool_],
) -> None:
    """Which frames the units of the genes permit, (P, 3): sums need the target's unit, exponents pure numbers."""
    units, wild_constants = dimensions.units, dimensions.wild_constants
    unit = np.zeros(units.shape[1], np.int64)
    for p in range(count):
        allowed[p] = True
        for g in range(genes.first[p], genes.first[p + 1]):
            known = program_unit(genes.tokens[g], genes.lengths[g], opcode, units, wild_constants, unit)
            for k in range(len(unit)):
                if known == 1 and unit[k] != target_unit[k]:
                    allowed[p, SUM] = False
                if known == 1 and unit[k] != 0:
                    allowed[p, EXPONENTIAL] = False
