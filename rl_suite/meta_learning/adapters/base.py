"""The two things that an adapter can be: a change of a layer's output, or a change of its weights."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from rl_suite.arguments import require_kind
from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterConfig


class Site(NamedTuple):
    """One layer of the base, as an adapter sees it."""

    name: str
    """Dotted name of the layer; of the weight itself where the layer has several."""
    layer: nn.Module
    """What is called, or whose weight is read."""
    width_in: int
    width_out: int
    axis: int = -1
    """Of the features in the output."""
    heads: int = 1
    weight: str = "weight"
    """Name of the weight and of the bias in the layer."""
    bias: str = "bias"
    owner: nn.Module | None = None
    """The module that reads the weight without calling the layer (attention), if there is one."""

    @property
    def weight_tensor(self) -> Tensor | None:
        """The weight, if the layer has one."""
        found = getattr(self.layer, self.weight, None)
        return found if isinstance(found, Tensor) else None

    @property
    def bias_tensor(self) -> Tensor | None:
        """The bias, if the layer has one."""
        found = getattr(self.layer, self.bias, None)
        return found if isinstance(found, Tensor) else None


class BaseAdapter(nn.Module):
    """A change of a layer's output; subclass it for an adapter of your own.

    ``forward(x)`` takes the layer's output with the features last, (..., ``config.input_dim``), and returns the same
    shape. It should be the identity at the start. ``AdapterConfig(adapter_type=YourAdapter)`` inserts one such module
    behind every layer that the configuration names, with ``config.input_dim`` set to the layer's width.
    """

    folds = False
    """Whether the change can be written into the weights of the layer."""

    def __init__(self, config: AdapterConfig):
        super().__init__()
        require_kind("config", config, AdapterConfig)
        self.config = config

    @classmethod
    def at(cls, config: AdapterConfig, site: Site, siblings: Sequence["BaseAdapter"]) -> Self:
        """The adapter of one layer; ``siblings`` are those of the same configuration that exist already."""
        return cls(config.model_copy(update={"input_dim": site.width_out}))

    def forward(self, x: Tensor) -> Tensor:
        """Adapted features (..., width)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def adapt(self, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Adapted output of a layer that was called with these tensors; features last."""
        adapted: Tensor = self(output)
        return adapted

    def get_num_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def freeze_non_adapter_parameters(self, model: nn.Module) -> None:
        """Freeze every parameter of ``model`` that is not this adapter's."""
        own = {id(parameter) for parameter in self.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in own:
                parameter.requires_grad_(False)


class WeightAdapter(BaseAdapter):
    """A change of weight and bias, so that it can be merged into them."""

    folds = True

    def fold(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the change in them."""
        raise NotImplementedError(f"{type(self).__name__} must define fold")


def first_tensor(output: object, name: str) -> Tensor:
    """The tensor that is adapted: the output, or the first part of a tuple."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        raise UserError(
            f"{name} returns {type(output).__name__} of {type(first).__name__}, and an adapter needs a tensor, alone "
            "or first in a tuple; adapt a layer inside it"
        )
    return first


def replace_first(output: object, first: Tensor) -> object:
    """The output with another first tensor."""
    if isinstance(output, Tensor):
        return first
    assert isinstance(output, tuple | list)
    rest = (first, *output[1:])
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*rest)
    return type(output)(rest)


def tensors_in(args: tuple[object, ...], kwargs: dict[str, object]) -> Iterator[Tensor]:
    """The tensors that a layer was called with, in order."""
    yield from (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
