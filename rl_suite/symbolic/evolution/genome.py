"""Reading and growing prefix programs inside numba kernels: extents, hashes, legality, random trees.

A program is a row of ``int16`` tokens with a row of ``float64`` beside it, which holds a number where the
token is the fitted constant. Cutting a subtree out is therefore cutting a slice out of both rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.streams import integer_at, normal_at, uniform_at
from envs.symbolic.tokens import (
    ADD,
    CONSTANT,
    DIV,
    EXP,
    LAST_OPCODE,
    LITERAL,
    LOG,
    MUL,
    OPERATIONS,
    SUB,
    VARIABLE,
    Library,
)

Tokens = NDArray[np.int16]
Values = NDArray[np.float64]

# Functions of one family inside each other (sin(cos(x)), exp(exp(x)), sqrt(sqrt(x))) are not searched.
FAMILIES = {1: ("sin", "cos", "tan"), 2: ("exp", "sinh", "cosh", "tanh"), 3: ("log",), 4: ("sqrt",)}
FAMILIES |= {5: ("asin", "acos", "atan"), 6: ("abs",)}
FAMILY: NDArray[np.int64] = np.zeros(LAST_OPCODE + 1, dtype=np.int64)
for _family, _names in FAMILIES.items():
    for _name in _names:
        FAMILY[OPERATIONS[_name].opcode] = _family

MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SHIFT_30, SHIFT_27, SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)


class Programs(NamedTuple):
    """P programs."""

    tokens: Tokens  # (P, L)
    values: Values  # (P, L) of the fitted constants, where they stand
    lengths: NDArray[np.int64]  # (P,)


class Symbols(NamedTuple):
    """The tokens of a search for the kernels."""

    arity: NDArray[np.int64]  # (n,)
    opcode: NDArray[np.int64]  # (n,)
    family: NDArray[np.int64]  # (LAST_OPCODE + 1,) number of the family in FAMILIES, 0: none
    leaves: NDArray[np.int64]  # their ids
    leaf_cdf: Values  # cumulative probability of drawing each leaf
    unary: NDArray[np.int64]  # ids of the functions of one argument
    binary: NDArray[np.int64]  # and of two


class Dimensions(NamedTuple):
    """The units that programs must respect."""

    units: NDArray[np.int64]  # (n, U) of each token; no columns where units are not used
    wild_constants: bool  # whether a fitted constant may have any unit


class Alphabet:
    """A library with what the kernels read of it: its tokens and the probability of drawing each.

    Of the variables, only those that are ``drawn`` (d,) have one; all if not given.
    """

    def __init__(self, library: Library, drawn: NDArray[np.bool_] | None = None):
        self.library = library
        self.constant_id = int(library.constant_id)
        ids, arity = np.arange(len(library)), library.arity
        leaves = ids[arity == 0]
        # Variables are drawn three times as often as all numbers together.
        weight = np.where(library.opcode[leaves] == VARIABLE, 1.0, 0.0)
        if drawn is not None:
            weight[~drawn[library.index[leaves]] & (weight > 0)] = 0.0
        numbers = (library.opcode[leaves] == LITERAL) | (library.opcode[leaves] == CONSTANT)
        if numbers.any():
            weight[numbers] = weight.sum() / (3.0 * numbers.sum())
        leaf_cdf = np.cumsum(weight / weight.sum())
        self.symbols = Symbols(arity, library.opcode, FAMILY, leaves, leaf_cdf, ids[arity == 1], ids[arity == 2])


@kernel(allocates=False)
def subtree_end(tokens: Tokens, start: int, arity: NDArray[np.int64]) -> int:
    """One past the last token of the subtree that begins at ``start``."""
    missing = 1
    i = start
    while missing > 0:
        missing += arity[tokens[i]] - 1
        i += 1
    return i


@kernel(allocates=False)
def mix(z: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64: every bit of the input moves half of the output."""
    z = (z ^ (z >> SHIFT_30)) * MIX_1
    z = (z ^ (z >> SHIFT_27)) * MIX_2
    return z ^ (z >> SHIFT_31)


@kernel(allocates=False)
def fingerprint(
    tokens: Tokens,
    values: Values,
    length: int,
    arity: NDArray[np.int64],
    opcode: NDArray[np.int64],
    stack: NDArray[np.uint64],
) -> np.uint64:
    """A 64-bit hash that is the same for a + b and b + a; constants count to three digits. Never 0."""
    top = 0
    for i in range(length - 1, -1, -1):
        token = tokens[i]
        h = mix(np.uint64(token + 1) * GOLDEN)
        if opcode[token] == CONSTANT:
            h = mix(h + np.uint64(np.int64(np.round(values[i] * 1e3))))
        if arity[token] == 1:
            top -= 1
            h = mix(h ^ (stack[top] + GOLDEN))
        elif arity[token] == 2:
            left, right = stack[top - 1], stack[top - 2]
            top -= 2
            if opcode[token] == ADD or opcode[token] == MUL:
                h = mix(h ^ (left + right))
            else:
                h = mix(h ^ (mix(left + GOLDEN) + right))
        stack[top] = h
        top += 1
    return np.uint64(stack[0] | np.uint64(1))


@kernel(allocates=False)
def is_legal(
    tokens: Tokens, length: int, arity: NDArray[np.int64], opcode: NDArray[np.int64], family: NDArray[np.int64]
) -> bool:
    """No function inside one of its own family, no exp of log or log of exp, no function of a mere number."""
    for i in range(length):
        code = opcode[tokens[i]]
        if code <= CONSTANT:
            continue
        kind = family[code]
        if kind > 0:
            end = subtree_end(tokens, i, arity)
            inner = opcode[tokens[i + 1]]
            if inner in (LITERAL, CONSTANT):
                return False
            if (code == EXP and inner == LOG) or (code == LOG and inner == EXP):
                return False
            for j in range(i + 1, end):
                if family[opcode[tokens[j]]] == kind:
                    return False
        elif arity[tokens[i]] == 2 and code in (SUB, DIV):
            middle = subtree_end(tokens, i + 1, arity)
            end = subtree_end(tokens, middle, arity)
            if middle - i - 1 == end - middle:  # x - x and x / x say nothing
                same = True
                for j in range(middle - i - 1):
                    if tokens[i + 1 + j] != tokens[middle + j] or opcode[tokens[middle + j]] == CONSTANT:
                        same = False
                        break
                if same:
                    return False
    return True


@kernel(allocates=False)
def grow(tokens: Tokens, values: Values, start: int, size: int, symbols: Symbols, stream: NDArray[np.uint64]) -> int:
    """Write a random tree of at most ``size`` tokens at ``start``; return its end."""
    leaves, leaf_cdf, unary, binary = symbols.leaves, symbols.leaf_cdf, symbols.unary, symbols.binary
    missing = 1
    i = start
    left = size
    while missing > 0:
        room = left - missing  # tokens that may still be added beyond one leaf per open slot
        u = uniform_at(stream, 0)
        if room >= 2 and len(binary) > 0 and (u < 0.72 or len(unary) == 0):
            tokens[i] = binary[integer_at(stream, 0, len(binary))]
            missing += 1
        elif room >= 1 and len(unary) > 0 and u < 0.95:
            tokens[i] = unary[integer_at(stream, 0, len(unary))]
        else:
            u = uniform_at(stream, 0)
            k = 0
            while k < len(leaves) - 1 and leaf_cdf[k] <= u:
                k += 1
            tokens[i] = leaves[k]
            if symbols.opcode[tokens[i]] == CONSTANT:
                values[i] = 2.0 * normal_at(stream, 0)
            missing -= 1
        i += 1
        left -= 1
    return i


@kernel(allocates=False)
def insert_new(table: NDArray[np.uint64], key: np.uint64) -> bool:
    """Add a hash to an open-addressing set; False if it was there (or eight slots are taken)."""
    mask = np.uint64(len(table) - 1)
    slot = mix(key) & mask
    for _ in range(8):
        if table[slot] == key:
            return False
        if table[slot] == np.uint64(0):
            table[slot] = key
            return True
        slot = (slot + np.uint64(1)) & mask
    table[mix(key) & mask] = key  # the neighbourhood is full: forget one, which costs a repeated evaluation
    return True
