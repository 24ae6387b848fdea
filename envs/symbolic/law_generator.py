"""Random laws that look like physics: forms, then numbers, ranges and data, as many as a network wants to see.

A form is drawn from a small grammar of how laws are put together: products of powers, sums of few terms,
quotients, a function of a product, a root of a sum, each column used once or, sometimes, twice. Forms that
a :class:`FormIndex` holds are never given out, so that laws kept for a test stay unseen under every name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.form_programs import FormIndex, compact
from envs.symbolic.law_forms import HALF, ONE, WHOLE, Form, columns_of, encode, product, total
from envs.symbolic.tokens import PAD

Programs = NDArray[np.int16]
Lengths = NDArray[np.int64]
T = TypeVar("T")

MAX_TOKENS = 32  # of a form that is given out
# Shares of the grammar, chosen by how laws of textbooks look; they belong to this generator.
COLUMNS_USED = (0.04, 0.20, 0.28, 0.22, 0.13, 0.08, 0.05)  # 1, 2, ... columns
EXPONENTS: tuple[tuple[int, float], ...] = (
    (WHOLE, 0.54), (-WHOLE, 0.24), (2 * WHOLE, 0.10), (-2 * WHOLE, 0.05), (3 * WHOLE, 0.02), (HALF, 0.025),
    (-HALF, 0.015), (-3 * WHOLE, 0.005), (4 * WHOLE, 0.005),
)  # fmt: skip
SIMPLE_EXPONENTS = ((WHOLE, 0.58), (-WHOLE, 0.27), (2 * WHOLE, 0.15))  # in arguments and sums
SUM_EXPONENTS = ((-WHOLE, 0.40), (HALF, 0.20), (-HALF, 0.12), (2 * WHOLE, 0.14), (-2 * WHOLE, 0.08), (WHOLE, 0.06))
FUNCTION_SHARES = (("exp", 0.32), ("sin", 0.19), ("cos", 0.21), ("log", 0.14), ("tanh", 0.10), ("asin", 0.04))
SHARED = 0.18  # of the cuts in two, a column is on both sides


class FormSampler:
    """Draws forms; reproducible for a seed.

    Args:
        seed: of every choice.
        excluded: forms that are not given out, under no renaming.

    >>> forms = FormSampler(seed=0).sample(3)
    >>> len(forms), all(1 <= len(columns_of(form)) <= 10 for form in forms)
    (3, True)
    """

    def __init__(self, seed: int, excluded: FormIndex | None = None):
        self._rng = np.random.default_rng(seed)
        self._excluded = excluded
        self._pool: list[float] = []
        self._known: dict[Form, bool] = {}

    def begin(self, rng: np.random.Generator) -> None:
        """Draw from ``rng`` from now on."""
        self._rng, self._pool = rng, []

    def sample(self, n: int) -> list[Form]:
        """n forms over columns 0 .. m - 1, repeated as often as they come up."""
        chosen: list[Form] = []
        while len(chosen) < n:
            attempts = [self._form() for _ in range(n - len(chosen))]
            drafts = [compact(form) for form in attempts if form is not None]
            new = list(dict.fromkeys(form for form in drafts if form not in self._known))
            if new:
                barred = self._excluded.contains(new) if self._excluded is not None else np.zeros(len(new), bool)
                self._known.update(zip(new, (~barred).tolist(), strict=True))
            chosen += [form for form in drafts if self._known[form]]
        return chosen

    def _uniform(self) -> float:
        if not self._pool:
            self._pool = self._rng.random(8192).tolist()
        return self._pool.pop()

    def _pick(self, shares: Sequence[tuple[T, float]]) -> T:
        u = self._uniform() * sum(share for _, share in shares)
        for value, share in shares:
            u -= share
            if u < 0:
                return value
        return shares[-1][0]

    def _form(self) -> Form | None:
        """One draft; None where it is too long, cancels out or uses no column."""
        m = 1 + self._pick(list(enumerate(COLUMNS_USED)))
        try:
            form = self._law(list(range(m)), 0)
            used = len(columns_of(form))
            return form if used and len(encode(form)) <= MAX_TOKENS and not _is_linear(form) else None
        except ValueError:
            return None

    def _cut(self, columns: list[int]) -> tuple[list[int], list[int]]:
        """Two parts, neither empty; one column may be in both."""
        k = 1 + int(self._uniform() * (len(columns) - 1))
        left, right = columns[:k], columns[k:]
        if self._uniform() < SHARED:
            right = [*right, left[int(self._uniform() * k)]]
        return left, right

    def _law(self, columns: list[int], depth: int) -> Form:
        u = self._uniform()
        if len(columns) == 1 or depth > 2:
            return self._inner(columns, depth) if u < 0.5 else self._monomial(columns)
        if u < 0.14:
            return self._monomial(columns)
        left, right = self._cut(columns)
        if u < 0.56:
            return product([(self._monomial(left), WHOLE), (self._inner(right, depth), self._sign())])
        if u < 0.72:
            return self._inner(columns, depth)
        if u < 0.79:
            return total([self._law(left, depth + 1), self._law(right, depth + 1)])
        if u < 0.84:
            return self._alike(columns)
        if u < 0.94:
            return product([(self._inner(left, depth), WHOLE), (self._inner(right, depth), -WHOLE)])
        return product([(self._inner(left, depth), WHOLE), (self._inner(right, depth), WHOLE)])

    def _sign(self) -> int:
        return WHOLE if self._uniform() < 0.8 else -WHOLE

    def _monomial(self, columns: list[int], simple: bool = False) -> Form:
        u = self._uniform()
        powers = [(("x", c), self._pick(SIMPLE_EXPONENTS if simple else EXPONENTS)) for c in columns]
        whole = WHOLE if u < 0.9 else HALF if u < 0.97 else 2 * WHOLE
        if whole == HALF:
            powers = [(column, WHOLE * (exponent // abs(exponent))) for column, exponent in powers]
        return product([(product(powers), whole)])

    def _inner(self, columns: list[int], depth: int) -> Form:
        """What is no product of powers: a sum, a function, a power of a sum."""
        u = self._uniform()
        if u < 0.30:
            return self._sum(columns, depth)
        if u < 0.62:
            function = (self._pick(FUNCTION_SHARES), self._argument(columns, depth))
            power = self._uniform()
            if power < 0.86:
                return function
            return product([(function, 2 * WHOLE if power < 0.95 else -WHOLE)])
        if u < 0.82:
            return product([(self._sum(columns, depth), self._pick(SUM_EXPONENTS))])
        function = (self._pick(FUNCTION_SHARES), self._argument(columns, depth))
        other = ONE if len(columns) < 3 or self._uniform() < 0.7 else self._monomial(columns[:1])
        return product([(total([other, function]), WHOLE if self._uniform() < 0.6 else -WHOLE)])

    def _sum(self, columns: list[int], depth: int) -> Form:
        u = self._uniform()
        if len(columns) == 1 or u < 0.30:
            return total([ONE, self._term(columns, depth)])
        left, right = self._cut(columns)
        if u < 0.82:
            if u < 0.55:  # like and like: a + b, a^2 - b^2
                power = self._pick(((WHOLE, 0.5), (2 * WHOLE, 0.42), (-WHOLE, 0.08)))
                if len(columns) <= 3 and self._uniform() < 0.7:
                    return total([product([(("x", c), power)]) for c in columns])
                return total([product([(self._monomial(part), power)]) for part in (left, right)])
            return total([self._term(left, depth), self._term(right, depth)])
        if len(right) == 1:
            return total([self._term(left, depth), self._term(right, depth), ONE])
        middle, right = self._cut(right)
        return total([self._term(part, depth) for part in (left, middle, right)])

    def _alike(self, columns: list[int]) -> Form:
        """A sum of products of one shape: m v^2 + k x^2, x1 y1 + x2 y2 + x3 y3."""
        size = 2 if len(columns) >= 4 else 1
        shape = [self._pick(SIMPLE_EXPONENTS) for _ in range(size)]
        groups = [columns[i : i + size] for i in range(0, len(columns), size)]
        powers = [[(("x", c), e) for c, e in zip(group, shape, strict=False)] for group in groups]
        if self._uniform() < SHARED and len(columns) > 2:  # over the sum of one of the factors
            return product([(total([product(p) for p in powers]), WHOLE), (total([g[0][0] for g in powers]), -WHOLE)])
        return total([product(p) for p in powers])

    def _term(self, columns: list[int], depth: int) -> Form:
        u = self._uniform()
        if u < 0.78 or depth > 2:
            return self._monomial(columns)
        if u < 0.92 and len(columns) > 1:
            left, right = self._cut(columns)
            return product([(self._monomial(left), WHOLE), (self._inner(right, depth + 1), WHOLE)])
        return self._inner(columns, depth + 1)

    def _argument(self, columns: list[int], depth: int) -> Form:
        u = self._uniform()
        if u < 0.66 or depth > 2:
            return self._monomial(columns, simple=True)
        if len(columns) > 1 and u < 0.80:  # a difference, alone or times something
            k = min(len(columns), 2)
            difference = total([("x", c) for c in columns[:k]])
            power = 2 * WHOLE if self._uniform() < 0.4 else WHOLE
            rest = self._monomial(columns[k:]) if len(columns) > k else ONE
            return product([(difference, power), (rest, WHOLE)])
        if u < 0.93:
            return self._sum(columns, depth + 1)
        return self._inner(columns, depth + 1)


def _is_linear(form: Form) -> bool:
    """A column alone is no law."""
    return bool(form[0] == "x")


@dataclass(frozen=True)
class FormBatch:
    """Forms as arrays."""

    programs: Programs  # (P, MAX_TOKENS)
    lengths: Lengths  # (P,)
    widths: Lengths  # (P,) columns used


def pack(forms: Sequence[Form]) -> FormBatch:
    """Forms over columns 0 .. m - 1 as programs."""
    programs = np.full((len(forms), MAX_TOKENS), PAD, np.int16)
    lengths, widths = np.zeros(len(forms), np.int64), np.zeros(len(forms), np.int64)
    cache: dict[Form, tuple[Programs, int]] = {}
    for p, form in enumerate(forms):
        if form not in cache:
            cache[form] = (encode(form), len(columns_of(form)))
        program, widths[p] = cache[form]
        programs[p, : len(program)] = program
        lengths[p] = len(program)
    return FormBatch(programs, lengths, widths)
