"""A learned prior over the forms of laws: it looks at a table once and lists forms, most probable first.

A prior is one safetensors file: the weights of a :class:`agents.meta.expression_encoder.FormPolicy`, and beside
them, as JSON, its sizes and the tokens it writes. It is data: nothing in it is imported or run.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.meta.expression_beam import Proposals, Writer, best_programs
from agents.meta.expression_encoder import FormPolicy, PrefixBatch, TableBatch
from envs.symbolic.context import COLUMN_FEATURES, LEAST_ROWS, PAIR_FEATURES, TABLE_FEATURES, Context, contexts
from envs.symbolic.fitted_forms import fit_forms, scaled
from envs.symbolic.form_prefixes import NONE, fill_slots, prefixes_of
from envs.symbolic.form_programs import ARITY, FIRST_VARIABLE, MAX_COLUMNS, normal_order
from envs.symbolic.law_forms import form_library
from envs.symbolic.law_generator import MAX_TOKENS
from envs.symbolic.law_tables import ROWS
from envs.symbolic.tokens import PAD
from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.reading import read_bytes
from rl_suite.symbolic.data import SHIPPED
from rl_suite.tensor_file import pack, unpack

_log = logging.getLogger(__name__)
Values = NDArray[np.float64]
Programs = NDArray[np.int16]

FEATURES = (TABLE_FEATURES, COLUMN_FEATURES, PAIR_FEATURES)
SYMBOLS = tuple(token.name for token in form_library(1).tokens[:FIRST_VARIABLE])
FORMAT = "rl_suite prior 1"
SHIPPED_FILE = Path(__file__).parent / "priors" / "forms.safetensors"
MOST_BYTES = 64_000_000
SPARE = 1.2  # a beam is so much wider than what is asked for: two orders of one sum are one program


@dataclass(frozen=True)
class Shape:
    """Sizes of the network of a prior."""

    width: int = 64
    heads: int = 4
    column_layers: int = 2
    token_layers: int = 2
    attends: bool = True
    uses_context: bool = True

    def build(self) -> FormPolicy:
        """A network of these sizes with fresh weights."""
        return FormPolicy(
            FEATURES,
            FIRST_VARIABLE,
            MAX_COLUMNS,
            MAX_TOKENS,
            self.width,
            self.heads,
            (self.column_layers, self.token_layers),
            attends=self.attends,
            uses_context=self.uses_context,
        )


class Candidates(NamedTuple):
    """Forms fitted to a table, in the order in which they were proposed."""

    programs: Programs  # (P, L) forms over the table's columns
    lengths: NDArray[np.int64]  # (P,)
    log_prob: Values  # (P,)
    dressed: Programs  # (P, M) with their constants' tokens
    sizes: NDArray[np.int64]  # (P,)
    constants: Values  # (P, k), for columns and target divided by their root mean squares
    nmse: Values  # (P,) mean squared error over the target's variance


class Prior:
    """A trained policy over forms.

    Args:
        policy: the network.
        shape: its sizes.
        facts: what is known of its training, as plain values.
    """

    def __init__(self, policy: FormPolicy, shape: Shape, facts: dict[str, Any] | None = None):
        self.policy, self.shape, self.facts = policy.eval(), shape, dict(facts or {})

    def save(self, path: Path) -> None:
        """Write weights and sizes as one file."""
        about = {"format": FORMAT, "symbols": SYMBOLS, "features": FEATURES, "columns": MAX_COLUMNS}
        about |= {"shape": vars(self.shape), "facts": self.facts}
        write_atomically(path, pack(self.policy.state_dict(), {"about": json.dumps(about)}))

    @staticmethod
    def load(path: Path) -> "Prior":
        """Read what :meth:`save` wrote, or the shipped prior if the path is ``shipped``.

        Raises:
            UserError: no such file, none of this suite's priors, or one that was trained for other tokens.
        """
        path = SHIPPED_FILE if str(path) == SHIPPED else path
        content = read_bytes(path, MOST_BYTES)
        try:
            weights, metadata = unpack(content)
            about = json.loads(metadata["about"])
            if about["format"] != FORMAT:
                raise UserError(f"{path}: written as {about['format']!r}; this program reads {FORMAT!r}")
            if tuple(about["symbols"]) != SYMBOLS or tuple(about["features"]) != FEATURES:
                raise UserError(f"{path}: a prior of another token library; train one with experiment=meta_symbolic")
            shape = Shape(**about["shape"])
            if not (0 < shape.width <= 1024 and 0 <= max(shape.column_layers, shape.token_layers) <= 24):
                raise ValueError("sizes that no prior has")
            policy = shape.build()
            policy.load_state_dict(weights)
            facts = about["facts"]
            if not (isinstance(facts, dict) and shape.attends in (True, False) and shape.uses_context in (True, False)):
                raise TypeError("facts that no prior has")
        except (KeyError, TypeError, ValueError, RuntimeError, RecursionError):
            raise UserError(f"{path}: not a prior of this suite, or damaged") from None
        if not all(bool(torch.isfinite(w).all()) for w in weights.values()):
            raise UserError(f"{path}: its weights are not finite")
        return Prior(policy, shape, facts)

    def refuses(self, n_columns: int, n_rows: int) -> str:
        """Why tables of so many columns and rows are beyond it, in one line; empty if they are not."""
        if n_columns <= MAX_COLUMNS and n_rows >= LEAST_ROWS:
            return ""
        known = f"at most {MAX_COLUMNS} columns and at least {LEAST_ROWS} rows"
        return f"the prior knows tables of {known}, not {n_columns} and {n_rows}: the search runs without it"

    def propose(self, X: Values, y: Values, n: int) -> tuple[Programs, Values]:
        """About n different forms over the columns of X (n, d), most probable first, and their log-probabilities."""
        context = context_of(X, y)
        found = propose(self.policy, table_batch(context), n)
        return distinct(renamed(found.programs, context.order[0]), found.log_prob, n)

    def candidates(self, X: Values, y: Values, n: int, seed: int = 0) -> Iterator[Candidates]:
        """Proposed forms with constants fitted to X (n, d), y (n,), a few at a time."""
        programs, log_prob = self.propose(X, y, n)
        yield from fitted(programs, log_prob, X, y, seed)


def prior_for(path: Path, n_columns: int, n_rows: int) -> Prior | None:
    """The prior of a file, or None with one line in the log where tables of such sizes are not for it."""
    prior = Prior.load(path)
    refused = prior.refuses(n_columns, n_rows)
    if refused:
        _log.warning("%s", refused)
    return None if refused else prior


CHUNK = 100  # forms fitted at a time
FIT_ROWS = 200  # rows that constants are fitted to


def fitted(programs: Programs, log_prob: Values, X: Values, y: Values, seed: int) -> Iterator[Candidates]:
    """Constants of forms over the columns of X, ``CHUNK`` forms at a time."""
    rows = spread_rows(len(y), FIT_ROWS)
    data = scaled(X[rows], y[rows])
    variance = float(data.target.var()) or 1.0
    for start in range(0, len(programs), CHUNK):
        part = programs[start : start + CHUNK]
        lengths = (part != PAD).sum(axis=1)
        dressed, sizes, fits = fit_forms(part, lengths, data, seed)
        nmse = fits.mean_square / variance
        yield Candidates(part, lengths, log_prob[start : start + CHUNK], dressed, sizes, fits.constants, nmse)


def propose(policy: FormPolicy, table: TableBatch, n: int) -> Proposals:
    """Programs of one table, columns by their place in its context."""
    with torch.no_grad():
        writer = Writer(policy, table, ARITY[:FIRST_VARIABLE], fill_slots)
        return best_programs(writer, int(n * SPARE) + 2)


def spread_rows(n: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` rows, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def context_of(X: Values, y: Values) -> Context:
    """What a prior sees of a table X (n, d), y (n,)."""
    rows = spread_rows(len(y), ROWS)
    return contexts(X[rows].T[None], y[rows][None], np.array([X.shape[1]]))


def table_batch(context: Context, rows: NDArray[np.int64] | None = None) -> TableBatch:
    """Features of some tables of a context as tensors, as many columns as the widest of them has."""
    rows = np.arange(len(context.width)) if rows is None else rows
    most = int(context.width[rows].max())
    present = np.arange(most)[None] < context.width[rows][:, None]
    parts = (context.table[rows], context.column[rows, :most], context.pair[rows, :most, :most], present)
    return TableBatch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


def renamed(programs: Programs, order: NDArray[np.int64]) -> Programs:
    """Programs over places of a context -> programs over the table's columns, in normal order."""
    out = np.full_like(programs, PAD)
    names = np.concatenate([np.arange(FIRST_VARIABLE), FIRST_VARIABLE + order])
    for draft, row in zip(programs, out, strict=True):
        length = int((draft != PAD).sum())
        normal_order(names[draft[:length]].astype(np.int16), length, row)
    return out


def prefix_of(
    programs: Programs, order: NDArray[np.int64], n_places: int
) -> tuple[Programs, PrefixBatch, torch.Tensor]:
    """Programs over the table's columns as a policy learns them: over places, prefixes, and next tokens (B, L).

    Args:
        programs: (P, L), padded with -1.
        order: (V,) column of each place of the context.
        n_places: how many of the places hold a column.
    """
    back = np.arange(FIRST_VARIABLE + int(order.max()) + 1)
    for place in range(n_places - 1, -1, -1):
        back[FIRST_VARIABLE + order[place]] = FIRST_VARIABLE + place
    lengths = (programs != PAD).sum(axis=1)
    places = np.full_like(programs, PAD)
    for draft, row, length in zip(programs, places, lengths, strict=True):
        normal_order(back[draft[:length]].astype(np.int16), int(length), row)
    prefixes = prefixes_of(places, lengths)
    none = FIRST_VARIABLE + n_places
    known = [torch.from_numpy(np.where(part == NONE, none, part).astype(np.int64)) for part in prefixes[:3]]
    prefix = PrefixBatch(known[0], known[1], known[2], torch.from_numpy(prefixes.open_slots.astype(np.int64)))
    return places, prefix, torch.from_numpy(places.astype(np.int64))


def log_probabilities(policy: FormPolicy, context: Context, programs: Programs) -> Values:
    """Of programs (P, L) over the columns of the one table that a context holds, (P,)."""
    table = table_batch(context)
    _, prefix, target = prefix_of(programs, context.order[0], int(context.width[0]))
    with torch.no_grad():
        logits = policy(repeated(table, len(programs)), prefix).log_softmax(-1)
    chosen = logits.gather(2, target.clamp_min(0)[..., None])[..., 0] * (target >= 0)
    total: Values = chosen.sum(1).double().numpy()
    return total


def repeated(table: TableBatch, n: int) -> TableBatch:
    """One table n times, without a copy."""
    return TableBatch(*(part.expand(n, *part.shape[1:]) for part in table))


def propose_together(members: Sequence[tuple[FormPolicy, Context]], n: int) -> tuple[Programs, Values]:
    """The n programs over a table's columns that are most probable on average over members.

    Members are policies, or contexts made of other rows of the same table; each proposes n, all judge them all.
    """
    lists = []
    for policy, context in members:
        found = propose(policy, table_batch(context), n)
        lists.append(distinct(renamed(found.programs, context.order[0]), found.log_prob, n)[0])
    widest = max(part.shape[1] for part in lists)
    every = np.concatenate([np.pad(p, ((0, 0), (0, widest - p.shape[1])), constant_values=PAD) for p in lists])
    programs, _ = distinct(every, np.zeros(len(every)), len(every))
    judged = np.stack([log_probabilities(policy, context, programs) for policy, context in members])
    together = np.logaddexp.reduce(judged, axis=0) - np.log(len(members))
    best = np.argsort(-together, kind="stable")[:n]
    return programs[best], together[best]


def distinct(programs: Programs, log_prob: Values, n: int) -> tuple[Programs, Values]:
    """The first n programs (P, L) of which no equal came before; they must be in normal order."""
    seen: dict[bytes, int] = {}
    for i, row in enumerate(programs):
        seen.setdefault(row.tobytes(), i)
    first = np.array(list(seen.values())[:n], np.int64)
    return programs[first], log_prob[first]
