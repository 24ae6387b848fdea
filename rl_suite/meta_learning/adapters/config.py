"""What an adapter is and where it goes."""

import fnmatch
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from torch import nn

from rl_suite.arguments import in_one_line

MOST_PATTERN = 200  # characters: patterns of a file stay cheap to match
ALL_LINEAR = "all-linear"

Size = Annotated[int, Field(ge=1, le=2**16)]
"""A width, a rank or a length; more would be a typing error, and fill the memory."""
Strength = Annotated[float, Field(gt=0, le=1e6)]


class AdapterType(Enum):
    """The kinds that ship; a subclass of ``BaseAdapter`` is one as well."""

    LINEAR = "linear"
    """Bottleneck after a layer: down, non-linearity, up, added (Houlsby et al. 2019, arXiv:1902.00751)."""
    ADAPTER = "linear"
    """Another name of the bottleneck."""
    LORA = "lora"
    """Low-rank change of a weight (Hu et al. 2021, arXiv:2106.09685)."""
    PREFIX = "prefix"
    """Learned keys and values beside those of a layer, behind a gate that starts shut (Li and Liang 2021,
    arXiv:2101.00190, in the form of He et al. 2022, arXiv:2110.04366; gate: Zhang et al. 2023, arXiv:2303.16199)."""
    BITFIT = "bitfit"
    """Biases only (Ben Zaken et al. 2022, arXiv:2106.10199)."""
    COMPACTER = "compacter"
    """Bottleneck of sums of Kronecker products (Karimi Mahabadi et al. 2021, arXiv:2106.04647)."""
    IA3 = "ia3"
    """One factor per output (Liu et al. 2022, arXiv:2205.05638)."""
    MULTI_MODAL = "multi_modal"
    """What a layer's further inputs (other modalities) say, added to its output."""


class AdapterConfig(BaseModel):
    """One adapter: its kind, its size and the layers it goes to.

    A pattern stands for every dotted name of a module that ends as it does, part for part; ``*`` is any one part, or
    any piece of one: ``"q_*"`` or ``"blocks.*.attn"``; with ``/`` before it, the whole name is meant. ``"all-linear"``
    stands for all linear layers and projections of attention.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    adapter_type: AdapterType | type[nn.Module]
    """A kind, or a subclass of ``BaseAdapter``."""
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_\-]{1,60}$")
    """How it is called in files and tables; the kind by default."""
    target_modules: str | tuple[str, ...] | None = None
    """Patterns. By default all linear layers; every bias for BitFit; attention layers, where there are any, for
    prefixes."""
    input_dim: Size | None = None
    """Only layers of this width are adapted: of their outputs, for LoRA of their inputs. Layers that do not show
    their width need it."""
    hidden_dim: Size = 64
    """Width of a bottleneck (linear, compacter, multi-modal)."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Of a bottleneck."""
    lora_r: Size = 8
    """Rank."""
    lora_alpha: Strength = 16.0
    """The change of the weight is multiplied by alpha / rank."""
    rank_pattern: Mapping[str, Size] = {}
    """Rank of the layers that a pattern names; the first pattern that matches counts."""
    alpha_pattern: Mapping[str, Strength] = {}
    """The same for alpha."""
    prefix_length: Size = 10
    """Learned tokens per layer."""
    num_heads: Size | None = None
    """Heads of a prefix or a fusion; those of the attention layer, or 1."""
    phm_dim: Annotated[int, Field(ge=1, le=256)] = 4
    """Summands of a compacter's Kronecker products; both widths must be multiples of it."""
    fusion: Literal["attention", "concat", "sum"] = "attention"
    """How other modalities are read (multi-modal)."""
    modules_to_save: tuple[str, ...] = ()
    """Patterns of modules that this adapter trains whole, in a copy of its own; statistics of batch normalisation
    belong to the copy."""

    @model_validator(mode="wrap")
    @classmethod
    def _refused_in_one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """What is refused is the user's to mend, as everywhere."""
        try:
            return handler(values)
        except ValidationError as error:
            raise in_one_line(error, cls.__name__) from None

    @field_validator("target_modules", "modules_to_save", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        if isinstance(value, str | bytes):
            return (value,)
        return tuple(value) if isinstance(value, list | tuple | set | frozenset) else value

    @field_validator("target_modules", "modules_to_save", "rank_pattern", "alpha_pattern")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if value is not None and any(not pattern or len(pattern) > MOST_PATTERN for pattern in value):
            raise ValueError(f"patterns have 1 to {MOST_PATTERN} characters")
        return value

    @property
    def kind(self) -> str:
        """``"lora"``, ...; the name of a class of one's own."""
        return self.adapter_type.value if isinstance(self.adapter_type, AdapterType) else self.adapter_type.__name__

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """Where it goes, or None where its kind decides."""
        assert not isinstance(self.target_modules, str)
        return self.target_modules

    def rank_at(self, layer: str) -> int:
        """Rank of one layer."""
        return next((r for pattern, r in self.rank_pattern.items() if matches(pattern, layer)), self.lora_r)

    def scale_at(self, layer: str) -> float:
        """alpha / rank of one layer."""
        alphas = (alpha for pattern, alpha in self.alpha_pattern.items() if matches(pattern, layer))
        return next(alphas, self.lora_alpha) / self.rank_at(layer)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern stands for a dotted name.

    >>> matches("attn.q", "blocks.0.attn.q"), matches("blocks.*", "blocks.0"), matches("blocks.*", "blocks.0.attn")
    (True, True, False)
    >>> matches("/q", "q"), matches("/q", "attn.q")
    (True, False)
    """
    wanted, parts = pattern.removeprefix("/").split("."), name.split(".")
    ending = parts if pattern.startswith("/") else parts[-len(wanted) :]
    return len(ending) == len(wanted) and all(map(fnmatch.fnmatchcase, ending, wanted))
