"""One table, seen through many targets: forms of y, of 1/y, of y over a column, ... make one list.

A prior that does not know what y is may know what ``1/y`` or ``y/x0`` is, and says so with a high probability. Each
view's forms are turned back into forms of y; forms are ranked by their mean probability over the views, so that what
several of them agree on comes first. This is augmentation at test time: nothing is learnt. Which columns are taken
out of the target, or put together to one, is what ``reductions.py`` finds in the table.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.meta.expression_encoder import FormPolicy
from envs.symbolic.context import Context
from envs.symbolic.form_programs import MAX_COLUMNS, MAX_FORM
from envs.symbolic.law_forms import WHOLE, Form, columns_of, decode, encode, product
from envs.symbolic.law_tables import ROWS
from envs.symbolic.tokens import PAD
from rl_suite.symbolic.prior import (
    Programs,
    Values,
    context_of,
    distinct,
    propose,
    renamed,
    spread_rows,
    table_batch,
)
from rl_suite.symbolic.reductions import Reduced, reductions, whole_table

PART = 0.3  # of the programs that are asked for, those that every view but the plain one proposes
LEAST = 20  # programs of a view
FLAT = 1e-9  # a target whose spread is a smaller share of its largest value says nothing
WHOLE_POWERS = (1, 2, -1, -2)  # of the whole table's target; chosen on the laws held out from training
REDUCED_POWERS = (1, -1, 2)


class View(NamedTuple):
    """The target ``(y / factor) ** power`` over the columns of a table that may be a reduced one."""

    table: Reduced
    power: int = 1

    @property
    def plain(self) -> bool:
        """Whether it shows y itself over the columns as they are."""
        return self.power == 1 and not self.table.powers and all(part.form[0] == "x" for part in self.table.parts)

    def target(self, y: Values) -> Values | None:
        """The values that are shown (n,), or None where they are not finite or all alike; y itself is always shown."""
        if self.plain:
            return y
        with np.errstate(all="ignore"):
            shown: Values = (y / self.table.factor) ** float(self.power)
            spread = shown.std()
        usable = np.isfinite(shown).all() and np.isfinite(spread) and spread > FLAT * np.abs(shown).max()
        return shown if usable else None

    def back(self, form: Form) -> Form:
        """The form of y, where the target has this one.

        Raises:
            ValueError: it cannot be written as a form.
        """
        return self.table.back(product([(form, WHOLE // self.power)]))


def views_of(X: Values, y: Values) -> Iterator[View]:
    """The plain view first, then powers of y, then those of reduced tables."""
    for power in WHOLE_POWERS:
        yield View(whole_table(X), power)
    for table in reductions(X, y):
        for power in REDUCED_POWERS:
            yield View(table, power)


class Shown(NamedTuple):
    """A view of one table as a policy sees it."""

    view: View
    context: Context


class Listing(NamedTuple):
    """Forms of y, most probable first."""

    programs: Programs  # (P, MAX_FORM) over the table's columns, in normal order
    log_prob: Values  # (P,) the logarithm of the mean probability over the views
    view: NDArray[np.int64]  # (P,) where each is most probable
    written: Programs  # (P, MAX_FORM) what is written there, over that view's columns


def shown_views(X: Values, y: Values) -> list[Shown]:
    """The views of X (n, d), y (n,) that say something, the plain one first."""
    rows = spread_rows(len(y), ROWS)
    X, y = X[rows], y[rows]
    targets = [(view, view.target(y)) for view in views_of(X, y)]
    return [Shown(view, context_of(view.table.columns(), target)) for view, target in targets if target is not None]


def propose_through_views(policy: FormPolicy, X: Values, y: Values, n: int) -> tuple[Programs, Values]:
    """The n forms over the columns of X (r, d) that are most probable on average over the views, in normal order.

    Returns:
        Programs (P, L), padded, and the logarithms of their mean probabilities (P,); views that do not list a form
        count as if it were impossible there.
    """
    found = listed(policy, shown_views(X, y) if n else [], n)
    return found.programs, found.log_prob


def listed(policy: FormPolicy, shown: Sequence[Shown], n: int) -> Listing:
    """The n forms that are most probable on average over views of one table."""
    scores: dict[bytes, float] = {}
    nearest: dict[bytes, tuple[float, int, bytes]] = {}
    for k, (view, context) in enumerate(shown):
        many = n if view.plain else max(LEAST, int(PART * n))
        for program, written, log_prob in zip(*_seen_through(policy, view, context, many), strict=True):
            key = program.tobytes()
            scores[key] = np.logaddexp(scores.get(key, -np.inf), log_prob)
            nearest[key] = max(nearest.get(key, (-np.inf, 0, b"")), (float(log_prob), k, written.tobytes()))
    order = sorted(scores, key=lambda key: -scores[key])[:n]
    return Listing(
        _unpacked(order),
        np.array([scores[key] for key in order]) - np.log(max(len(shown), 1)),
        np.array([nearest[key][1] for key in order], np.int64),
        _unpacked([nearest[key][2] for key in order]),
    )


def _unpacked(rows: list[bytes]) -> Programs:
    return np.array([np.frombuffer(row, np.int16) for row in rows], np.int16).reshape(-1, MAX_FORM)


def _seen_through(policy: FormPolicy, view: View, context: Context, n: int) -> tuple[Programs, Programs, Values]:
    """About n forms of y (P, MAX_FORM) that one view proposes, what is written there, and their log-probabilities."""
    found = propose(policy, table_batch(context), n)
    programs, log_prob = distinct(renamed(found.programs, context.order[0]), found.log_prob, n)
    different: dict[Form, int] = {}
    tokens = []
    for i, program in enumerate(programs):
        try:
            form = view.back(decode(program[program != PAD]))
            encoded = encode(form)
        except ValueError:
            continue
        if form not in different and len(encoded) <= MAX_FORM and (view.plain or columns_of(form)):
            different[form] = i
            tokens.append(encoded)
    kept = np.array(list(different.values()), np.int64)
    written = np.full((len(kept), MAX_FORM), PAD, np.int16)
    written[:, : programs.shape[1]] = programs[kept]
    return _padded(tokens), written, log_prob[kept]


def _padded(programs: list[NDArray[np.int16]]) -> Programs:
    """Programs of any lengths as (P, MAX_FORM), in normal order."""
    out = np.full((len(programs), MAX_FORM), PAD, np.int16)
    for row, tokens in zip(out, programs, strict=True):
        row[: len(tokens)] = tokens
    return renamed(out, np.arange(MAX_COLUMNS))
