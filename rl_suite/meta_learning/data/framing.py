"""Drawings cut to their ink: where and how large somebody wrote says nothing about the character.

A character of Omniglot fills about half of its picture. Cut out, it has twice the detail at the same number of
pixels, and a network need not learn that position and size do not matter.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from rl_suite.meta_learning.data.images import CHUNK, resize

MARGIN = 0.08  # free at each side, of the ink's longer side
OVERSAMPLING = 3  # samples per pixel and axis, which are then averaged
DARK = 0.5  # ink is what is brighter, as a fraction of the picture's brightest pixel


def frame_ink(images: Tensor, size: int) -> Tensor:
    """Square pictures of ``size`` pixels that the ink fills, its proportions kept; an empty picture stays empty.

    Args:
        images: (N, C, H, W) uint8 or float, bright ink on a dark ground.
        size: pixels of a side.

    Returns:
        (N, C, size, size) of the same dtype.
    """
    framed = torch.empty(*images.shape[:2], size, size, dtype=images.dtype)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK].to(torch.float32)
        shape = [*part.shape[:2], OVERSAMPLING * size, OVERSAMPLING * size]
        grid = F.affine_grid(_windows(part), shape, align_corners=False)
        found = resize(F.grid_sample(part, grid, padding_mode="zeros", align_corners=False), size)
        framed[start : start + CHUNK] = found.round() if images.dtype == torch.uint8 else found
    return framed


def fit_drawings(images: Tensor, size: int, framed: bool) -> Tensor:
    """Drawings (N, C, H, W) as squares of ``size`` pixels: cut to their ink, or as they stand in their pictures."""
    return frame_ink(images, size) if framed else resize(images, size)


def _windows(images: Tensor) -> Tensor:
    """The square around the ink of each picture, as the matrices (N, 2, 3) of ``affine_grid``."""
    peak = images.amax((1, 2, 3), keepdim=True)
    ink = ((images > DARK * peak) & (peak > 0)).any(1)  # (N, H, W)
    height, width = ink.shape[1:]
    top, bottom = _extent(ink.any(2))
    left, right = _extent(ink.any(1))
    side = torch.maximum(bottom - top, right - left) * (1 + 2 * MARGIN)
    zero = torch.zeros_like(side)
    across = torch.stack([side / width, zero, (left + right) / width - 1], dim=1)
    down = torch.stack([zero, side / height, (top + bottom) / height - 1], dim=1)
    return torch.stack([across, down], dim=1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First and last + 1 occupied place of each row (N, L); everything where nothing is occupied."""
    length = occupied.shape[1]
    places = torch.arange(length)
    occupied = occupied | ~occupied.any(1, keepdim=True)
    first = torch.where(occupied, places, length).amin(1)
    last = torch.where(occupied, places, -1).amax(1)
    return first.to(torch.float32), (last + 1).to(torch.float32)
