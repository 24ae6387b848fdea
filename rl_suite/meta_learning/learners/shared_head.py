"""A last layer whose outputs all begin alike, so that only the support set tells classes apart.

In an episode the numbers of the classes mean nothing. Rows that begin differently make the meta-gradient depend on
which class got which number; with one row for all of them, permuting the classes permutes the answers (Ye and Chao
2022, "How to train your MAML to excel in few-shot classification", section 5, UNICORN-MAML).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rl_suite.errors import UserError


class SharedHead:
    """Keeps the rows of a model's last layer equal while it is meta-trained; an adaptation moves each by itself.

    Args:
        model: its last child must be a linear layer.
    """

    def __init__(self, model: nn.Module):
        name, layer = next(reversed(list(model.named_children())), ("", model))
        if not isinstance(layer, nn.Linear):
            raise UserError(f"shared_head needs a linear last layer, and this model ends with {type(layer).__name__}")
        own = [f"{name}.{part}" if name else part for part, _ in layer.named_parameters()]
        self.names = {f"model.{part}" for part in own}
        self.rates = {f"rates.{part.replace('.', '/')}" for part in own}
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(_alike(parameter))

    def share(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Meta-gradients by name; those of the rows, and of rates of every single weight, become their mean."""
        by_weight = any(gradients[name].ndim > 1 for name in self.rates & set(gradients))  # else one per step
        tied = self.names | self.rates if by_weight else self.names
        return {name: _alike(value) if name in tied else value for name, value in gradients.items()}


def _alike(rows: Tensor) -> Tensor:
    """Every row (n, ...) as the mean of all."""
    return rows.mean(0, keepdim=True).expand_as(rows).clone()
