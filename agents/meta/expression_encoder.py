"""A network that sees a table and writes an expression: attention over columns, then over the tokens written so far.

A column has no name: its vector is made of what it holds, is the embedding of its token where the expression
uses it, and is the key of that token where the next one is chosen (a pointer, Vinyals et al. 2015). So the
network works for any number of columns in any order. Pairs of columns speak to each other through features
of their own, which bias the attention between them and are part of what is passed on.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class TableBatch(NamedTuple):
    """Features of B tables of at most V columns."""

    table: Tensor  # (B, F0)
    column: Tensor  # (B, V, F1)
    pair: Tensor  # (B, V, V, F2)
    present: Tensor  # (B, V) bool


class PrefixBatch(NamedTuple):
    """Tokens written so far and the slot that comes next, for each of L steps of B programs.

    Ids below ``n_symbols`` are operations and numbers, ``n_symbols + v`` is column v; ``n_symbols + V`` stands
    for none (before the first token, no parent, no sibling).
    """

    previous: Tensor  # (B, L) the token before
    parent: Tensor  # (B, L)
    sibling: Tensor  # (B, L)
    open_slots: Tensor  # (B, L) arguments still missing, the next included


class EncodedTable(NamedTuple):
    """What the encoder makes of B tables."""

    summary: Tensor  # (B, D)
    columns: Tensor  # (B, V, D)
    present: Tensor  # (B, V) bool


MOST_OPEN = 15  # open slots that the embedding tells apart


class PairAttention(nn.Module):
    """Self-attention over the table and its columns, with features of pairs in weights and values."""

    def __init__(self, width: int, heads: int, pair_width: int, attends: bool = True):
        super().__init__()
        self.heads, self.attends = heads, attends
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(pair_width, heads)
        self.message = nn.Linear(pair_width, width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, pair: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, N, D), pair (B, N, N, P), absent (B, N) -> the same shape, and attention (B, heads, N, N)."""
        b, n, d = x.shape
        q, k, v = self.qkv(self.before(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5 + self.bias(pair).permute(0, 3, 1, 2)
        weights = (score if self.attends else 0.0 * score).masked_fill(absent[:, None, None, :], -1e9).softmax(-1)
        passed = (weights @ v).transpose(1, 2).reshape(b, n, d)
        said = torch.einsum("bhij,bijp->bihp", weights, pair).mean(2)  # (B, N, P) what the pairs hold, as weighed
        x = x + self.out(passed) + self.message(said)
        return x + self.feed(x), weights


class TableEncoder(nn.Module):
    """Features of a table -> a vector for it and one for each column.

    Args:
        features: numbers of features of the table, of a column and of a pair.
        width: of the vectors.
        heads: of the attention.
        layers: of attention.
        max_columns: most columns.
        attends: False: every column counts the same, in the place of attention.
    """

    def __init__(
        self,
        features: tuple[int, int, int],
        width: int,
        heads: int,
        layers: int,
        max_columns: int,
        attends: bool = True,
    ):
        super().__init__()
        table, column, pair = features
        self.table = nn.Sequential(nn.Linear(table, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.column = nn.Sequential(nn.Linear(column, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.pair = nn.Sequential(nn.Linear(pair, width // 2), nn.GELU(), nn.Linear(width // 2, width // 2))
        self.rank = nn.Embedding(max_columns, width)
        self.layers = nn.ModuleList(PairAttention(width, heads, width // 2, attends) for _ in range(layers))
        self.after = nn.LayerNorm(width)

    def forward(self, batch: TableBatch) -> EncodedTable:
        """Vectors of B tables."""
        _b, v, _ = batch.column.shape
        columns = self.column(batch.column) + self.rank.weight[:v]
        x = torch.cat([self.table(batch.table)[:, None], columns], 1)  # (B, 1 + V, D)
        pair = functional.pad(self.pair(batch.pair), (0, 0, 1, 0, 1, 0))  # the table has no pairs
        absent = functional.pad(~batch.present, (1, 0))
        for layer in self.layers:
            x, _ = layer(x, pair, absent)
        x = self.after(x)
        return EncodedTable(x[:, 0], x[:, 1:], batch.present)


class CausalLayer(nn.Module):
    """Attention over the tokens so far, then over the columns, then a perceptron."""

    def __init__(self, width: int, heads: int, attends: bool = True):
        super().__init__()
        self.heads, self.attends = heads, attends
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.key_value, self.read = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(width, width),
        )
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, N, parts * D) -> parts tensors (B, heads, N, D / heads)."""
        b, n, d = x.shape
        return x.view(b, n, parts, self.heads, d // parts // self.heads).permute(2, 0, 3, 1, 4).unbind(0)

    def memory(self, columns: Tensor) -> tuple[Tensor, ...]:
        """Keys and values of the columns, made once per table."""
        return self.split(self.key_value(columns), 2)

    def look(self, x: Tensor, memory: tuple[Tensor, ...], absent: Tensor) -> Tensor:
        """Cross-attention and perceptron, (B, L, D); absent (B, 1, 1, N) additive."""
        (q,) = self.split(self.query(self.between(x)), 1)
        q = q if self.attends else 0.0 * q
        seen = functional.scaled_dot_product_attention(q, memory[0], memory[1], attn_mask=absent)
        x = x + self.read(seen.transpose(1, 2).reshape(x.shape))
        looked: Tensor = x + self.feed(x)
        return looked

    def weights(self, x: Tensor, memory: tuple[Tensor, ...], absent: Tensor) -> tuple[Tensor, Tensor]:
        """Where :meth:`forward` looks: at the tokens (B, heads, L, L), then at the columns (B, heads, L, N)."""
        scale = (x.shape[2] // self.heads) ** -0.5 if self.attends else 0.0
        q, k, v = self.split(self.qkv(self.before(x)), 3)
        later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=x.device).triu(1)
        tokens = (q @ k.transpose(-1, -2) * scale).masked_fill(later, -1e9).softmax(-1)
        x = x + self.out((tokens @ v).transpose(1, 2).reshape(x.shape))
        (q,) = self.split(self.query(self.between(x)), 1)
        return tokens, (q @ memory[0].transpose(-1, -2) * scale + absent).softmax(-1)

    def forward(self, x: Tensor, memory: tuple[Tensor, ...], absent: Tensor) -> Tensor:
        """A whole sequence at once, (B, L, D)."""
        q, k, v = self.split(self.qkv(self.before(x)), 3)
        q = q if self.attends else 0.0 * q
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        return self.look(x, memory, absent)


class FormPolicy(nn.Module):
    """Probabilities of the next token of an expression, given a table and the tokens so far.

    Args:
        features: numbers of features of a table, a column and a pair.
        n_symbols: operations and numbers; columns come behind.
        max_columns: most columns of a table.
        max_length: most tokens of an expression.
        width, heads: of all attention.
        layers: of attention over columns, and over tokens.
        attends: False: means in the place of all attention, the control for what it is worth.
        uses_context: False: the table is not looked at, only how many columns it has.
    """

    def __init__(
        self,
        features: tuple[int, int, int],
        n_symbols: int,
        max_columns: int,
        max_length: int,
        width: int = 64,
        heads: int = 4,
        layers: tuple[int, int] = (2, 2),
        attends: bool = True,
        uses_context: bool = True,
    ):
        super().__init__()
        self.n_symbols, self.max_columns, self.max_length = n_symbols, max_columns, max_length
        self.uses_context = uses_context
        self.encoder = TableEncoder(features, width, heads, layers[0], max_columns, attends)
        self.symbols = nn.Embedding(n_symbols + 1, width)  # the last: none
        self.written, self.above, self.beside = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.open = nn.Embedding(MOST_OPEN + 1, width)
        self.position = nn.Embedding(max_length, width)
        self.layers = nn.ModuleList(CausalLayer(width, heads, attends) for _ in range(layers[1]))
        self.after = nn.LayerNorm(width)
        self.symbol_head = nn.Linear(width, n_symbols)
        self.pointer, self.key = nn.Linear(width, width), nn.Linear(width, width)

    def encode(self, batch: TableBatch) -> EncodedTable:
        """Vectors of B tables."""
        if not self.uses_context:
            batch = TableBatch(
                torch.zeros_like(batch.table),
                torch.zeros_like(batch.column),
                torch.zeros_like(batch.pair),
                batch.present,
            )
        encoded: EncodedTable = self.encoder(batch)
        return encoded

    def vocabulary(self, encoded: EncodedTable) -> Tensor:
        """Embeddings (B, n_symbols + V + 1, D) of all tokens, that for none at the end."""
        b = len(encoded.summary)
        symbols = self.symbols.weight[None].expand(b, -1, -1)
        return torch.cat([symbols[:, :-1], encoded.columns, symbols[:, -1:]], 1)

    def inputs(self, vocabulary: Tensor, prefix: PrefixBatch, first: int = 0) -> Tensor:
        """Vectors (B, L, D) of the steps ``first`` .. of each program."""
        rows = torch.arange(len(vocabulary), device=vocabulary.device)[:, None]
        x = self.written(vocabulary)[rows, prefix.previous]
        x = x + self.above(vocabulary)[rows, prefix.parent] + self.beside(vocabulary)[rows, prefix.sibling]
        x = x + self.open(prefix.open_slots.clamp(max=MOST_OPEN))
        vectors: Tensor = x + self.position.weight[first : first + x.shape[1]]
        return vectors

    def next_token(self, hidden: Tensor, columns: Tensor, present: Tensor) -> Tensor:
        """Logits (B, L, n_symbols + V) of vectors (B, L, D); absent columns have none."""
        hidden = self.after(hidden)
        keys = self.key(columns)
        pointed = self.pointer(hidden) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5
        pointed = pointed.masked_fill(~present[:, None, :], -1e9)
        return torch.cat([self.symbol_head(hidden), pointed], -1)

    def memories(self, encoded: EncodedTable) -> tuple[list[tuple[Tensor, ...]], Tensor]:
        """Keys and values of table and columns for every layer, and which of them are absent (additive)."""
        seen = torch.cat([encoded.summary[:, None], encoded.columns], 1)
        absent = functional.pad(
            torch.zeros_like(encoded.present, dtype=seen.dtype).masked_fill(~encoded.present, -1e9), (1, 0)
        )
        return [layer.memory(seen) for layer in self.layers], absent[:, None, None, :]  # type: ignore[operator]

    def hidden(self, encoded: EncodedTable, prefix: PrefixBatch) -> Tensor:
        """Vectors (B, L, D) of all steps of whole programs at once; each knows the steps before it."""
        x = self.inputs(self.vocabulary(encoded), prefix)
        memories, absent = self.memories(encoded)
        for layer, memory in zip(self.layers, memories, strict=True):
            x = layer(x, memory, absent)
        return x

    def attention(self, batch: TableBatch, prefix: PrefixBatch) -> tuple[Tensor, Tensor]:
        """Where each step looks, for every layer: at the tokens so far, and at the table and its columns.

        Returns:
            Weights (layers, B, heads, L, L) and (layers, B, heads, L, 1 + V), the first of whose keys is the table.
        """
        encoded = self.encode(batch)
        x = self.inputs(self.vocabulary(encoded), prefix)
        memories, absent = self.memories(encoded)
        found = []
        for layer, memory in zip(self.layers, memories, strict=True):
            found.append(layer.weights(x, memory, absent))  # type: ignore[operator]
            x = layer(x, memory, absent)
        tokens, columns = zip(*found, strict=True)
        return torch.stack(tokens), torch.stack(columns)

    def forward(self, batch: TableBatch, prefix: PrefixBatch) -> Tensor:
        """Logits (B, L, n_symbols + V) of every next token."""
        encoded = self.encode(batch)
        return self.next_token(self.hidden(encoded, prefix), encoded.columns, encoded.present)
