"""Bottlenecks behind a layer: dense ones, and those of Kronecker products."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.base import BaseAdapter, Site
from rl_suite.meta_learning.adapters.config import AdapterConfig

RULE_DEVIATION = 0.01  # of the shared matrices at the start, as in the code of the paper


def width_of(config: AdapterConfig) -> int:
    """The width that an adapter alone was given."""
    if config.input_dim is None:
        raise UserError(f"an adapter of kind {config.kind!r} that stands alone needs input_dim")
    return config.input_dim


def activation_of(config: AdapterConfig) -> nn.Module:
    """The non-linearity of a bottleneck."""
    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
    return kinds[config.activation]()


class LinearAdapter(BaseAdapter):
    """x + up(activation(down(x))), ``up`` zero at the start (Houlsby et al. 2019, section 2.1)."""

    def __init__(self, config: AdapterConfig):
        super().__init__(config)
        width = width_of(config)
        self.down, self.activation = nn.Linear(width, config.hidden_dim), activation_of(config)
        self.up = nn.Linear(config.hidden_dim, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Adapted features (..., width)."""
        change: Tensor = self.up(self.activation(self.down(x)))
        return x + change


class KroneckerLinear(nn.Module):
    """A linear layer whose weight is a sum of Kronecker products A_i x (s_i t_i), the A_i shared with others.

    Karimi Mahabadi et al. 2021, equations 5 and 6, rank one.
    """

    def __init__(self, width_in: int, width_out: int, rules: nn.Parameter, start: str):
        super().__init__()
        n = len(rules)
        if width_in % n or width_out % n:
            raise UserError(
                f"a compacter of phm_dim {n} needs widths that are multiples of it, not {width_in} and {width_out}"
            )
        self.rules = rules  # (n, n, n)
        self.s = nn.Parameter(torch.empty(n, width_out // n, 1))
        self.t = nn.Parameter(torch.empty(n, 1, width_in // n))
        self.bias = nn.Parameter(torch.zeros(width_out))
        nn.init.xavier_normal_(self.t)
        if start == "zero":
            nn.init.zeros_(self.s)
        else:
            nn.init.xavier_normal_(self.s)

    @property
    def weight(self) -> Tensor:
        """The whole matrix (out, in)."""
        products = torch.einsum("nab,ncd->acbd", self.rules, self.s @ self.t)
        return products.reshape(self.bias.numel(), -1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (..., out)."""
        return F.linear(x, self.weight, self.bias)


class Compacter(BaseAdapter):
    """A bottleneck of Kronecker products; the shared matrices are those of the first sibling."""

    def __init__(self, config: AdapterConfig, rules: nn.Parameter | None = None):
        super().__init__(config)
        width, n = width_of(config), config.phm_dim
        self.rules = nn.Parameter(RULE_DEVIATION * torch.randn(n, n, n)) if rules is None else rules
        self.down = KroneckerLinear(width, config.hidden_dim, self.rules, "random")
        self.activation = activation_of(config)
        self.up = KroneckerLinear(config.hidden_dim, width, self.rules, "zero")

    @classmethod
    def at(cls, config: AdapterConfig, site: Site, siblings: Sequence[BaseAdapter]) -> Self:
        """The bottleneck of one layer."""
        first = siblings[0] if siblings else None
        return cls(
            config.model_copy(update={"input_dim": site.width_out}),
            first.rules if isinstance(first, Compacter) else None,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adapted features (..., width)."""
        change: Tensor = self.up(self.activation(self.down(x)))
        return x + change
