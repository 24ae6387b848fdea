"""Which token may come next: programs grow in prefix order under rules that keep out the useless ones.

``Grammar`` holds the rules as flat tables, ``Partials`` a batch of unfinished programs. The kernels work on
one row of both, so that an environment, a genetic search and a sampling policy share the same rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arguments import whole
from envs.kernel_cache import kernel
from envs.streams import Streams, integer_at
from envs.symbolic.tokens import CONSTANT, LITERAL, MAX_STACK, PAD, Library, Program

Ints = NDArray[np.int64]

TRIGONOMETRIC = ("sin", "cos", "tan")
INVERSES = (
    ("exp", "log"),
    ("sq", "sqrt"),
    ("neg", "neg"),
    ("inv", "inv"),
    ("abs", "abs"),
    ("sin", "asin"),
    ("cos", "acos"),
    ("tan", "atan"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a grammar forbids.

    Attributes:
        max_length: longest program in tokens.
        min_length: shortest program in tokens.
        nested_trigonometry: allow sin, cos or tan anywhere inside each other.
        inverse_unary: allow a function directly around its inverse, such as exp(log(x)).
        constant_children: allow a function all of whose arguments are numbers, such as 1 + pi.
        equal_leaves: allow x - x and x / x.
        repeats: most uses of a token in one program, by name.
    """

    max_length: int = 30
    min_length: int = 1
    nested_trigonometry: bool = False
    inverse_unary: bool = False
    constant_children: bool = False
    equal_leaves: bool = False
    repeats: Mapping[str, int] | None = None


class Tables(NamedTuple):
    """A grammar for kernels: entries per token (n,), then whole numbers."""

    arity: Ints
    number: NDArray[np.bool_]  # literal or fitted constant
    variable: Ints  # column, -1 for other tokens
    trigonometric: NDArray[np.bool_]
    inverse: Ints  # token that may not be the direct child; -1: none
    difference: NDArray[np.bool_]  # its two arguments may not be the same leaf
    limited: Ints  # (l,) tokens with a limit on their uses
    limit: Ints  # (l,) most uses of those
    patterns: NDArray[np.bool_]  # (24, n) what :func:`pattern_of` allows
    pattern_sizes: Ints  # (24,)
    max_length: int
    min_length: int
    constant_children: bool


class Partials(NamedTuple):
    """B unfinished programs; the stack lists the functions whose arguments are not all there."""

    tokens: NDArray[np.int16]  # (B, L) prefix order, PAD behind
    length: Ints  # (B,) tokens so far
    slots: Ints  # (B,) arguments still to come; 0 = whole
    depth: Ints  # (B,) functions on the stack
    position: NDArray[np.int16]  # (B, L) where each of them stands
    missing: NDArray[np.int16]  # (B, L) its arguments still to come
    inside: NDArray[np.bool_]  # (B, L) it is, or lies in, a trigonometric function
    uses: NDArray[np.int16]  # (B, n) tokens used


class Grammar:
    """The rules for one library.

    Args:
        library: the tokens.
        rules: what is forbidden.

    Raises:
        ValueError: lengths that contradict each other, unknown names in ``repeats``.

    >>> from envs.symbolic.tokens import Library
    >>> library = Library("koza", ["x"], literals=["1"])
    >>> grammar = Grammar(library, Rules(max_length=3))
    >>> partials = grammar.start(1)
    >>> grammar.advance(partials, np.array([library.id("sin")]))
    >>> library.decode(np.flatnonzero(grammar.masks(partials)[0]))
    ['exp', 'log', 'x']
    """

    def __init__(self, library: Library, rules: Rules | None = None):
        rules = rules or Rules()
        whole("min_length", rules.min_length, 1), whole("max_length", rules.max_length, 1)
        if rules.min_length > rules.max_length:
            raise ValueError(
                f"lengths must be 1 <= min_length <= max_length, not {rules.min_length}, {rules.max_length}"
            )
        if rules.max_length > 2 * MAX_STACK:
            raise ValueError(f"max_length may be at most {2 * MAX_STACK}, not {rules.max_length}")
        for name, most in (rules.repeats or {}).items():
            if name not in library or most < 0 or library.index[library.id(name)] >= 0:
                raise ValueError(f"repeats: {name!r} must be a function or number of the library, its limit >= 0")
        inverse = np.full(len(library), -1, dtype=np.int64)
        if not rules.inverse_unary:
            for first, second in INVERSES:
                if first in library and second in library:
                    inverse[library.id(first)], inverse[library.id(second)] = library.id(second), library.id(first)
        names = [token.name for token in library.tokens]
        self.library, self.rules = library, rules
        repeats = dict(rules.repeats or {})
        number = (library.opcode == LITERAL) | (library.opcode == CONSTANT)
        trigonometric = np.array([name in TRIGONOMETRIC and not rules.nested_trigonometry for name in names])
        patterns = _patterns(library.arity, number, trigonometric)
        self.tables = Tables(
            arity=library.arity,
            number=number,
            variable=library.index,
            trigonometric=trigonometric,
            inverse=inverse,
            difference=np.array([name in ("sub", "div") and not rules.equal_leaves for name in names]),
            limited=np.array([library.id(name) for name in repeats], dtype=np.int64),
            limit=np.array(list(repeats.values()), dtype=np.int64),
            patterns=patterns,
            pattern_sizes=patterns.sum(axis=1),
            max_length=rules.max_length,
            min_length=rules.min_length,
            constant_children=rules.constant_children,
        )

    def start(self, n: int) -> Partials:
        """n programs without tokens."""
        shape = (n, self.rules.max_length)
        return Partials(
            tokens=np.full(shape, PAD, dtype=np.int16),
            length=np.zeros(n, dtype=np.int64),
            slots=np.ones(n, dtype=np.int64),
            depth=np.zeros(n, dtype=np.int64),
            position=np.zeros(shape, dtype=np.int16),
            missing=np.zeros(shape, dtype=np.int16),
            inside=np.zeros(shape, dtype=np.bool_),
            uses=np.zeros((n, len(self.library)), dtype=np.int16),
        )

    def masks(self, partials: Partials) -> NDArray[np.bool_]:
        """Tokens that may come next, (B, n); all False where the program is whole."""
        masks = np.zeros((len(partials.length), len(self.library)), dtype=np.bool_)
        _masks(self.tables, partials, masks)
        return masks

    def advance(self, partials: Partials, tokens: NDArray[np.integer]) -> None:
        """Append one token to every program, in place; whole programs stay as they are."""
        _advance_all(self.tables, partials, np.asarray(tokens, dtype=np.int64))

    def is_legal(self, program: Program) -> bool:
        """Whether a whole program could have been written under these rules."""
        program = np.asarray(program, dtype=np.int16)
        if not 0 < len(program) <= self.rules.max_length or program.min() < 0 or program.max() >= len(self.library):
            return False
        return bool(_is_legal(self.tables, self.start(1), program))

    def sample(self, n: int, streams: Streams) -> tuple[NDArray[np.int16], Ints]:
        """n whole programs (n, L) of random legal tokens and their lengths (n,), one stream (n,) for each."""
        partials = self.start(n)
        _sample(self.tables, partials, streams)
        return partials.tokens, partials.length


def _patterns(arity: Ints, number: NDArray[np.bool_], trigonometric: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rules that do not depend on single tokens, for all their combinations, (24, n)."""
    patterns = np.zeros((24, len(arity)), dtype=np.bool_)
    for room, no_number, inside, too_short in product(range(3), (0, 1), (0, 1), (0, 1)):
        forbidden = (number & (no_number == 1)) | (trigonometric & (inside == 1)) | ((arity == 0) & (too_short == 1))
        patterns[pattern_of(room, no_number == 1, inside == 1, too_short == 1)] = (arity <= room) & ~forbidden
    return patterns


@kernel(allocates=False, forceinline=True)
def pattern_of(room: int, no_number: bool, inside: bool, too_short: bool) -> int:
    """Row of ``Tables.patterns``: tokens to spare, and what is forbidden (numbers, trigonometry, leaves)."""
    return ((min(room, 2) * 2 + no_number) * 2 + inside) * 2 + too_short


@kernel(allocates=False, forceinline=True)
def parent_and_sibling(tables: Tables, partials: Partials, b: int) -> tuple[int, int]:
    """Token whose argument comes next, and its first argument's token if the second comes next; -1: none."""
    top = partials.depth[b] - 1
    if top < 0:
        return -1, -1
    position = partials.position[b, top]
    parent = partials.tokens[b, position]
    second = partials.missing[b, top] < tables.arity[parent]
    return int(parent), int(partials.tokens[b, position + 1]) if second else -1


@kernel(allocates=False, forceinline=True)
def fill_mask(
    tables: Tables, partials: Partials, b: int, n_variables: int, strict: bool, mask: NDArray[np.bool_]
) -> None:
    """Write which tokens may come next in row b into mask (n,); only the first ``n_variables`` variables count.

    There always is one: where the rules leave nothing, any variable is allowed. Without ``strict``, tokens that
    are merely useless (inverses, equal leaves) or used up (repeats) are allowed too.
    """
    n = tables.arity.shape[0]
    length, slots = partials.length[b], partials.slots[b]
    room = tables.max_length - length - slots  # tokens left once every open slot has a leaf
    parent, sibling = parent_and_sibling(tables, partials, b)
    inside = partials.depth[b] > 0 and partials.inside[b, partials.depth[b] - 1]
    no_number = not tables.constant_children and (
        parent < 0 or tables.arity[parent] == 1 or (sibling >= 0 and tables.number[sibling])
    )
    too_short = slots == 1 and length + 1 < tables.min_length
    forbidden = tables.inverse[parent] if parent >= 0 else -1
    twin = sibling if sibling >= 0 and tables.difference[parent] and tables.arity[sibling] == 0 else -1
    row = pattern_of(room, no_number, inside, too_short)
    for t in range(n):
        mask[t] = tables.patterns[row, t]
    found = tables.pattern_sizes[row]
    for t in range(n - 1, -1, -1):
        if tables.variable[t] < n_variables:
            break
        found -= mask[t]
        mask[t] = False
    if strict:
        if forbidden >= 0:
            found -= mask[forbidden]
            mask[forbidden] = False
        if twin >= 0:
            found -= mask[twin]
            mask[twin] = False
        for i in range(tables.limited.shape[0]):
            t = tables.limited[i]
            if partials.uses[b, t] >= tables.limit[i]:
                found -= mask[t]
                mask[t] = False
    if found == 0:
        for t in range(n):
            mask[t] = 0 <= tables.variable[t] < n_variables


@kernel(allocates=False, forceinline=True)
def append_token(tables: Tables, partials: Partials, b: int, token: int) -> None:
    """Append a token to row b."""
    length = partials.length[b]
    arity = tables.arity[token]
    depth = partials.depth[b]
    partials.tokens[b, length] = token
    partials.uses[b, token] += 1
    partials.length[b] = length + 1
    partials.slots[b] += arity - 1
    if arity > 0:
        partials.position[b, depth] = length
        partials.missing[b, depth] = arity
        partials.inside[b, depth] = tables.trigonometric[token] or (depth > 0 and partials.inside[b, depth - 1])
        depth += 1
    else:
        while depth > 0:
            partials.missing[b, depth - 1] -= 1
            if partials.missing[b, depth - 1] > 0:
                break
            depth -= 1
    partials.depth[b] = depth


@kernel(allocates=False, forceinline=True)
def clear_row(partials: Partials, b: int) -> None:
    """Make row b an empty program again."""
    for i in range(partials.length[b]):
        partials.tokens[b, i] = PAD
    for t in range(partials.uses.shape[1]):
        partials.uses[b, t] = 0
    partials.length[b] = 0
    partials.slots[b] = 1
    partials.depth[b] = 0


@kernel(allocates=False)
def _masks(tables: Tables, partials: Partials, masks: NDArray[np.bool_]) -> None:
    for b in range(masks.shape[0]):
        if partials.slots[b] > 0:
            fill_mask(tables, partials, b, masks.shape[1], True, masks[b])


@kernel(allocates=False)
def _advance_all(tables: Tables, partials: Partials, tokens: Ints) -> None:
    for b in range(tokens.shape[0]):
        if partials.slots[b] > 0:
            append_token(tables, partials, b, tokens[b])


@kernel()
def _is_legal(tables: Tables, partials: Partials, program: Program) -> bool:
    mask = np.zeros(tables.arity.shape[0], dtype=np.bool_)
    for i in range(program.shape[0]):
        if partials.slots[0] == 0:
            return False
        fill_mask(tables, partials, 0, mask.shape[0], True, mask)
        if not mask[program[i]]:
            return False
        append_token(tables, partials, 0, program[i])
    return bool(partials.slots[0] == 0)


@kernel()
def _sample(tables: Tables, partials: Partials, streams: Streams) -> None:
    mask = np.zeros(tables.arity.shape[0], dtype=np.bool_)
    for b in range(partials.length.shape[0]):
        while partials.slots[b] > 0:
            fill_mask(tables, partials, b, mask.shape[0], True, mask)
            append_token(tables, partials, b, pick(mask, streams, b))


@kernel()
def pick(mask: NDArray[np.bool_], streams: Streams, b: int) -> int:
    """One of the allowed tokens, all equally likely."""
    chosen = integer_at(streams, b, mask.sum())
    for t in range(mask.shape[0]):
        if mask[t]:
            if chosen == 0:
                return t
            chosen -= 1
    return -1
