"""What a policy sees of a world: its observations as tensors, and what episodes tell of each step."""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from agents.meta.nodes import FlatNodes
from agents.meta.program_nodes import ProgramNodes
from agents.meta_policy import EnhancedMetaLearningPolicy
from rl_suite.errors import UserError

SLOT = 4  # numbers that the symbolic world tells of the next token's place


class View(Protocol):
    """Between one world and the policies that can act in it."""

    observation_dim: int
    shared: tuple[str, ...]
    """Entries of what is seen that stay the same within a task; policies get one of each, with a leading axis of 1."""

    def see(self, observation: Any) -> Any:
        """A batch of observations as the policy's encoder takes them."""

    def tell(self, seen: Any) -> Tensor:
        """What episodes tell of what was seen, (R, observation_dim)."""


class FlatView:
    """Observations as ``size`` numbers, padded with zeros."""

    shared: tuple[str, ...] = ()

    def __init__(self, space: spaces.Space[Any], size: int | None = None):
        self.space = space
        self.observation_dim = flat_size(space) if size is None else size
        if self.observation_dim < flat_size(space):
            raise UserError(
                f"the policy reads {self.observation_dim} numbers, and the world shows {flat_size(space)}; "
                "make a policy with a larger observation_dim"
            )

    def see(self, observation: Any) -> Tensor:
        """(B, size)."""
        numbers = torch.from_numpy(flatten(self.space, observation))
        return functional.pad(numbers, (0, self.observation_dim - numbers.shape[1]))

    def tell(self, seen: Tensor) -> Tensor:
        """The same numbers."""
        return seen


class ProgramView:
    """Observations of the symbolic world as :class:`ProgramNodes` takes them; episodes tell the slot of each token."""

    KEYS = ("tokens", "slot", "data")
    shared: tuple[str, ...] = ("data",)

    def __init__(self, space: spaces.Space[Any]):
        self.space, self.observation_dim = space, SLOT

    def see(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
        """Tensors by key."""
        return {key: torch.from_numpy(np.ascontiguousarray(observation[key])) for key in self.KEYS}

    def tell(self, seen: Mapping[str, Tensor]) -> Tensor:
        """Parent, sibling, open arguments and tokens left, as numbers near 1."""
        length = seen["tokens"].shape[1]
        return seen["slot"].float() / length


def make_view(policy: EnhancedMetaLearningPolicy, space: spaces.Space[Any]) -> View:
    """The view that fits a policy.

    Raises:
        UserError: the policy reads less than the world shows, or something else.
    """
    if isinstance(policy.observation_encoder, FlatNodes):
        return FlatView(space, policy.observation_dim)
    if isinstance(policy.observation_encoder, ProgramNodes) and policy.observation_dim == SLOT:
        return ProgramView(space)
    raise UserError(
        "the policy's observation encoder must be the default one, or ProgramNodes with observation_dim="
        f"{SLOT}, not {type(policy.observation_encoder).__name__}"
    )


def flat_size(space: spaces.Space[Any]) -> int:
    """How many numbers :func:`flatten` makes of an observation."""
    if isinstance(space, spaces.Dict):
        return sum(flat_size(part) for part in space.spaces.values())
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return int(np.prod(cast(tuple[int, ...], space.shape)))


def flatten(space: spaces.Space[Any], batch: Any) -> NDArray[np.float32]:
    """A batch of observations as numbers (B, n): one-hot vectors for Discrete, shares for MultiDiscrete."""
    if isinstance(space, spaces.Dict):
        return np.concatenate([flatten(part, batch[key]) for key, part in space.spaces.items()], 1)
    if isinstance(space, spaces.Discrete):
        one_hot: NDArray[np.float32] = np.eye(int(space.n), dtype=np.float32)[np.asarray(batch)]
        return one_hot
    flat: NDArray[np.float32] = np.asarray(batch, dtype=np.float32).reshape(len(batch), -1)
    if isinstance(space, spaces.MultiDiscrete):
        flat = flat / np.maximum(space.nvec.reshape(-1) - 1, 1).astype(np.float32)
    return flat
