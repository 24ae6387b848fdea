"""Genetic operators on programs, as one numba kernel per generation.

Koza (1992), "Genetic Programming", for subtree crossover and mutation; the operators that insert and
delete one node keep programs small where crossover makes them grow. An offspring that is too long,
illegal, of inconsistent units or already seen in this run is drawn again, so that evaluations are
spent on new programs only.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import integer_at, normal_at, uniform_at
from envs.symbolic.copying import copy_row
from envs.symbolic.tokens import CONSTANT, PAD
from envs.symbolic.unit_algebra import has_units
from rl_suite.symbolic.evolution.genome import (
    Dimensions,
    Programs,
    Symbols,
    Tokens,
    Values,
    fingerprint,
    grow,
    insert_new,
    is_legal,
    subtree_end,
)

ATTEMPTS = 12  # draws for one offspring before it is left out of the generation
UNARY_SHARE = 0.25  # of the insertions that insert a function
SMALL = 3  # longest random tree that is inserted beside a subtree, in tokens
JITTER_FACTOR, JITTER_SHIFT = 0.3, 0.05  # standard deviations: of the logarithm of the factor, and of the term
FLIPPED = 0.1  # share of the constants that change their sign
CROSSOVER, SUBTREE, POINT, INSERT, DELETE, JITTER, FRESH = range(7)


Stream = NDArray[np.uint64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Rates:
    """How often each operator is used; they need not sum to 1."""

    crossover: float = 0.35
    subtree: float = 0.15
    point: float = 0.15
    insert: float = 0.15
    delete: float = 0.08
    jitter: float = 0.05
    fresh: float = 0.07

    def cumulative(self, has_constants: bool) -> Values:
        """Cumulative probabilities in the order of the operator codes."""
        jitter = self.jitter if has_constants else 0.0
        rates = [self.crossover, self.subtree, self.point, self.insert, self.delete, jitter, self.fresh]
        return np.cumsum(np.array(rates) / sum(rates))


@kernel(allocates=False)
def _tournament(score: Values, size: int, stream: Stream) -> int:
    best = integer_at(stream, 0, len(score))
    for _ in range(size - 1):
        other = integer_at(stream, 0, len(score))
        if score[other] < score[best]:
            best = other
    return best


class Recipe(NamedTuple):
    """How a generation is bred."""

    rates: Values  # cumulative, in the order of the operator codes
    tournament: int  # programs of which the best becomes a parent
    max_length: int
    fresh_size: int  # longest random tree


class Draft(NamedTuple):
    """Memory for the offspring that is being made and for a part of it, one longest program each."""

    tokens: Tokens
    values: Values
    part: Tokens
    part_values: Values


@kernel(allocates=False)
def _splice(
    draft: Draft, length: int, start: int, end: int, part: Tokens, part_values: Values, part_length: int
) -> int:
    """Replace the tokens start .. end - 1 by a part; the new length, or -1 if it does not fit."""
    tokens, values = draft.tokens, draft.values
    shift = part_length - (end - start)
    if length + shift > len(tokens):
        return -1
    if shift > 0:
        for i in range(length - 1, end - 1, -1):
            tokens[i + shift] = tokens[i]
            values[i + shift] = values[i]
    elif shift < 0:
        for i in range(end, length):
            tokens[i + shift] = tokens[i]
            values[i + shift] = values[i]
    for i in range(part_length):
        tokens[start + i] = part[i]
        values[start + i] = part_values[i]
    return length + shift


@kernel(allocates=False)
def _copy_part(draft: Draft, start: int, end: int, at: int) -> int:
    """Copy the tokens start .. end - 1 of the draft into its part, from ``at`` on; the end of the part."""
    n = end - start
    copy_row(draft.tokens[start:], draft.part[at:], n)
    copy_row(draft.values[start:], draft.part_values[at:], n)
    return at + n


@kernel(allocates=False, forceinline=True)
def _cross(draft: Draft, length: int, parents: Programs, q: int, arity: Ids, stream: Stream) -> int:
    """A subtree gives way to one of another parent."""
    a = integer_at(stream, 0, length)
    a_end = subtree_end(draft.tokens, a, arity)
    b = integer_at(stream, 0, parents.lengths[q])
    b_end = subtree_end(parents.tokens[q], b, arity)
    return _splice(draft, length, a, a_end, parents.tokens[q, b:b_end], parents.values[q, b:b_end], b_end - b)


@kernel(allocates=False, forceinline=True)
def _mutate_subtree(draft: Draft, length: int, fresh_size: int, symbols: Symbols, stream: Stream) -> int:
    """A subtree gives way to a random one."""
    a = integer_at(stream, 0, length)
    a_end = subtree_end(draft.tokens, a, symbols.arity)
    size = 1 + integer_at(stream, 0, min(fresh_size, a_end - a + 4))
    n = grow(draft.part, draft.part_values, 0, size, symbols, stream)
    return _splice(draft, length, a, a_end, draft.part, draft.part_values, n)


@kernel(allocates=False, forceinline=True)
def _mutate_points(draft: Draft, length: int, symbols: Symbols, stream: Stream) -> int:
    """One or two tokens give way to others of the same arity."""
    tokens, values = draft.tokens, draft.values
    for _ in range(1 + integer_at(stream, 0, 2)):
        a = integer_at(stream, 0, length)
        if symbols.arity[tokens[a]] == 0:
            grow(draft.part, draft.part_values, 0, 1, symbols, stream)
            tokens[a], values[a] = draft.part[0], draft.part_values[0]
        elif symbols.arity[tokens[a]] == 1:
            tokens[a] = symbols.unary[integer_at(stream, 0, len(symbols.unary))]
        else:
            tokens[a] = symbols.binary[integer_at(stream, 0, len(symbols.binary))]
    return length


@kernel(allocates=False, forceinline=True)
def _insert(draft: Draft, length: int, max_length: int, symbols: Symbols, stream: Stream) -> int:
    """A subtree becomes the argument of a function, or of an operation beside a small random tree."""
    part, part_values = draft.part, draft.part_values
    a = integer_at(stream, 0, length)
    a_end = subtree_end(draft.tokens, a, symbols.arity)
    n = 1
    fits = True
    if len(symbols.unary) > 0 and uniform_at(stream, 0) < UNARY_SHARE:
        part[0] = symbols.unary[integer_at(stream, 0, len(symbols.unary))]
        fits = length + 1 <= max_length
    else:
        part[0] = symbols.binary[integer_at(stream, 0, len(symbols.binary))]
        if uniform_at(stream, 0) < 0.5:  # the random tree comes first
            n = grow(part, part_values, 1, 1 + integer_at(stream, 0, SMALL), symbols, stream)
    if not fits or n + a_end - a + SMALL > len(part) or length + n + SMALL > max_length:
        return -1
    end = _copy_part(draft, a, a_end, n)
    if n == 1 and symbols.arity[part[0]] == 2:
        end = grow(part, part_values, end, 1 + integer_at(stream, 0, SMALL), symbols, stream)
    return _splice(draft, length, a, a_end, part, part_values, end)


@kernel(allocates=False, forceinline=True)
def _delete(draft: Draft, length: int, arity: Ids, stream: Stream) -> int:
    """An operation gives way to one of its arguments; -1 for a leaf."""
    tokens = draft.tokens
    a = integer_at(stream, 0, length)
    if arity[tokens[a]] == 0:
        return -1
    a_end = subtree_end(tokens, a, arity)
    b = a + 1
    if arity[tokens[a]] == 2 and uniform_at(stream, 0) < 0.5:
        b = subtree_end(tokens, b, arity)
    n = _copy_part(draft, b, subtree_end(tokens, b, arity), 0)
    return _splice(draft, length, a, a_end, draft.part, draft.part_values, n)


@kernel(allocates=False, forceinline=True)
def _jitter(draft: Draft, length: int, opcode: Ids, stream: Stream) -> int:
    """All fitted constants move a little, some change their sign; -1 if there are none."""
    values = draft.values
    changed = False
    for i in range(length):
        if opcode[draft.tokens[i]] == CONSTANT:
            changed = True
            values[i] = values[i] * np.exp(JITTER_FACTOR * normal_at(stream, 0)) + JITTER_SHIFT * normal_at(stream, 0)
            if uniform_at(stream, 0) < FLIPPED:
                values[i] = -values[i]
    return length if changed else -1


@kernel(allocates=False, forceinline=True)
def _offspring(draft: Draft, parents: Programs, score: Values, recipe: Recipe, symbols: Symbols, stream: Stream) -> int:
    """Draw an operator and write what it makes into the draft; the length, below 1 if it made nothing."""
    u = uniform_at(stream, 0)
    kind = 0
    while kind < FRESH and recipe.rates[kind] <= u:
        kind += 1
    if kind == FRESH or len(score) == 0:
        return grow(draft.tokens, draft.values, 0, 1 + integer_at(stream, 0, recipe.fresh_size), symbols, stream)
    p = _tournament(score, recipe.tournament, stream)
    length = parents.lengths[p]
    copy_row(parents.tokens[p], draft.tokens, length)
    copy_row(parents.values[p], draft.values, length)
    if kind == CROSSOVER:
        q = _tournament(score, recipe.tournament, stream)
        return _cross(draft, length, parents, q, symbols.arity, stream)
    if kind == SUBTREE:
        return _mutate_subtree(draft, length, recipe.fresh_size, symbols, stream)
    if kind == POINT:
        return _mutate_points(draft, length, symbols, stream)
    if kind == INSERT:
        return _insert(draft, length, recipe.max_length, symbols, stream)
    if kind == DELETE:
        return _delete(draft, length, symbols.arity, stream)
    return _jitter(draft, length, symbols.opcode, stream)


@kernel()
def breed(
    parents: Programs,
    score: Values,
    children: Programs,
    recipe: Recipe,
    symbols: Symbols,
    dimensions: Dimensions,
    seen: NDArray[np.uint64],
    salt: np.uint64,
    stream: Stream,
) -> int:
    """Fill ``children`` with new programs; return how many were made (fewer when few are left to find).

    ``score`` (P,) of the parents: less is better. ``seen`` holds the hashes of all programs so far, ``salt`` keeps
    those of one population apart from those of others.
    """
    width = children.tokens.shape[1]
    draft = Draft(np.empty(width, np.int16), np.zeros(width), np.empty(width, np.int16), np.zeros(width))
    hashes = np.empty(width, np.uint64)
    row, values = draft.tokens, draft.values
    arity, opcode = symbols.arity, symbols.opcode
    made = 0
    for _ in range(len(children.tokens)):
        for _attempt in range(ATTEMPTS):
            length = _offspring(draft, parents, score, recipe, symbols, stream)
            if length < 1 or length > recipe.max_length or not is_legal(row, length, arity, opcode, symbols.family):
                continue
            if dimensions.units.shape[1] > 0 and not has_units(
                row, length, opcode, dimensions.units, dimensions.wild_constants
            ):
                continue
            if not insert_new(seen, salt ^ fingerprint(row, values, length, arity, opcode, hashes)):
                continue
            copy_row(row, children.tokens[made], length)
            children.tokens[made, length:] = PAD
            copy_row(values, children.values[made], length)
            children.values[made, length:] = 0.0
            children.lengths[made] = length
            made += 1
            break
    return made
