"""A step of the inner loop whose graph is forgotten and built again on the way back.

Second-order meta-gradients keep the graph of every inner step until the outer gradient is done. Here only the weights
between the steps are kept, as in Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; the same
operations run twice, so that the gradient is the same to the last bit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Move = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Any], dict[str, Tensor]]


def recomputed(move: Move, weights: Mapping[str, Tensor], rates: Mapping[str, Tensor], data: Any) -> dict[str, Tensor]:
    """``move(weights, rates, data)``, keeping nothing but its arguments.

    Args:
        move: a function that may take gradients inside.
        weights: by name.
        rates: by name.
        data: where it is a tuple of tensors, gradients reach them; anything else is handed on as it is.
    """
    parts = tuple(data) if isinstance(data, tuple) and all(isinstance(p, Tensor) for p in data) else ()

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        w = dict(zip(weights, tensors[: len(weights)], strict=True))
        r = dict(zip(rates, tensors[len(weights) : len(weights) + len(rates)], strict=True))
        rest = tensors[len(weights) + len(rates) :]
        moved = move(w, r, _like(data, rest) if parts else data)
        return tuple(moved[name] for name in weights)

    outputs = _Recomputed.apply(flat, *weights.values(), *rates.values(), *parts)
    return dict(zip(weights, outputs, strict=True))


def _like(data: tuple[Any, ...], parts: Sequence[Tensor]) -> tuple[Any, ...]:
    """The parts as the kind of tuple that ``data`` is."""
    return type(data)(*parts) if hasattr(data, "_fields") else tuple(parts)


class _Recomputed(torch.autograd.Function):
    """Runs a function with its own graph, forgets it, and runs it again when gradients are asked for."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.function, ctx.random = function, torch.get_rng_state()
        ctx.save_for_backward(*tensors)
        with torch.enable_grad():
            outputs = function(*_leaves(tensors))
        return tuple(output.detach() for output in outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        inputs = _leaves(ctx.saved_tensors)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.set_rng_state(ctx.random)  # the same dropout as before
            outputs = ctx.function(*inputs)
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if o.requires_grad]
        found = iter(torch.autograd.grad([o for o, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True))
        return (None, *[next(found) if tensor.requires_grad else None for tensor in inputs])


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in tensors]
