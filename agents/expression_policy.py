"""A recurrent policy over expressions in prefix order: it sees the parent and the sibling of the next token.

Petersen et al. (2021), "Deep symbolic regression: Recovering mathematical expressions from data via
risk-seeking policy gradients". The policy knows nothing but the arity of each token.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Context:
    """Parent and sibling of every token of N programs of at most L tokens; the number of tokens where there is none."""

    parent: Ints  # (N, L)
    sibling: Ints  # (N, L)
    open_slots: Ints  # (N, L) arguments still missing before each token, this one included


class _Slots:
    """The arguments that N growing programs still lack, as stacks of (parent, sibling, is it a left argument)."""

    def __init__(self, n: int, length: int, arity: Ints):
        self.arity, self.none = arity, len(arity)
        self.rows = np.arange(n)
        self.parent = np.full((n, length + 2), self.none)
        self.sibling = np.full((n, length + 2), self.none)
        self.left = np.zeros((n, length + 2), dtype=bool)
        self.depth = np.ones(n, dtype=np.int64)

    def top(self) -> tuple[Ints, Ints]:
        """Parent and sibling of the next token, (N,) each."""
        place = np.maximum(self.depth - 1, 0)
        return self.parent[self.rows, place], self.sibling[self.rows, place]

    def put(self, token: Ints) -> None:
        """Fill the next slot of every program that has one."""
        live = self.depth > 0
        rows, depth, chosen = self.rows[live], self.depth[live] - 1, token[live]
        left = self.left[rows, depth]
        self.sibling[rows[left], depth[left] - 1] = chosen[left]  # the right argument lies just below the left one
        arity = self.arity[chosen]
        for k, more in ((0, arity == 2), (1, arity >= 1)):
            at = depth[more] + np.where(arity[more] == 2, k, 0)
            self.parent[rows[more], at] = chosen[more]
            self.sibling[rows[more], at] = self.none
            self.left[rows[more], at] = (k == 1) & (arity[more] == 2)
        self.depth[live] += arity - 1


def contexts(programs: Ints, arity: Ints) -> Context:
    """What the policy saw before each token of programs (N, L) that are padded with -1."""
    n, length = programs.shape
    slots = _Slots(n, length, arity)
    parent, sibling, missing = (np.zeros((n, length), dtype=np.int64) for _ in range(3))
    for i in range(length):
        missing[:, i] = slots.depth
        parent[:, i], sibling[:, i] = slots.top()
        slots.put(programs[:, i])
    return Context(parent, sibling, missing)


class ExpressionPolicy(nn.Module):
    """A GRU that writes programs token by token.

    Args:
        arity: (n,) arguments of each token.
        max_length: longest program it writes.
        hidden: units of the GRU.
        embedding: size of the embeddings of parent and sibling.
    """

    def __init__(self, arity: Ints, max_length: int, hidden: int = 32, embedding: int = 8):
        super().__init__()
        self.arity = np.asarray(arity, dtype=np.int64)
        self.max_length = max_length
        self.embed = nn.Embedding(len(arity) + 1, embedding)
        self.core = nn.GRUCell(2 * embedding, hidden)
        self.head = nn.Linear(hidden, len(arity))
        self.needs: Tensor
        self.register_buffer("needs", torch.tensor(self.arity - 1))

    def _step(self, parent: Tensor, sibling: Tensor, missing: Tensor, i: int, state: Tensor) -> tuple[Tensor, Tensor]:
        """Masked log-probabilities (N, n) of token i and the next state (N, hidden)."""
        state = self.core(torch.cat([self.embed(parent), self.embed(sibling)], dim=1), state)
        left = self.max_length - i - 1  # tokens that may follow
        fits = missing[:, None] + self.needs[None] <= left  # (N, n) every open slot can still get a leaf
        return torch.log_softmax(self.head(state).masked_fill(~fits, -1e9), dim=1), state

    def _start(self, n: int) -> Tensor:
        return torch.zeros(n, self.core.hidden_size)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator) -> NDArray[np.int16]:
        """n whole programs, (n, max_length) padded with -1."""
        slots = _Slots(n, self.max_length, self.arity)
        programs = np.full((n, self.max_length), -1, dtype=np.int16)
        state = self._start(n)
        for i in range(self.max_length):
            live = slots.depth > 0
            if not live.any():
                break
            parent, sibling = (torch.from_numpy(part) for part in slots.top())
            log_p, state = self._step(parent, sibling, torch.from_numpy(np.maximum(slots.depth, 1)), i, state)
            token = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0].numpy()
            programs[live, i] = token[live]
            slots.put(token)
        return programs

    def log_prob(self, programs: NDArray[np.int16]) -> tuple[Tensor, Tensor]:
        """Log-probability and summed entropy of programs (N, L) padded with -1; (N,) each."""
        tokens = programs.astype(np.int64)
        context = contexts(np.maximum(tokens, 0), self.arity)
        n, length = tokens.shape
        state = self._start(n)
        total, entropy = torch.zeros(n), torch.zeros(n)
        for i in range(length):
            live = torch.from_numpy(tokens[:, i] >= 0)
            if not bool(live.any()):
                break
            parent, sibling = torch.from_numpy(context.parent[:, i]), torch.from_numpy(context.sibling[:, i])
            missing = torch.from_numpy(np.maximum(context.open_slots[:, i], 1))
            log_p, state = self._step(parent, sibling, missing, i, state)
            chosen = torch.from_numpy(np.maximum(tokens[:, i], 0))
            total = total + torch.where(live, log_p.gather(1, chosen[:, None])[:, 0], 0.0)
            entropy = entropy + torch.where(live, -(log_p.exp() * log_p.clamp(min=-1e3)).sum(1), 0.0)
        return total, entropy
