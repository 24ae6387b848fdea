"""The diagonal of the Fisher information, from the gradient of every single example.

The square of a mean gradient is not the mean of squared gradients: a batch must be taken apart first, which
``torch.func.vmap`` does without a loop over examples, where every operation of the model has a rule for it;
recurrent layers have none, and take the loop.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

from rl_suite.errors import UserError

Diagonal = dict[str, Tensor]  # parameter name -> tensor of the parameter's shape
LossFunction = Callable[[Tensor, Tensor], Tensor]  # (predictions, targets) -> mean loss

NUMBERS_AT_ONCE = 16_000_000  # entries of per-example gradients held together: 64 MB


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, by name; one that is reachable under two names appears once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def classifier_fisher(
    model: nn.Module, x: Tensor, y: Tensor | None = None, select: Callable[[Tensor], Tensor] | None = None
) -> Diagonal:
    """Mean over examples of the squared gradients of log p(y | x), per parameter.

    Args:
        model: x (n, ...) -> logits (n, C). Evaluated as it is in use: no dropout, no batch statistics.
        x: examples (n, ...).
        y: their labels (n,). Given, this is the empirical Fisher; without, labels are averaged over with the model's
            own probabilities, which is the Fisher information itself (Kunstner et al. 2019 on the difference).
        select: picks among the logits (C,) those that compete, such as the outputs of one task.

    For a logistic model with weights w it is the mean of ``p (1 - p) x_k^2`` for weight k.
    """
    outputs = select if select is not None else _unchanged

    def log_probabilities(parameters: Mapping[str, Tensor], example: Tensor) -> Tensor:
        logits = functional_call(model, dict(parameters), (example[None],))[0]
        return torch.log_softmax(outputs(logits), dim=-1)

    if y is not None:

        def of_label(parameters: Mapping[str, Tensor], example: Tensor, label: Tensor) -> Tensor:
            return log_probabilities(parameters, example).gather(0, label[None])[0]

        return diagonal_fisher(model, of_label, x, y)

    parameters = {name: value.detach() for name, value in trainable(model).items()}
    _require_examples(x)

    def one_by_one(parameters: Mapping[str, Tensor], example: Tensor) -> Diagonal:
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        outputs = log_probabilities(leaves, example)
        rows = [torch.autograd.grad(value, list(leaves.values()), retain_graph=True) for value in outputs]
        return {name: torch.stack(column) for name, column in zip(leaves, zip(*rows, strict=True), strict=True)}

    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    with _in_use(model):
        width = len(log_probabilities(parameters, x[0]))
        for part in torch.split(x, _chunk(parameters, width)):
            with torch.no_grad():
                weights = _of_each(log_probabilities, log_probabilities, parameters, part).exp()  # (n, C)
            jacobians = _of_each(jacrev(log_probabilities), one_by_one, parameters, part)
            for name, gradients in jacobians.items():  # (n, C, ...)
                weights_like = weights.reshape(*weights.shape, *[1] * (gradients.dim() - 2))
                total[name] += (weights_like * gradients.square()).sum((0, 1))
    return {name: value / len(x) for name, value in total.items()}


def loss_fisher(model: nn.Module, x: Tensor, y: Tensor, loss_fn: LossFunction) -> Diagonal:
    """The empirical Fisher of any loss that is a negative log likelihood (the squared error, up to its variance)."""

    def of_example(parameters: Mapping[str, Tensor], example: Tensor, target: Tensor) -> Tensor:
        return -loss_fn(functional_call(model, dict(parameters), (example[None],)), target[None])

    return diagonal_fisher(model, of_example, x, y)


def diagonal_fisher(
    model: nn.Module, log_likelihood: Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor], x: Tensor, y: Tensor
) -> Diagonal:
    """Mean over examples of the squared gradient of ``log_likelihood(parameters, x_i, y_i)``."""
    parameters = {name: value.detach() for name, value in trainable(model).items()}
    _require_examples(x)
    gradients_of = grad(log_likelihood)
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    size = _chunk(parameters, 1)
    with _in_use(model):
        for part, labels in zip(torch.split(x, size), torch.split(y, size), strict=True):
            for name, gradients in _of_each(gradients_of, gradients_of, parameters, part, labels).items():
                total[name] += gradients.square().sum(0)
    return {name: value / len(x) for name, value in total.items()}


def _require_examples(x: Tensor) -> None:
    if len(x) == 0:
        raise UserError("importance is measured on examples, and there are none")


def _of_each(
    function: Callable[..., Any], alone: Callable[..., Any], parameters: Mapping[str, Tensor], *batches: Tensor
) -> Any:
    """``function(parameters, example)`` of every example, stacked; ``alone`` is the same where vmap has no rule."""
    try:
        return vmap(function, in_dims=(None, *[0] * len(batches)))(parameters, *batches)
    except RuntimeError:  # whatever else is wrong is wrong with single examples as well
        rows = [alone(parameters, *(batch[i] for batch in batches)) for i in range(len(batches[0]))]
    if isinstance(rows[0], Tensor):
        return torch.stack(rows)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _chunk(parameters: Mapping[str, Tensor], outputs: int) -> int:
    numbers = sum(math.prod(value.shape) for value in parameters.values()) * outputs
    return max(1, NUMBERS_AT_ONCE // max(numbers, 1))


def _unchanged(logits: Tensor) -> Tensor:
    return logits


@contextmanager
def _in_use(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode inside, as it was outside."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
