"""The most probable programs of an expression policy for one table, best first, and samples of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.meta.expression_encoder import CausalLayer, EncodedTable, FormPolicy, TableBatch

Ints = NDArray[np.int64]
Past = tuple[Tensor, Tensor]


class OpenSlots(NamedTuple):
    """The open arguments of P growing programs: stacks of parent, sibling, and whether it is a left one; -1: none."""

    parent: NDArray[np.int16]  # (P, S)
    sibling: NDArray[np.int16]  # (P, S)
    left: NDArray[np.bool_]  # (P, S)
    depth: Ints  # (P,)


def chosen_rows(slots: OpenSlots, rows: Ints) -> OpenSlots:
    """The slots of some of the programs."""
    return OpenSlots(slots.parent[rows], slots.sibling[rows], slots.left[rows], slots.depth[rows])


FillSlots = Callable[[Any, Ints], None]  # puts one token into the next slot of every program (OpenSlots), in place


class Proposals(NamedTuple):
    """Programs of one table, columns by their place in its context."""

    programs: NDArray[np.int16]  # (P, L) padded with -1
    lengths: Ints  # (P,)
    log_prob: NDArray[np.float64]  # (P,)


class Writer:
    """Writes programs for one table, token by token, with keys and values of the tokens before kept.

    Args:
        policy: what says which token comes next.
        table: features of the one table (a batch of 1).
        arity: (n_symbols,) arguments of the symbols.
        fill_slots: how a token changes the open slots.
    """

    def __init__(self, policy: FormPolicy, table: TableBatch, arity: Ints, fill_slots: FillSlots):
        self.policy, self.fill_slots = policy, fill_slots
        self.encoded: EncodedTable = policy.encode(table)
        self.vocabulary = policy.vocabulary(self.encoded)[0]  # (tokens + 1, D)
        self.memories, self.absent = policy.memories(self.encoded)
        self.none = len(self.vocabulary) - 1
        self.arity = torch.zeros(self.none, dtype=torch.long)
        self.arity[: len(arity)] = torch.from_numpy(arity)
        self.written = policy.written(self.vocabulary)
        self.above, self.beside = policy.above(self.vocabulary), policy.beside(self.vocabulary)
        self.keys = policy.key(self.encoded.columns)[0]  # (V, D)

    def start(self, n: int) -> OpenSlots:
        """n programs without tokens."""
        shape = (n, self.policy.max_length + 2)
        none = np.full(shape, -1, np.int16)
        return OpenSlots(none, none.copy(), np.zeros(shape, np.bool_), np.ones(n, np.int64))

    def step(
        self, previous: Tensor | None, slots: OpenSlots, past: list[Past] | None, i: int
    ) -> tuple[Tensor, list[Past]]:
        """Log-probabilities (P, tokens) of token i that still lets the program end in time, and the new past."""
        policy, n = self.policy, len(slots.depth)
        rows, top = np.arange(n), slots.depth - 1
        parent, sibling = (torch.from_numpy(a[rows, top].astype(np.int64)) for a in (slots.parent, slots.sibling))
        depth = torch.from_numpy(slots.depth)
        before = torch.full((n,), self.none) if previous is None else previous
        x = self.written.index_select(0, before) + self.above.index_select(0, self._or_none(parent))
        x = x + self.beside.index_select(0, self._or_none(sibling))
        x = x + policy.open(depth.clamp(max=policy.open.num_embeddings - 1)) + policy.position.weight[i]  # (P, D)
        new: list[Past] = []
        for k, layer in enumerate(policy.layers):
            x, kept = self._through(layer, x, None if past is None else past[k], self.memories[k])  # type: ignore[arg-type]
            new.append(kept)
        hidden = policy.after(x)
        pointed = policy.pointer(hidden) @ self.keys.T / self.keys.shape[-1] ** 0.5
        pointed = pointed.masked_fill(~self.encoded.present, -1e9)
        logits = torch.cat([policy.symbol_head(hidden), pointed], 1)
        room = policy.max_length - i - depth  # tokens left once every open slot has a leaf
        return torch.log_softmax(logits.masked_fill(self.arity > room[:, None], -1e9), 1), new

    def _or_none(self, token: Tensor) -> Tensor:
        """Tokens, with the number of "none" in the place of -1."""
        return token.masked_fill(token < 0, self.none)

    def _through(
        self, layer: CausalLayer, x: Tensor, past: Past | None, memory: tuple[Tensor, ...]
    ) -> tuple[Tensor, Past]:
        """One layer for one more token of each program (P, D); they all look at one table, whose keys serve all."""
        n, width = x.shape
        shape = (n, layer.heads, width // layer.heads)
        q, k, v = (part.reshape(shape) for part in layer.qkv(layer.before(x)).chunk(3, 1))
        k, v = k[:, :, None], v[:, :, None]  # (P, H, 1, d)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        scale = (width // layer.heads) ** -0.5 if layer.attends else 0.0
        weights = torch.softmax((q[:, :, None] * k).sum(-1) * scale, 2)  # (P, H, t)
        x = x + layer.out((weights[..., None] * v).sum(2).reshape(n, width))
        asked = layer.query(layer.between(x)).reshape(shape).transpose(0, 1)  # (H, P, d)
        weights = torch.softmax(asked @ memory[0][0].transpose(1, 2) * scale + self.absent[0], 2)  # (H, P, N)
        x = x + layer.read((weights @ memory[1][0]).transpose(0, 1).reshape(n, width))
        return x + layer.feed(x), (k, v)


@torch.no_grad()
def best_programs(writer: Writer, n: int, width: int | None = None) -> Proposals:
    """About n different programs by a beam of ``width`` (default n), most probable first.

    A program that is not among the ``width`` most probable of its length so far is lost, so that the list need not
    be complete; what it holds is in order. It is empty for a table whose features are not finite, such as that of a
    target of zeros.
    """
    width = width or n
    slots = writer.start(1)
    tokens = np.full((1, writer.policy.max_length), -1, np.int16)
    scores = torch.zeros(1)
    past: list[Past] | None = None
    previous: Tensor | None = None
    done: list[tuple[NDArray[np.int16], NDArray[np.float32]]] = []
    found, bar = 0, -np.inf
    for i in range(writer.policy.max_length):
        log_p, past = writer.step(previous, slots, past, i)
        every = (scores[:, None] + log_p).flatten()
        best, at = every.topk(min(width, len(every)))
        keep = best > max(bar, -1e8)
        best, at = best[keep], at[keep]
        if len(best) == 0:
            break
        row, token = at // log_p.shape[1], at % log_p.shape[1]
        rows, chosen = row.numpy(), token.numpy()
        slots = chosen_rows(slots, rows)
        tokens = tokens[rows]
        tokens[:, i] = chosen
        writer.fill_slots(slots, chosen)
        whole = slots.depth == 0
        if whole.any():
            done.append((tokens[whole], best.numpy()[whole]))
            found += int(whole.sum())
            if found >= n:  # nothing worse than the n-th best so far can get in
                bar = float(np.partition(np.concatenate([s for _, s in done]), -n)[-n])
        alive = np.flatnonzero(~whole)
        alive = alive[best.numpy()[alive] > bar]
        if len(alive) == 0:
            break
        tokens, slots = tokens[alive], chosen_rows(slots, alive)
        scores, previous = best[alive], token[alive]
        source = row[alive]
        past = [(k.index_select(0, source), v.index_select(0, source)) for k, v in past]  # faster than k[source]
    if not done:  # the features of the table are not finite: nothing can be said about it
        return Proposals(tokens[:0], np.empty(0, np.int64), np.empty(0))
    programs = np.concatenate([t for t, _ in done])
    log_prob = np.concatenate([s for _, s in done]).astype(np.float64)
    order = np.argsort(-log_prob, kind="stable")[:n]
    return Proposals(programs[order], (programs[order] >= 0).sum(1), log_prob[order])


@torch.no_grad()
def sample_programs(writer: Writer, n: int, generator: torch.Generator, temperature: float = 1.0) -> Proposals:
    """n programs, each drawn token by token; the same one may come more than once.

    Programs that begin alike go through the network once, until they part.
    """
    slots = writer.start(1)
    tokens = np.full((1, writer.policy.max_length), -1, np.int16)
    total, counts = torch.zeros(1), np.array([n])
    past: list[Past] | None = None
    previous: Tensor | None = None
    done: list[tuple[NDArray[np.int16], NDArray[np.float32]]] = []
    for i in range(writer.policy.max_length):
        log_p, past = writer.step(previous, slots, past, i)
        owner = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        noise = torch.empty(n if i == 0 else len(owner), log_p.shape[1]).exponential_(generator=generator)
        token = (log_p.index_select(0, owner) / temperature - noise.log_()).argmax(1)  # Gumbel's way of drawing
        pairs, counts = np.unique((owner * log_p.shape[1] + token).numpy(), return_counts=True)
        rows, chosen = pairs // log_p.shape[1], pairs % log_p.shape[1]
        total = total[rows] + log_p[rows, chosen]
        slots, tokens = chosen_rows(slots, rows), tokens[rows]
        tokens[:, i] = chosen
        writer.fill_slots(slots, chosen)
        whole = slots.depth == 0
        if whole.any():
            done.append((np.repeat(tokens[whole], counts[whole], 0), np.repeat(total.numpy()[whole], counts[whole])))
        alive = np.flatnonzero(~whole)
        if len(alive) == 0:
            break
        source = torch.from_numpy(rows[alive])
        tokens, slots, counts = tokens[alive], chosen_rows(slots, alive), counts[alive]
        total, previous = total[alive], torch.from_numpy(chosen[alive])
        past = [(k.index_select(0, source), v.index_select(0, source)) for k, v in past]  # faster than k[source]
    programs = np.concatenate([t for t, _ in done])
    return Proposals(programs, (programs >= 0).sum(1), np.concatenate([s for _, s in done]).astype(np.float64))
