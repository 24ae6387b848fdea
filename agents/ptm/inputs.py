"""What pre-trained models see, and what tells them apart, for each kind of observation space."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from torch import Tensor
from torch.nn import functional as F

from agents.graph.batch import GRAPH_KEYS, GraphBatch, GraphShape
from agents.graph.picture import CHANNELS, SIDE, graph_pictures

COARSE = 6  # side of the shrunken image that serves as context


def coarse_view(images: Tensor) -> Tensor:
    """Images (B, C, H, W) shrunk to (B, C * 36) means: a context that costs nothing."""
    return F.adaptive_avg_pool2d(images, COARSE).flatten(1)


def require_image(space: spaces.Box, name: str = "images") -> None:
    """ValueError unless ``space`` holds pictures as SB3 hands them on: channels first, uint8 or reals in [0, 1]."""
    if len(space.shape) != 3:
        raise ValueError(f"pre-trained models need {name} of shape (channels, height, width), not {space.shape}")
    if 0 in space.shape:
        raise ValueError(f"{name} of shape {space.shape} hold no pixels")
    if space.shape[2] < min(space.shape[:2]):
        raise ValueError(
            f"{name} of shape {space.shape} seem to have their channels last: pre-trained models need (channels, "
            "height, width); VecTransposeImage of stable-baselines3 turns uint8 images"
        )
    is_bytes = space.dtype == np.uint8
    low, high = (0, 255) if is_bytes else (0, 1)
    if not ((space.low == low).all() and (space.high == high).all()) and (is_bytes or not _is_within(space)):
        raise ValueError(f"{name} must be uint8 from 0 to 255 or real numbers within [0, 1], not {space}")


def _is_within(space: spaces.Box) -> bool:
    return bool(np.issubdtype(space.dtype, np.floating) and space.low.min() >= 0 and space.high.max() <= 1)


def require_choices(space: spaces.Space[Any], name: str) -> None:
    """ValueError for choices that stable-baselines3 cannot show as one-hot vectors: not from 0, or of several axes."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start):
        raise ValueError(f"choices {name!r} must be counted from 0, as stable-baselines3 counts them, not {space}")
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim != 1:
        raise ValueError(f"choices {name!r} must be a flat MultiDiscrete, not one of shape {space.shape}")


class PixelInputs:
    """Images (B, C, H, W); the context is a coarse view of them."""

    def __init__(self, image_shape: tuple[int, ...]):
        self.image_shape = (image_shape[0], image_shape[1], image_shape[2])
        self.context_dim = image_shape[0] * COARSE * COARSE

    def __call__(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and context (B, context_dim)."""
        return observations, coarse_view(observations)


class GraphInputs:
    """Padded graphs: a picture of each; the context is the features of the whole graph."""

    def __init__(self, shape: GraphShape):
        self.image_shape = (CHANNELS, SIDE, SIDE)
        self.context_dim = shape.graph_dim

    def __call__(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, 24, 24) and context (B, context_dim)."""
        batch = GraphBatch(observations)
        return graph_pictures(batch), batch.graph


class DictInputs:
    """A Dict with images, which are stacked along the channels, and vectors, which join the context."""

    def __init__(self, space: spaces.Dict):
        shapes = {key: part.shape or () for key, part in space.spaces.items()}
        self.images = [
            key for key, part in space.spaces.items() if len(shapes[key]) == 3 and isinstance(part, spaces.Box)
        ]
        flat = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        self.vectors = [key for key, part in space.spaces.items() if len(shapes[key]) == 1 or isinstance(part, flat)]
        left = [key for key in shapes if key not in self.images + self.vectors]
        if not self.images or left or len({shapes[key][1:] for key in self.images}) > 1:
            raise ValueError(
                "pre-trained models need a Dict with at least one image (channels, height, width), all of one "
                f"height and width, and else only vectors, or a padded graph with {', '.join(GRAPH_KEYS)}; not {space}"
            )
        for key in self.vectors:
            require_choices(space[key], key)
        channels = sum(shapes[key][0] for key in self.images)
        for key in self.images:
            require_image(space[key], f"images {key!r}")  # type: ignore[arg-type]
        self.image_shape = (channels, shapes[self.images[0]][1], shapes[self.images[0]][2])
        widths = [get_flattened_obs_dim(space[key]) for key in self.vectors]  # SB3 shows choices as one-hot vectors
        self.context_dim = channels * COARSE * COARSE + sum(widths)

    def __call__(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and context (B, context_dim)."""
        images = torch.cat([observations[key] for key in self.images], dim=1)
        return images, torch.cat([coarse_view(images), *(observations[key].flatten(1) for key in self.vectors)], dim=1)


def inputs_of(space: spaces.Space[Any]) -> PixelInputs | GraphInputs | DictInputs:
    """Choose by the observation space; ValueError where it offers nothing to look at."""
    if isinstance(space, spaces.Dict):
        is_graph = all(key in space.spaces for key in GRAPH_KEYS)
        return GraphInputs(GraphShape.of(space)) if is_graph else DictInputs(space)
    if isinstance(space, spaces.Box):
        require_image(space)
        return PixelInputs(space.shape)
    raise ValueError(f"pre-trained models need images, a Dict with images, or a padded graph, not {space}")
