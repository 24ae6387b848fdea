"""How a policy sees the table of a law, and how it learns from programs there."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from agents.meta.expression_encoder import FormPolicy
from envs.symbolic.context import Context
from envs.symbolic.tokens import PAD
from rl_suite.symbolic.prior import (
    Programs,
    Values,
    context_of,
    distinct,
    prefix_of,
    propose,
    renamed,
    repeated,
    table_batch,
)
from rl_suite.symbolic.target_views import listed, shown_views

Names = NDArray[np.int64]


class Sight(ABC):
    """A table X (n, d), y (n,) whose column i is called ``names[i]`` in programs."""

    @abstractmethod
    def __init__(self, X: Values, y: Values, names: Names): ...

    @abstractmethod
    def propose(self, policy: FormPolicy, n: int) -> tuple[Programs, Values]:
        """About n programs (P, L), most probable first, and their log-probabilities (P,)."""

    @abstractmethod
    def loss(self, policy: FormPolicy, programs: Programs) -> Tensor:
        """Mean negative log-probability () of the tokens of programs that were proposed before."""


class OneTarget(Sight):
    """The table as it is."""

    def __init__(self, X: Values, y: Values, names: Names):
        self._context = context_of(X, y)
        width = X.shape[1]
        self._order = self._context.order[0].copy()
        self._order[:width] = names[self._order[:width]]

    def propose(self, policy: FormPolicy, n: int) -> tuple[Programs, Values]:
        """By the policy alone."""
        found = propose(policy, table_batch(self._context), n)
        return distinct(renamed(found.programs, self._order), found.log_prob, len(found.programs))

    def loss(self, policy: FormPolicy, programs: Programs) -> Tensor:
        """All programs on the one table."""
        total, tokens = _loss(policy, self._context, self._order, programs)
        return total / tokens


class ManyTargets(Sight):
    """The table through many targets; a program is learnt where it was most probable, as it was written there."""

    def __init__(self, X: Values, y: Values, names: Names):
        self._shown = shown_views(X, y)
        self._names = names
        self._written: dict[bytes, tuple[int, Programs]] = {}

    def propose(self, policy: FormPolicy, n: int) -> tuple[Programs, Values]:
        """What the views agree on."""
        found = listed(policy, self._shown, n)
        programs = renamed(found.programs, self._names)
        for program, view, written in zip(programs, found.view, found.written, strict=True):
            self._written.setdefault(program.tobytes(), (int(view), written))
        return programs, found.log_prob

    def loss(self, policy: FormPolicy, programs: Programs) -> Tensor:
        """Each program on the table of its view."""
        groups: dict[int, list[Programs]] = {}
        for program in programs:
            view, written = self._written[program.tobytes()]
            groups.setdefault(view, []).append(written)
        parts = []
        for view, own in groups.items():
            context = self._shown[view].context
            parts.append(_loss(policy, context, context.order[0], np.stack(own)))
        return torch.stack([total for total, _ in parts]).sum() / sum(tokens for _, tokens in parts)


def _loss(policy: FormPolicy, context: Context, order: Names, programs: Programs) -> tuple[Tensor, int]:
    """Summed negative log-probability () of programs on one table, and the number of their tokens."""
    table: Any = table_batch(context)
    longest = int((programs != PAD).sum(axis=1).max())
    _, prefix, target = prefix_of(programs[:, :longest], order, table.present.shape[1])
    logits = policy(repeated(table, len(programs)), prefix)
    return cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum"), int(
        (target >= 0).sum()
    )
