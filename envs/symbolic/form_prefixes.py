"""What is known before each token of the program of a form, for many programs at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.context import Context, contexts
from envs.symbolic.form_programs import ARITY, FIRST_VARIABLE, normal_order
from envs.symbolic.law_tables import Tables
from envs.symbolic.tokens import PAD

Ints = NDArray[np.int64]
Programs = NDArray[np.int16]

NONE = -1  # no token before, no parent, no sibling


class Prefixes(NamedTuple):
    """One entry per token of P programs (P, L); behind the end everything is NONE and no slot is open."""

    previous: Programs
    parent: Programs
    sibling: Programs
    open_slots: Programs


class Examples(NamedTuple):
    """Tables with the forms of their laws, whose columns are named by their place in the context."""

    context: Context
    programs: Programs  # (N, L) in normal order, padded
    lengths: Ints  # (N,) 0 where there is no usable table
    prefixes: Prefixes


class Slots(NamedTuple):
    """The open arguments of P growing programs: stacks of (parent, sibling, whether it is a left argument)."""

    parent: Programs  # (P, S)
    sibling: Programs  # (P, S)
    left: NDArray[np.bool_]  # (P, S)
    depth: Ints  # (P,)


def start_slots(n: int, length: int) -> Slots:
    """Slots of n programs without tokens."""
    shape = (n, length + 2)
    none = np.full(shape, NONE, np.int16)
    return Slots(none, none.copy(), np.zeros(shape, np.bool_), np.ones(n, np.int64))


@kernel(forceinline=True)
def fill_slot(slots: Slots, p: int, token: int) -> None:
    """Put a token into the next slot of program p; columns beyond those known to ARITY have no arguments."""
    d = slots.depth[p] - 1
    if slots.left[p, d]:
        slots.sibling[p, d - 1] = token  # the right argument lies just below the left one
    arity = ARITY[token] if token < FIRST_VARIABLE else 0
    for k in range(arity):
        slots.parent[p, d + k] = token
        slots.sibling[p, d + k] = NONE
        slots.left[p, d + k] = arity == 2 and k == 1
    slots.depth[p] = d + arity


@kernel()
def fill_slots(slots: Slots, tokens: Ints) -> None:
    """Put one token into the next slot of every program that has one."""
    for p in range(tokens.shape[0]):
        if slots.depth[p] > 0:
            fill_slot(slots, p, tokens[p])


def examples_of(tables: Tables) -> Examples:
    """What a policy learns from: contexts of tables, and the laws in normal order of the context's columns."""
    context = contexts(tables.columns, tables.target, tables.width)
    n, length = tables.programs.shape
    programs = np.full((n, length), PAD, np.int16)
    lengths = np.where(tables.width > 0, tables.lengths, 0)
    _rename(tables.programs, lengths, context.order, context.width, programs)
    return Examples(context, programs, lengths, prefixes_of(programs, lengths))


def prefixes_of(programs: Programs, lengths: Ints) -> Prefixes:
    """What is known before each token of programs (P, L)."""
    shape = programs.shape
    previous, parent, sibling = (np.full(shape, NONE, np.int16) for _ in range(3))
    prefixes = Prefixes(previous, parent, sibling, np.zeros(shape, np.int16))
    _fill_prefixes(programs, lengths, start_slots(len(programs), shape[1]), prefixes)
    return prefixes


@kernel()
def _fill_prefixes(programs: Programs, lengths: Ints, slots: Slots, prefixes: Prefixes) -> None:
    for p in range(programs.shape[0]):
        for i in range(lengths[p]):
            top = slots.depth[p] - 1
            if i > 0:
                prefixes.previous[p, i] = programs[p, i - 1]
            prefixes.parent[p, i], prefixes.sibling[p, i] = slots.parent[p, top], slots.sibling[p, top]
            prefixes.open_slots[p, i] = slots.depth[p]
            fill_slot(slots, p, programs[p, i])


@kernel()
def _rename(programs: Programs, lengths: Ints, order: Ints, width: Ints, out: Programs) -> None:
    place = np.zeros(order.shape[1], np.int64)
    draft = np.empty(programs.shape[1], np.int16)
    for p in range(programs.shape[0]):
        for r in range(width[p]):
            place[order[p, r]] = r
        for i in range(lengths[p]):
            token = programs[p, i]
            draft[i] = token if token < FIRST_VARIABLE else FIRST_VARIABLE + place[token - FIRST_VARIABLE]
        if lengths[p] > 0:
            normal_order(draft, lengths[p], out[p])
