"""The parts of a form policy inside the meta-policy: tokens of an expression with its table, and a head that points.

``EnhancedMetaLearningPolicy(..., observation_encoder=ExpressionNodes(parts), action_head=PointerHead(parts))`` asks,
with its task's episodes, what matters among the tokens written so far and the table's columns.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.meta.expression_encoder import FormPolicy, PrefixBatch, TableBatch
from agents.meta.nodes import NodeTokens

KEYS = (*TableBatch._fields, *PrefixBatch._fields, "length")


class ExpressionNodes(nn.Module):
    """Observations of a growing expression -> its tokens and the table's columns.

    An observation is a mapping of tensors: the fields of ``TableBatch`` and ``PrefixBatch``, and ``length`` (B,), the
    steps that count; the last of them is decided on.
    """

    def __init__(self, parts: FormPolicy):
        super().__init__()
        self.parts = parts

    def forward(self, observation: Mapping[str, Tensor]) -> NodeTokens:
        """Tokens (B, L, D); each has seen those before it, so that one pass serves every prefix.

        Raises:
            ValueError: a field is missing.
        """
        missing = [key for key in KEYS if key not in observation]
        if missing:
            raise ValueError(f"the observation of an expression lacks {', '.join(missing)}")
        table = TableBatch(*(observation[key] for key in TableBatch._fields))
        prefix = PrefixBatch(*(observation[key] for key in PrefixBatch._fields))
        encoded = self.parts.encode(table)
        tokens = self.parts.hidden(encoded, prefix)
        length = observation["length"]
        mask = torch.arange(tokens.shape[1], device=tokens.device) < length[:, None]
        return NodeTokens(tokens, mask, length - 1, encoded.columns, encoded.present)


class PointerHead(nn.Module):
    """Logits (B, n_symbols + max_columns) of what was fused: symbols by a matrix, columns by their own vectors."""

    def __init__(self, parts: FormPolicy):
        super().__init__()
        self.parts = parts

    def forward(self, fused: Tensor, encoded: NodeTokens) -> Tensor:
        """(B, D) -> logits; columns that are not there have none."""
        if encoded.columns is None or encoded.columns_mask is None:
            raise ValueError("a pointer needs columns to point at")
        logits = self.parts.next_token(fused[:, None], encoded.columns, encoded.columns_mask)[:, 0]
        lacking = self.parts.n_symbols + self.parts.max_columns - logits.shape[1]
        return functional.pad(logits, (0, lacking), value=-1e9)


def every_prefix(nodes: NodeTokens) -> NodeTokens:
    """Each of the L steps of B programs as a row of its own, (B * L, ...), that knows the steps up to it.

    Supervised learning through the meta-policy reads them all at once:
    ``policy.decide(policy.read(...))`` with these in the place of the encoder's.
    """
    b, length, _ = nodes.tokens.shape
    steps = torch.arange(length, device=nodes.tokens.device)
    known = (steps[None] <= steps[:, None]) & nodes.mask[:, None]  # (B, L, N)

    def repeated(part: Tensor) -> Tensor:
        return part[:, None].expand(b, length, *part.shape[1:]).flatten(0, 1)

    columns = None if nodes.columns is None else repeated(nodes.columns)
    present = None if nodes.columns_mask is None else repeated(nodes.columns_mask)
    return NodeTokens(repeated(nodes.tokens), known.flatten(0, 1), steps.repeat(b), columns, present)
