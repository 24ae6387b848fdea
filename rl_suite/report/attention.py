"""What an in-context agent looked at, as numbers that a page can show step by step.

``attention.json`` in a run folder holds one context of T steps and, for some of them, the attention weights over all
earlier ones by layer and head, quantised to bytes. It is checked as every file of a folder is.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from rl_suite.errors import UserError
from rl_suite.reading import read_bytes
from rl_suite.report.replay import Number, Plain, Text

MOST_BYTES, MOST_STEPS, MOST_WEIGHTS = 2_000_000, 4000, 1_200_000


class AttentionReplay(Plain):
    """T steps of a trial, and the weights (layers, heads, rows, T) with which ``rows`` of them look back."""

    about: Text
    seen: Annotated[list[Text], Field(min_length=1, max_length=MOST_STEPS)]  # (T,) what the agent saw
    rewards: Annotated[list[Number], Field(max_length=MOST_STEPS)]  # (T,) that the step came with
    first: Annotated[list[bool], Field(max_length=MOST_STEPS)]  # (T,) first steps of episodes
    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MOST_STEPS)]  # ascending
    layers: Annotated[int, Field(ge=1, le=64)]
    heads: Annotated[int, Field(ge=1, le=64)]
    weights: Annotated[str, Field(max_length=2 * MOST_WEIGHTS)]
    """Base64 of bytes, rows after rows: 255 is the largest weight of its row, and bytes are proportional to roots."""

    @model_validator(mode="after")
    def _fits(self) -> "AttentionReplay":
        n = len(self.seen)
        if not n == len(self.rewards) == len(self.first) or sorted(set(self.rows)) != self.rows or self.rows[-1] >= n:
            raise ValueError("steps, rewards, first steps and rows do not fit each other")
        try:
            size = len(base64.b64decode(self.weights, validate=True))
        except binascii.Error:
            raise ValueError("weights are no base64") from None
        if size != self.layers * self.heads * len(self.rows) * n or size > MOST_WEIGHTS:
            raise ValueError("weights of another size")
        return self


def quantised(weights: NDArray[np.float64]) -> str:
    """Weights (..., T) as base64 of bytes; roots, so that small weights stay visible."""
    top = np.maximum(weights.max(axis=-1, keepdims=True), 1e-12)
    return base64.b64encode(np.rint(255 * np.sqrt(weights / top)).astype(np.uint8).tobytes()).decode()


def chosen_rows(length: int, row_cost: int) -> NDArray[np.int64]:
    """Which of ``length`` steps are kept, evenly spread and with the last, if each costs ``row_cost`` weights."""
    count = max(1, min(length, MOST_WEIGHTS // max(1, 4 * row_cost)))
    return np.unique(np.linspace(0, length - 1, count).round().astype(np.int64))


def read_attention(path: Path) -> AttentionReplay:
    """The attention of a file.

    Raises:
        UserError: it is missing, a link, too large, or holds something else.
    """
    try:
        return AttentionReplay.model_validate_json(read_bytes(path, MOST_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UserError(f"{path}: no attention: {_place(first['loc'])}: {first['msg'][:120]}; delete it") from None


def _place(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location))[:80]
