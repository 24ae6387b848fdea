"""A causal transformer whose attention can be looked at, and its memory for acting.

Pre-norm GPT blocks on fused attention. Positions are rotations of queries and keys by the true step
index (RoPE; Su et al. 2021, arXiv:2104.09864), so that only distances matter: a stored key stays right
when older ones are dropped. ``forward`` reads whole sequences (training); ``KeyValueMemory`` holds
the keys and values of up to W tokens per environment, so that ``step`` costs one token (acting).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Positions = Literal["rotary", "none"]
Capture = Literal["none", "last", "rows", "full"]
CAPTURES: tuple[Capture, ...] = ("none", "last", "rows", "full")

ROTARY_BASE = 10_000.0  # longest wavelength in tokens, over 2 pi (RoPE's own choice)
INITIAL_STD = 0.02  # of weights, as in GPT-2


def rotations(positions: Tensor, head_width: int) -> Tensor:
    """Complex rotations of each pair of channels, (..., head_width / 2), for step indices (...)."""
    pairs = torch.arange(head_width // 2, device=positions.device, dtype=torch.float64)
    angles = positions.to(torch.float64)[..., None] * ROTARY_BASE ** (-2.0 * pairs / head_width)
    return torch.polar(torch.ones_like(angles), angles).to(torch.complex64)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the channel pairs of ``x`` (..., head_width) by ``turns`` (..., head_width / 2)."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns).flatten(-2).to(x.dtype)


def merge_shares(joins: Tensor, sizes: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """How much each token counts in the mean of each group, (n, W, k), and the tokens in each group, (n, k).

    Args:
        joins: (n, W) group of each token.
        sizes: (n, W) tokens that each stands for already.
        k: number of groups; none may be empty.

    >>> shares, sizes = merge_shares(torch.tensor([[0, 0, 1]]), torch.tensor([[1.0, 3.0, 1.0]]), 2)
    >>> shares[0].tolist(), sizes.tolist()
    ([[0.25, 0.0], [0.75, 0.0], [0.0, 1.0]], [[4.0, 1.0]])
    """
    counted = F.one_hot(joins, k) * sizes[..., None]
    total = counted.sum(1)
    return counted / total[:, None], total


class KeyValueMemory:
    """Keys and values of the last W tokens of B environments, in every layer.

    A new token takes a free slot or, where all are taken, that of the oldest token (a ring). What an
    evicted token told its successors lives on in their deeper keys: reading through this memory equals
    a full forward pass in which every layer sees the last W tokens only, not a pass over those W tokens.

    Tokens may be merged: their slot then holds the mean of their keys and values, and counts as often as there are
    tokens in it (the logarithm of its size is added to its attention score; "proportional attention", Bolya et al.
    2022, arXiv:2210.09461). For tokens of one key this is exactly the attention to all of them.

    Attributes:
        index: (B, W) true step index of the (newest) token in each slot; -1 where the slot is free.
        sizes: (B, W) tokens in each slot, 1 unless some were merged.
        length: (B,) tokens seen since the last reset.
    """

    def __init__(self, n_layers: int, n_envs: int, n_heads: int, window: int, head_width: int, device: torch.device):
        if window < 1:
            raise ValueError(f"a memory holds at least one token, not {window}")
        shape = (n_layers, n_envs, n_heads, window, head_width)
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        self.index = torch.full((n_envs, window), -1, device=device)
        self.length = torch.zeros(n_envs, dtype=torch.long, device=device)
        self.count = torch.zeros(n_envs, dtype=torch.long, device=device)  # (B,) slots in use: the first ones
        self.cursor = torch.zeros(n_envs, dtype=torch.long, device=device)  # (B,) slot of the next token
        self.sizes, self.merged = torch.ones(n_envs, window, device=device), False
        self.window, self.n_envs = window, n_envs
        self._rows = torch.arange(n_envs, device=device)

    def claim(self) -> Tensor:
        """Take a slot in every environment for the token that comes next; returns the slots (B,)."""
        slots = self.cursor.clone()
        self.index[self._rows, slots], self.sizes[self._rows, slots] = self.length, 1.0
        self.length += 1
        self.count = (self.count + 1).clamp(max=self.window)
        self.cursor = (slots + 1) % self.window
        return slots

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store the keys and values (B, H, head_width) of one token per environment."""
        self.keys[layer, self._rows, :, slots] = keys
        self.values[layer, self._rows, :, slots] = values

    def free_slots(self) -> Tensor | None:
        """(B, used) True where a slot that others use is free, or None where there is no such slot."""
        used = int(self.count.max())
        return None if int(self.count.min()) == used else self.index[:, :used] < 0

    def reset(self, rows: Tensor) -> None:
        """Forget everything in the environments ``rows`` (indices or bools)."""
        self.index[rows] = -1
        self.length[rows] = self.count[rows] = self.cursor[rows] = 0

    def keep(self, slots: Tensor, rows: Tensor | None = None, joins: Tensor | None = None) -> None:
        """Drop all tokens but those in ``slots`` (n, k), oldest first; the rest of the window is free again.

        Args:
            slots: what stays.
            rows: (n,) the environments; all of them by default.
            joins: (n, W) merge instead of dropping: for every slot of the window, all of them in use, the place
                among the k into which its token goes (a token that stays, into its own).
        """
        rows = self._rows if rows is None else rows
        if bool((torch.gather(self.index[rows], 1, slots) < 0).any()):
            raise ValueError("only slots in use can be kept")
        k, every = slots.shape[1], rows[:, None]
        # Advanced indices on both sides of a slice put their axes first: (n, k, layers, H, hd).
        first = (slice(None), every, slice(None), torch.arange(k, device=rows.device))
        if joins is None:
            self.sizes[rows, :k] = self.sizes[every, slots]
            for stored in (self.keys, self.values):
                stored[first] = stored[:, every, :, slots]
        else:
            self.merged = True
            shares, self.sizes[rows, :k] = merge_shares(joins, self.sizes[rows], k)
            for stored in (self.keys, self.values):
                stored[first] = torch.einsum("nij,lnhid->njlhd", shares, stored[:, rows])
        self.index[rows, :k] = torch.gather(self.index[rows], 1, slots)
        self.index[rows, k:] = -1
        self.count[rows] = k
        self.cursor[rows] = k % self.window


class TokenMemory:
    """The last W tokens themselves, read again at every step: dearer than keys, and without a trace of older ones."""

    def __init__(self, n_envs: int, window: int, width: int, device: torch.device):
        self.tokens = torch.zeros(n_envs, window, width, device=device)
        self.index = torch.full((n_envs, window), -1, device=device)
        self.length = torch.zeros(n_envs, dtype=torch.long, device=device)
        self.count = torch.zeros(n_envs, dtype=torch.long, device=device)
        self.sizes, self.merged = torch.ones(n_envs, window, device=device), False
        self.window, self.n_envs = window, n_envs
        self._rows = torch.arange(n_envs, device=device)

    def append(self, x: Tensor) -> None:
        """Add one token (B, D) per environment at the end; where the window is full the oldest one falls out."""
        full = self.count == self.window
        self.tokens[full] = self.tokens[full].roll(-1, 1)
        self.index[full], self.sizes[full] = self.index[full].roll(-1, 1), self.sizes[full].roll(-1, 1)
        last = self.count.clamp(max=self.window - 1)
        self.tokens[self._rows, last], self.index[self._rows, last] = x, self.length
        self.sizes[self._rows, last] = 1.0
        self.count = last + 1
        self.length += 1

    def reset(self, rows: Tensor) -> None:
        """Forget everything in the environments ``rows`` (indices or bools)."""
        self.index[rows], self.sizes[rows] = -1, 1.0
        self.length[rows] = self.count[rows] = 0

    def keep(self, slots: Tensor, rows: Tensor | None = None, joins: Tensor | None = None) -> None:
        """As :meth:`KeyValueMemory.keep`; what is merged here are the tokens."""
        rows = self._rows if rows is None else rows
        if bool((torch.gather(self.index[rows], 1, slots) < 0).any()):
            raise ValueError("only slots in use can be kept")
        k, every = slots.shape[1], rows[:, None]
        if joins is None:
            self.sizes[rows, :k] = self.sizes[every, slots]
            self.tokens[rows, :k] = self.tokens[every, slots]
        else:
            self.merged = True
            shares, self.sizes[rows, :k] = merge_shares(joins, self.sizes[rows], k)
            self.tokens[rows, :k] = shares.transpose(1, 2) @ self.tokens[rows]
        self.index[rows, :k] = torch.gather(self.index[rows], 1, slots)
        self.index[rows, k:] = -1
        self.count[rows] = k


Memory = KeyValueMemory | TokenMemory


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each reading a normalised input and adding to the stream."""

    def __init__(self, width: int, n_heads: int, feedforward: int):
        super().__init__()
        self.n_heads, self.head_width = n_heads, width // n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.expand, self.contract = nn.Linear(width, feedforward), nn.Linear(feedforward, width)

    def project(self, x: Tensor, turns: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries, rotated keys and values, (B, H, T, head_width) each, of x (B, T, D)."""
        qkv = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.n_heads, self.head_width))  # (B, T, 3, H, hd)
        if turns is None:
            q, k, v = qkv.unbind(2)
        else:
            qk, v = qkv.split((2, 1), dim=2)  # its backward pass costs less than that of two slices
            (q, k), v = rotate(qk, turns).unbind(2), v.squeeze(2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def finish(self, x: Tensor, heads: Tensor, head_scale: Tensor | None) -> Tensor:
        """Add what the heads (B, H, T, head_width) found, then the perceptron, to x (B, T, D)."""
        if head_scale is not None:
            heads = heads * head_scale[:, None, None]
        x = x + self.mix(heads.transpose(1, 2).flatten(-2))
        return x + self.contract(F.gelu(self.expand(self.norm_2(x))))  # type: ignore[no-any-return]


class CausalTransformer(nn.Module):
    """``n_layers`` blocks over embedded tokens.

    Args:
        width: channels D of a token.
        n_layers: number of blocks.
        n_heads: heads H of each block; ``width / n_heads`` must be even with rotary positions.
        feedforward: hidden units of each block's perceptron.
        positions: "rotary", or "none" where the order of the tokens does not matter.
    """

    def __init__(self, width: int, n_layers: int, n_heads: int, feedforward: int, positions: Positions = "rotary"):
        super().__init__()
        if width % n_heads or (positions == "rotary" and width // n_heads % 2):
            raise ValueError(f"width {width} must split into {n_heads} heads of equal (and, if rotary, even) width")
        self.width, self.n_heads, self.head_width, self.positions = width, n_heads, width // n_heads, positions
        self.blocks = nn.ModuleList(Block(width, n_heads, feedforward) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head_scale: Tensor | None = None
        """(layers, H) factors on the output of each head, None for all 1; see :meth:`silence`."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                last = name.endswith(("mix.weight", "contract.weight"))
                # The stream sums 2 n_layers branches; smaller last layers keep its variance at the start (GPT-2).
                nn.init.normal_(parameter, std=INITIAL_STD / (2 * n_layers) ** 0.5 if last else INITIAL_STD)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def silence(self, heads: Sequence[tuple[int, int]]) -> None:
        """Multiply the output of these (layer, head) pairs by 0, to see what they were for; () gives all back."""
        self.head_scale = None
        if heads:
            self.head_scale = torch.ones(self.n_layers, self.n_heads, device=self.norm.weight.device)
            for layer, head in heads:
                self.head_scale[layer, head] = 0.0

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        mask: Tensor | None = None,
        capture: Capture = "none",
        rows: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Read whole sequences.

        Args:
            x: embedded tokens (B, T, D).
            index: true step index of each token, (T,) or (B, T); 0 .. T-1 by default.
            mask: (T, T) or (B, 1, T, T) bools, True where a query (row) may see a key (column); causal by default.
            capture: which attention weights to return: "none", those of the "last" query, of ``rows``, or "full".
                The output is computed by fused attention all the same.
            rows: queries to capture with ``capture="rows"``, indices (n,).
            sizes: (B, T) how often each token counts, where several were merged; once by default.

        Returns:
            Normalised output (B, T, D) and, per layer, attention weights (B, H, queries, T) whose rows sum to 1.
        """
        length = x.shape[1]
        queries = _captured_queries(capture, rows, length, x.device)
        if sizes is not None:
            seen = torch.ones(length, length, device=x.device).tril().bool() if mask is None else mask
            mask = torch.where(seen, sizes.log()[:, None, None], -torch.inf)  # (B, 1, T, T), added to the scores
        turns = None
        if self.positions == "rotary":
            index = torch.arange(length, device=x.device) if index is None else index
            turns = rotations(index, self.head_width)[..., None, None, :]  # (T or B T, 1, 1, hd/2) against (B, T, 2, H)
        captured = []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.project(x, turns)
            heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            if queries is not None:
                captured.append(_weights(q[:, :, queries], k, queries, mask))
            x = block.finish(x, heads, None if self.head_scale is None else self.head_scale[layer])
        return self.norm(x), captured

    def memory(self, n_envs: int, window: int) -> KeyValueMemory:
        """An empty memory of ``window`` tokens for ``n_envs`` environments."""
        device = self.norm.weight.device
        return KeyValueMemory(self.n_layers, n_envs, self.n_heads, window, self.head_width, device)

    @torch.no_grad()
    def step_again(self, x: Tensor, memory: TokenMemory, store: bool = True) -> tuple[Tensor, Tensor]:
        """As :meth:`step`, but run all tokens of ``memory`` through all layers anew."""
        tokens, index, sizes, last = memory.tokens, memory.index, memory.sizes, memory.count
        if store:
            memory.append(x)
            tokens, index, sizes, last = memory.tokens, memory.index, memory.sizes, memory.count - 1
        else:
            tokens, index, sizes = F.pad(tokens, (0, 0, 0, 1)), F.pad(index, (0, 1)), F.pad(sizes, (0, 1), value=1.0)
            rows = torch.arange(memory.n_envs, device=x.device)
            tokens[rows, last], index[rows, last] = x, memory.length
        used = int(last.max()) + 1
        # Free slots stand behind the last token of their row, where no earlier query looks.
        rows_asked = torch.unique(last)
        counted = sizes[:, :used] if memory.merged else None
        out, captured = self(tokens[:, :used], index[:, :used], capture="rows", rows=rows_asked, sizes=counted)
        where = torch.searchsorted(rows_asked, last)
        everybody = torch.arange(memory.n_envs, device=x.device)
        weights = torch.stack([layer[everybody, :, where] for layer in captured])
        return out[everybody, last], weights

    @torch.no_grad()
    def step(self, x: Tensor, memory: KeyValueMemory, store: bool = True) -> tuple[Tensor, Tensor]:
        """Read one token per environment through ``memory`` and (with ``store``) keep it there.

        Args:
            x: embedded tokens (B, D).
            memory: what was read before.
            store: False to ask without remembering the question.

        Returns:
            Normalised output (B, D), and attention weights (layers, B, H, slots), over the slots in use; a token that
            was not stored has its weight on itself in one more, last column.
        """
        turns = None
        if self.positions == "rotary":
            turns = rotations(memory.length, self.head_width)[:, None, None, None]  # (B, 1, 1, 1, hd/2)
        slots = memory.claim() if store else None
        used, free = int(memory.count.max()), memory.free_slots()
        sizes = memory.sizes[:, :used] if memory.merged else None
        if slots is None:  # the question has a column of its own, the last one
            free = None if free is None else F.pad(free, (0, 1))
            sizes = None if sizes is None else F.pad(sizes, (0, 1), value=1.0)
        x, captured = x[:, None], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            q, k, v = block.project(x, turns)  # (B, H, 1, hd)
            if slots is not None:
                memory.write(layer, slots, k[:, :, 0], v[:, :, 0])
            keys, values = memory.keys[layer, :, :, :used], memory.values[layer, :, :, :used]
            if slots is None:
                keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)
            scores = (q * self.head_width**-0.5) @ keys.transpose(-1, -2)  # (B, H, 1, used)
            if sizes is not None:
                scores = scores + sizes.log()[:, None, None]
            if free is not None:
                scores = scores.masked_fill(free[:, None, None], -torch.inf)
            weights = scores.softmax(-1)
            captured.append(weights[:, :, 0])
            x = block.finish(x, weights @ values, None if self.head_scale is None else self.head_scale[layer])
        return self.norm(x[:, 0]), torch.stack(captured)


def _captured_queries(capture: Capture, rows: Tensor | None, length: int, device: torch.device) -> Tensor | None:
    if capture == "none":
        return None
    if capture == "last":
        return torch.tensor([length - 1], device=device)
    if capture == "full":
        return torch.arange(length, device=device)
    if capture == "rows" and rows is not None:
        return rows.to(device)
    raise ValueError(f"capture must be one of {CAPTURES}, and 'rows' needs rows; got {capture!r} with rows={rows}")


def _weights(q: Tensor, k: Tensor, queries: Tensor, mask: Tensor | None) -> Tensor:
    """Attention weights (B, H, n, T) of the queries q (B, H, n, hd) that stand at the steps ``queries`` (n,)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    seen = torch.arange(k.shape[2], device=q.device) <= queries[:, None] if mask is None else mask[..., queries, :]
    scores = scores + seen if seen.is_floating_point() else scores.masked_fill(~seen, -torch.inf)
    weights: Tensor = scores.softmax(-1)
    return weights
