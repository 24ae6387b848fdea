"""One table, seen through many targets: forms of y, of 1/y, of y over a column, ... make one list.

A prior that does not know what y is may know what ``1/y`` or ``y/x0`` is, and says so with a high probability. Each
view's forms are turned back into forms of y; forms are ranked by their mean probability over the views, so that what
several of them agree on comes first. This is augmentation at test time: nothing is learnt. Which columns are taken
out of the target, or put together to one, is what ``reductions.py`` finds in the table.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.meta.expression_encoder import FormPolicy
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


def propose_through_views(policy: FormPolicy, X: Values, y: Values, n: int) -> tuple[Programs, Values]:
    """The n forms over the columns of X (r, d) that are most probable on average over the views, in normal order.

    Returns:
        Programs (P, L), padded, and the logarithms of their mean probabilities (P,); views that do not list a form
        count as if it were impossible there.
    """
    scores: dict[bytes, float] = {}
    n_views = 0
    rows = spread_rows(len(y), ROWS)
    X, y = X[rows], y[rows]
    for view in views_of(X, y) if n else ():
        target = view.target(y)
        if target is None:
            continue
        n_views += 1
        many = n if view.plain else max(LEAST, int(PART * n))
        for program, log_prob in zip(*_seen_through(policy, view, target, many), strict=True):
            key = program.tobytes()
            scores[key] = np.logaddexp(scores.get(key, -np.inf), log_prob)
    order = sorted(scores, key=lambda key: -scores[key])[:n]
    programs = np.array([np.frombuffer(key, np.int16) for key in order], np.int16).reshape(-1, MAX_FORM)
    return programs, np.array([scores[key] for key in order]) - np.log(max(n_views, 1))


def _seen_through(policy: FormPolicy, view: View, target: Values, n: int) -> tuple[Programs, Values]:
    """About n forms of y (P, MAX_FORM) that one view proposes, and their log-probabilities there."""
    context = context_of(view.table.columns(), target)
    found = propose(policy, table_batch(context), n)
    programs, log_prob = distinct(renamed(found.programs, context.order[0]), found.log_prob, n)
    written, kept = [], []
    for program, value in zip(programs, log_prob, strict=True):
        try:
            form = view.back(decode(program[program != PAD]))
            tokens = encode(form)
        except ValueError:
            continue
        if len(tokens) <= MAX_FORM and (view.plain or columns_of(form)):
            written.append(tokens)
            kept.append(value)
    return distinct(_padded(written), np.array(kept), n)


def _padded(programs: list[NDArray[np.int16]]) -> Programs:
    """Programs of any lengths as (P, MAX_FORM), in normal order."""
    out = np.full((len(programs), MAX_FORM), PAD, np.int16)
    for row, tokens in zip(out, programs, strict=True):
        row[: len(tokens)] = tokens
    return renamed(out, np.arange(MAX_COLUMNS))
