"""Programs of forms inside kernels: one normal order of arguments, and a signature that no renaming changes."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel
from envs.symbolic.law_forms import (
    WHOLE,
    Form,
    columns_of,
    encode,
    form_library,
    product,
    renamed,
    total,
)
from envs.symbolic.program import Machine, make_machine, run_program
from envs.symbolic.tokens import PAD, TokenTable

Programs = NDArray[np.int16]
Lengths = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_FORM = 64  # tokens
MAX_COLUMNS = 10
_LIBRARY = form_library(MAX_COLUMNS)
_ADD, _MUL = _LIBRARY.id("add"), _LIBRARY.id("mul")
ARITY: Lengths = _LIBRARY.arity
FIRST_VARIABLE = _LIBRARY.id("x0")


@kernel()
def _end(tokens: NDArray[np.int16], start: int) -> int:
    missing, i = 1, start
    while missing > 0:
        missing += ARITY[tokens[i]] - 1
        i += 1
    return i


@kernel()
def _comes_first(tokens: NDArray[np.int16], a: int, a_end: int, b: int, b_end: int) -> bool:
    if a_end - a != b_end - b:
        return a_end - a < b_end - b
    for i in range(a_end - a):
        if tokens[a + i] != tokens[b + i]:
            return bool(tokens[a + i] < tokens[b + i])
    return False


@kernel()
def normal_order(program: NDArray[np.int16], length: int, out: NDArray[np.int16]) -> None:
    """Write the program with sums and products as right-nested chains in normal order into ``out`` (>= length,)."""
    arena = np.empty(length * (length + 1), np.int16)  # every argument that waits, one after the other
    starts, ends = np.empty(length + 1, np.int64), np.empty(length + 1, np.int64)
    part, part_end = np.empty(length + 1, np.int64), np.empty(length + 1, np.int64)
    held, top = 0, 0
    draft = np.empty(length, np.int16)
    for i in range(length - 1, -1, -1):
        token = program[i]
        arity = ARITY[token]
        n = 0
        if token in (_ADD, _MUL):
            parts = 0
            for a in range(2):
                at = starts[held - 1 - a]
                while arena[at] == token:
                    part[parts], part_end[parts] = at + 1, _end(arena, at + 1)
                    at = part_end[parts]
                    parts += 1
                part[parts], part_end[parts] = at, ends[held - 1 - a]
                parts += 1
            for a in range(1, parts):  # insertion: chains are short and mostly sorted
                b = a
                while b > 0 and _comes_first(arena, part[b], part_end[b], part[b - 1], part_end[b - 1]):
                    part[b], part[b - 1] = part[b - 1], part[b]
                    part_end[b], part_end[b - 1] = part_end[b - 1], part_end[b]
                    b -= 1
            for a in range(parts):
                if a < parts - 1:
                    draft[n] = token
                    n += 1
                for j in range(part[a], part_end[a]):
                    draft[n] = arena[j]
                    n += 1
        else:
            draft[n] = token
            n += 1
            for a in range(arity):
                for j in range(starts[held - 1 - a], ends[held - 1 - a]):
                    draft[n] = arena[j]
                    n += 1
        held -= arity
        top = starts[held] if arity > 0 and held >= 0 else top
        if arity > 0:
            top = starts[held]
        for j in range(n):
            arena[top + j] = draft[j]
        starts[held], ends[held] = top, top + n
        top += n
        held += 1
    for j in range(length):
        out[j] = arena[starts[0] + j]


# Where a form is looked at: ranges in which sums of a few columns stay in the domain of asin, if possible.
SCALES = ((0.5, 1.5), (0.12, 0.4))
GENERIC = 6  # points
_rng = np.random.default_rng(20_240_229)
_POINTS = np.array([[low + (high - low) * _rng.random(MAX_COLUMNS) for _ in range(GENERIC)] for low, high in SCALES])
_PROBES = np.array([[low + (high - low) * u for u in (0.41, 0.77, 0.13)] for low, high in SCALES])
SIGNATURE = 2 + GENERIC - 1
TOLERANCE = 1e-7


@kernel(error_model="numpy")
def _at(program: NDArray[np.int16], length: int, machine: Machine, nothing: Floats) -> float:
    row = run_program(program, length, machine, nothing, 1)
    return machine.workspace[row, 0] if row >= 0 else np.nan


@kernel(error_model="numpy")
def _order_columns(
    program: NDArray[np.int16], length: int, m: int, machine: Machine, probes: Floats, order: Lengths
) -> bool:
    """Columns in an order that depends on what they do, not on what they are called; False if a value is not finite."""
    nothing = np.ones(1)
    alone, key, pair = np.empty(m), np.empty(m), np.empty((m, m))
    for i in range(m):
        machine.workspace[i, 0] = probes[0]
    for i in range(m):
        machine.workspace[i, 0] = probes[1]
        alone[i] = _at(program, length, machine, nothing)
        for j in range(m):
            if j != i:
                machine.workspace[j, 0] = probes[2]
                pair[i, j] = _at(program, length, machine, nothing)
                machine.workspace[j, 0] = probes[0]
        machine.workspace[i, 0] = probes[0]
    for i in range(m):
        key[i] = 0.0
        for j in range(m):
            if j != i:
                key[i] += pair[i, j] + 0.37 * pair[j, i] + 0.11 * pair[i, j] * pair[j, i]
    taken = np.zeros(m, np.bool_)
    for place in range(m):
        best = -1
        for i in range(m):
            if taken[i]:
                continue
            if best < 0:
                best = i
                continue
            sign = _compare(alone[i], alone[best])
            if sign == 0:
                sign = _compare(key[i], key[best])
            for p in range(place):
                if sign != 0:
                    break
                sign = _compare(pair[order[p], i], pair[order[p], best])
            if sign < 0:
                best = i
        taken[best] = True
        order[place] = best
    return bool(np.isfinite(alone).all() and np.isfinite(key).all())


@kernel()
def _compare(a: float, b: float) -> int:
    if abs(a - b) <= TOLERANCE * (abs(a) + abs(b)):
        return 0
    return -1 if a < b else 1


@kernel(error_model="numpy")
def _signature(
    program: NDArray[np.int16], length: int, m: int, machine: Machine, points: Floats, probes: Floats, out: Floats
) -> bool:
    order = np.empty(m, np.int64)
    nothing = np.ones(1)
    for scale in range(points.shape[0]):
        whole = _order_columns(program, length, m, machine, probes[scale], order)
        out[0], out[1] = m, scale
        first = 1.0
        for g in range(points.shape[1]):
            for place in range(m):
                machine.workspace[order[place], 0] = points[scale, g, place]
            value = _at(program, length, machine, nothing)
            if g == 0:
                first = value
            else:
                out[1 + g] = value / first
            whole = whole and abs(value) > 1e-100 and abs(value) < 1e100
        if whole:
            return True
    out[2:] = np.nan
    return False


@kernel()
def _signatures(
    programs: Programs,
    lengths: Lengths,
    widths: Lengths,
    table: TokenTable,
    points: Floats,
    probes: Floats,
    out: Floats,
) -> None:
    machine = make_machine(table, MAX_COLUMNS)
    for p in range(programs.shape[0]):
        if lengths[p] > 0:
            _signature(programs[p], lengths[p], widths[p], machine, points, probes, out[p])


def signatures(forms: Sequence[Form]) -> Floats:
    """Numbers (F, SIGNATURE) that are equal for forms that are the same function of renamed columns, up to a factor.

    A row begins with the number of columns used; NaN where the form is too long or could not be computed anywhere.
    Columns are ordered by what the form does when one or two of them move, so that all renamings meet; two
    columns that no pair of moves tells apart are taken to be interchangeable.

    >>> a = product([(("x", 3), WHOLE), (total([("x", 0), ("x", 7)]), -WHOLE)])
    >>> b = product([(("x", 0), WHOLE), (total([("x", 2), ("x", 1)]), -WHOLE)])
    >>> bool(np.allclose(*signatures([a, b])))
    True
    """
    programs = np.full((len(forms), MAX_FORM), PAD, np.int16)
    lengths, widths = np.zeros(len(forms), np.int64), np.zeros(len(forms), np.int64)
    for p, form in enumerate(forms):
        try:
            program = encode(compact(form))
        except ValueError:  # an exponent that has no name
            continue
        if len(program) <= MAX_FORM:
            programs[p, : len(program)] = program
            lengths[p], widths[p] = len(program), len(columns_of(form))
    out = np.full((len(forms), SIGNATURE), np.nan)
    _signatures(programs, lengths, widths, _LIBRARY.table, _POINTS, _PROBES, out)
    return out


def compact(form: Form) -> Form:
    """The form over columns 0 .. m - 1, those that it uses, in their order.

    Raises:
        ValueError: more columns than ``MAX_COLUMNS``.
    """
    used = sorted(columns_of(form))
    if len(used) > MAX_COLUMNS:
        raise ValueError(f"a form of {len(used)} columns; at most {MAX_COLUMNS}")
    if used == list(range(len(used))):
        return form
    places = {column: place for place, column in enumerate(used)}
    return renamed(form, [places.get(i, 0) for i in range(max(used) + 1)])


def expanded(form: Form) -> Form:
    """The form with whole powers of sums multiplied out; numbers do not count, so (a+b)^2 is a^2+ab+b^2."""
    kind = form[0]
    if kind in ("x", "1"):
        return form
    if kind == "sum":
        return total([expanded(term) for term in form[1]])
    if kind != "product":
        return (kind, expanded(form[1]))
    terms: list[Form] = [("1",)]
    rest = []
    for base, exponent in form[1]:
        inner = expanded(base)
        if inner[0] == "sum" and exponent > 0 and exponent % WHOLE == 0 and exponent <= 3 * WHOLE:
            for _ in range(exponent // WHOLE):
                terms = list({product([(a, WHOLE), (b, WHOLE)]): None for a in terms for b in inner[1]})
                if len(terms) > 24:
                    return form
        else:
            rest.append((inner, exponent))
    return total([product([(term, WHOLE), *rest]) for term in terms])


class FormIndex:
    """A set of forms that recognises every renaming of them, and squares of sums multiplied out.

    >>> index = FormIndex([product([(("x", 0), WHOLE), (("x", 1), -WHOLE)])])
    >>> index.contains([product([(("x", 4), -WHOLE), (("x", 2), WHOLE)]), ("x", 0)]).tolist()
    [True, False]
    """

    def __init__(self, forms: Iterable[Form]):
        every: dict[Form, None] = {}
        for form in forms:
            every[compact(form)] = None
            every[compact(expanded(form))] = None
        self.forms = tuple(every)
        known = signatures(self.forms)
        self._known = known[np.isfinite(known).all(axis=1)]

    def contains(self, forms: Sequence[Form]) -> NDArray[np.bool_]:
        """Which of the forms are in the set, (F,); a form that cannot be computed anywhere counts as in it."""
        found = np.zeros(len(forms), np.bool_)
        small = [compact(form) for form in forms]
        rows = signatures(small)
        found |= ~np.isfinite(rows).all(axis=1)
        _look_up(rows, self._known, found)
        spread = [(p, wide) for p, form in enumerate(small) if (wide := expanded(form)) != form]
        if spread:
            also = np.zeros(len(spread), np.bool_)
            _look_up(signatures([wide for _, wide in spread]), self._known, also)
            found[[p for p, _ in spread]] |= also
        return found


@kernel()
def _look_up(rows: Floats, known: Floats, found: NDArray[np.bool_]) -> None:
    for p in range(rows.shape[0]):
        for k in range(known.shape[0]):
            same = True
            for i in range(rows.shape[1]):
                if not abs(rows[p, i] - known[k, i]) <= TOLERANCE * (abs(rows[p, i]) + abs(known[k, i])):
                    same = False
                    break
            if same:
                found[p] = True
                break
