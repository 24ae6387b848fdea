"""Genetic operators on programs, as one numba kernel per generation.

Koza (1992), "Genetic Programming", for subtree crossover and mutation; the operators that insert and
delete one node keep programs small where crossover makes them grow. An offspring that is too long,
illegal, of inconsistent units or already seen in this run is drawn again, so that evaluations are
spent on new programs only.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from envs.streams import integer_at, normal_at, uniform_at
from envs.symbolic.tokens import CONSTANT, PAD
from envs.symbolic.unit_algebra import has_units
from rl_suite.symbolic.evolution.genome import (
    Tokens,
    Values,
    fingerprint,
    grow,
    insert_new,
    is_legal,
    subtree_end,
)

ATTEMPTS = 12  # draws for one offspring before it is left out of the generation
CROSSOVER, SUBTREE, POINT, INSERT, DELETE, JITTER, FRESH = range(7)


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


@njit(cache=True)
def _tournament(score: Values, size: int, stream: NDArray[np.uint64]) -> int:
    best = integer_at(stream, 0, len(score))
    for _ in range(size - 1):
        other = integer_at(stream, 0, len(score))
        if score[other] < score[best]:
            best = other
    return best


@njit(cache=True)
def _node(length: int, start: int, stream: NDArray[np.uint64]) -> int:
    return start + integer_at(stream, 0, length - start)


@njit(cache=True)
def _splice(
    tokens: Tokens,
    values: Values,
    length: int,
    start: int,
    end: int,
    part: Tokens,
    part_values: Values,
    part_length: int,
) -> int:
    """Replace tokens[start:end] by a part; the new length, or -1 if it does not fit."""
    new_length = length - (end - start) + part_length
    if new_length > len(tokens):
        return -1
    shift = part_length - (end - start)
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
    return new_length


@njit(cache=True)
def breed(
    parents: Tokens,
    parent_values: Values,
    parent_lengths: NDArray[np.int64],
    score: Values,
    children: Tokens,
    child_values: Values,
    child_lengths: NDArray[np.int64],
    rates: Values,
    tournament: int,
    max_length: int,
    fresh_size: int,
    stream: NDArray[np.uint64],
    table: NDArray[np.uint64],
    salt: np.uint64,
    arity: NDArray[np.int64],
    opcode: NDArray[np.int64],
    leaves: NDArray[np.int64],
    leaf_cdf: Values,
    unary: NDArray[np.int64],
    binary: NDArray[np.int64],
    family: NDArray[np.int64],
    units: NDArray[np.int64],
    wild_constants: bool,
) -> int:
    """Fill ``children`` (P, L) with new programs; return how many were made (fewer when few are left to find)."""
    width = children.shape[1]
    row, row_values = np.empty(width, np.int16), np.zeros(width)
    part, part_values = np.empty(width, np.int16), np.zeros(width)
    hashes = np.empty(width, np.uint64)
    n_parents = len(score)
    made = 0
    for _ in range(len(children)):
        for _attempt in range(ATTEMPTS):
            u = uniform_at(stream, 0)
            kind = 0
            while kind < FRESH and rates[kind] <= u:
                kind += 1
            if kind == FRESH or n_parents == 0:
                size = 1 + integer_at(stream, 0, fresh_size)
                length = grow(row, row_values, 0, size, stream, leaves, leaf_cdf, unary, binary, opcode)
            else:
                p = _tournament(score, tournament, stream)
                length = parent_lengths[p]
                row[:length] = parents[p, :length]
                row_values[:length] = parent_values[p, :length]
                if kind == CROSSOVER:
                    q = _tournament(score, tournament, stream)
                    a = _node(length, 0, stream)
                    a_end = subtree_end(row, a, arity)
                    b = _node(parent_lengths[q], 0, stream)
                    b_end = subtree_end(parents[q], b, arity)
                    length = _splice(
                        row, row_values, length, a, a_end, parents[q, b:b_end], parent_values[q, b:b_end], b_end - b
                    )
                elif kind == SUBTREE:
                    a = _node(length, 0, stream)
                    a_end = subtree_end(row, a, arity)
                    size = 1 + integer_at(stream, 0, min(fresh_size, a_end - a + 4))
                    n = grow(part, part_values, 0, size, stream, leaves, leaf_cdf, unary, binary, opcode)
                    length = _splice(row, row_values, length, a, a_end, part, part_values, n)
                elif kind == POINT:
                    for _change in range(1 + integer_at(stream, 0, 2)):
                        a = _node(length, 0, stream)
                        if arity[row[a]] == 0:
                            grow(part, part_values, 0, 1, stream, leaves, leaf_cdf, unary, binary, opcode)
                            row[a], row_values[a] = part[0], part_values[0]
                        elif arity[row[a]] == 1:
                            row[a] = unary[integer_at(stream, 0, len(unary))]
                        else:
                            row[a] = binary[integer_at(stream, 0, len(binary))]
                elif kind == INSERT:  # op(subtree, small) or op(small, subtree) or function(subtree)
                    a = _node(length, 0, stream)
                    a_end = subtree_end(row, a, arity)
                    m = a_end - a
                    if len(unary) > 0 and uniform_at(stream, 0) < 0.25:
                        part[0] = unary[integer_at(stream, 0, len(unary))]
                        n = 1
                        length = -1 if length + 1 > max_length else length
                    else:
                        part[0] = binary[integer_at(stream, 0, len(binary))]
                        n = 1
                        if uniform_at(stream, 0) < 0.5:
                            size = 1 + integer_at(stream, 0, 3)
                            n = grow(part, part_values, 1, size, stream, leaves, leaf_cdf, unary, binary, opcode)
                    if length > 0 and n + m + 3 <= width and length + n + 3 <= max_length:
                        part[n : n + m] = row[a:a_end]
                        part_values[n : n + m] = row_values[a:a_end]
                        if n == 1 and arity[part[0]] == 2:
                            size = 1 + integer_at(stream, 0, 3)
                            m = (
                                grow(part, part_values, 1 + m, size, stream, leaves, leaf_cdf, unary, binary, opcode)
                                - 1
                            )
                        length = _splice(row, row_values, length, a, a_end, part, part_values, n + m)
                    else:
                        length = -1
                elif kind == DELETE:  # an operation gives way to one of its arguments
                    a = _node(length, 0, stream)
                    if arity[row[a]] == 0:
                        continue
                    a_end = subtree_end(row, a, arity)
                    b = a + 1
                    if arity[row[a]] == 2 and uniform_at(stream, 0) < 0.5:
                        b = subtree_end(row, b, arity)
                    b_end = subtree_end(row, b, arity)
                    part[: b_end - b] = row[b:b_end]
                    part_values[: b_end - b] = row_values[b:b_end]
                    length = _splice(row, row_values, length, a, a_end, part, part_values, b_end - b)
                else:
                    changed = False
                    for i in range(length):
                        if opcode[row[i]] == CONSTANT:
                            changed = True
                            row_values[i] = row_values[i] * np.exp(0.3 * normal_at(stream, 0)) + 0.05 * normal_at(
                                stream, 0
                            )
                            if uniform_at(stream, 0) < 0.1:
                                row_values[i] = -row_values[i]
                    if not changed:
                        continue
            if length < 1 or length > max_length or not is_legal(row, length, arity, opcode, family):
                continue
            if units.shape[1] > 0 and not has_units(row, length, opcode, units, wild_constants):
                continue
            if not insert_new(table, salt ^ fingerprint(row, row_values, length, arity, opcode, hashes)):
                continue
            children[made, :length] = row[:length]
            children[made, length:] = PAD
            child_values[made, :length] = row_values[:length]
            child_values[made, length:] = 0.0
            child_lengths[made] = length
            made += 1
            break
    return made
