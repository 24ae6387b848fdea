"""Invented alphabets drawn by invented hands: the data set of every command where Omniglot is not at hand.

A character is up to four strokes, each a cubic curve between points of a coarse grid. What the characters of an
alphabet share is its style: how many strokes, how curved, whether they hang together, how often they run straight.
Every drawing moves all control points a little and is slanted, scaled and shifted as a whole. All numbers
come from counters, so the same set is drawn on every machine.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_suite.meta_learning.data.draws import fractions, random_bits
from rl_suite.meta_learning.data.framing import frame_ink
from rl_suite.meta_learning.data.images import ImageSet
from rl_suite.meta_learning.data.omniglot import INK

Floats = NDArray[np.float32]

TRAIN_ALPHABETS, TEST_ALPHABETS = 8, 4
CHARACTERS, DRAWINGS = 24, 20  # of an alphabet, of a character
STROKES, CONTROLS, SAMPLES = 4, 4, 20  # at most, of one stroke, points drawn of one stroke
GRID = 4  # strokes begin and end on a GRID x GRID lattice
MARGIN = 0.18  # of the unit square is left free at each side
BEND = 0.45  # largest distance of a control point from its chord
HAND = 0.03  # standard deviation of a control point between drawings
SLANT, SCALE, SHIFT = 0.2, 0.15, 0.08  # of a whole drawing, to either side
PEN = 0.033  # half the width of a stroke
CHUNK = 256  # drawings rendered at once


class Glyphs(NamedTuple):
    """The invented alphabets, split."""

    train: ImageSet
    test: ImageSet
    source: str


def load_glyphs(size: int = 28, seed: int = 0, framed: bool = False) -> Glyphs:
    """Eight alphabets for training and four for tests, 24 characters each, 20 drawings of each character.

    ``framed`` drawings are cut to their ink.
    """
    source = f"invented glyphs: {TRAIN_ALPHABETS} alphabets for training, {TEST_ALPHABETS} for tests"
    last = TRAIN_ALPHABETS + TEST_ALPHABETS
    train, test = (draw_alphabets(part, size, seed) for part in (range(TRAIN_ALPHABETS), range(TRAIN_ALPHABETS, last)))
    if framed:
        train, test = (replace(part, images=frame_ink(part.images, size)) for part in (train, test))
    return Glyphs(train, test, source)


def draw_alphabets(alphabets: range, size: int, seed: int) -> ImageSet:
    """The alphabets of these numbers; alphabet a is the same whatever others are drawn."""
    names = [f"alphabet{a:02d}" for a in alphabets]
    strokes, used = zip(*(_characters(a, seed) for a in alphabets), strict=True)
    controls = np.concatenate([_by_hands(s, a, seed) for s, a in zip(strokes, alphabets, strict=True)])
    present = np.repeat(np.concatenate(used), DRAWINGS, axis=0)
    classes = torch.arange(len(names) * CHARACTERS).repeat_interleave(DRAWINGS)
    labels = tuple(f"{name}/character{c + 1:02d}" for name in names for c in range(CHARACTERS))
    groups = tuple(name for name in names for _ in range(CHARACTERS))
    return ImageSet(_render(torch.from_numpy(controls), torch.from_numpy(present), size), classes, labels, groups)


def _characters(alphabet: int, seed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Control points (CHARACTERS, STROKES, CONTROLS, 2) in the unit square, and which strokes exist."""
    many, bent, joined, straight = _uniform(seed, 0, np.array([alphabet]), 4)[0]
    u = _uniform(seed, 1, alphabet * CHARACTERS + np.arange(CHARACTERS), STROKES * 8 + 1)
    number = 1 + np.round(u[:, -1] * (1 + 2 * many)).astype(np.int64)  # an alphabet of few or of many strokes
    u = u[:, :-1].reshape(CHARACTERS, STROKES, 8)
    ends = MARGIN + (1 - 2 * MARGIN) * np.floor(u[..., :4] * GRID) / (GRID - 1)
    start, end = ends[..., :2].copy(), ends[..., 2:].copy()
    for s in range(1, STROKES):
        goes_on = u[:, s, 4] < joined
        start[goes_on, s] = end[goes_on, s - 1]
    still = np.abs(start - end).sum(-1) < 1e-3  # a stroke that ends where it began runs to the opposite point
    end[still] = 1 - start[still] + (np.abs(1 - 2 * start[still]) < 1e-3) * 0.3
    chord = end - start
    normal = np.stack([-chord[..., 1], chord[..., 0]], axis=-1) / np.linalg.norm(chord, axis=-1, keepdims=True)
    bend = BEND * (0.3 + 0.7 * bent) * (2 * u[..., 5:7] - 1) * (u[..., 7:] > straight * 0.7)
    first = start + chord / 3 + normal * bend[..., :1]
    second = start + chord * 2 / 3 + normal * bend[..., 1:]
    return np.stack([start, first, second, end], axis=2).astype(np.float32), np.arange(STROKES) < number[:, None]


def _by_hands(strokes: Floats, alphabet: int, seed: int) -> Floats:
    """The same characters by ``DRAWINGS`` hands: (CHARACTERS * DRAWINGS, STROKES, CONTROLS, 2)."""
    shape = (DRAWINGS, STROKES, CONTROLS, 2)
    per_drawing = int(np.prod(shape[1:])) * 3
    drawings = np.arange(CHARACTERS * DRAWINGS) + alphabet * CHARACTERS * DRAWINGS
    u = 2 * _uniform(seed, 2, drawings, per_drawing + 5) - 1
    noise = (
        u[:, :per_drawing].reshape(CHARACTERS, *shape, 3).sum(-1) * HAND
    )  # three uniforms: nearly normal, variance 1
    slant, width, height, x, y = (u[:, per_drawing + i].reshape(CHARACTERS, DRAWINGS, 1, 1) for i in range(5))
    moved = strokes[:, None] + noise - 0.5
    across = moved[..., 0] * (1 + SCALE * width) + SLANT * slant * moved[..., 1] + SHIFT * x
    down = moved[..., 1] * (1 + SCALE * height) + SHIFT * y
    return (np.stack([across, down], axis=-1) + 0.5).reshape(-1, *shape[1:]).astype(np.float32)


def _render(controls: Tensor, present: Tensor, size: int) -> Tensor:
    """Images (N, 1, size, size) of cubic curves (N, STROKES, CONTROLS, 2): ink falls off at the pen's edge."""
    t = torch.linspace(0, 1, SAMPLES)[:, None]
    bernstein = torch.cat([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], dim=1)  # (SAMPLES, CONTROLS)
    centre = (torch.arange(size) + 0.5) / size
    pixels = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), dim=-1).reshape(-1, 2)
    images = torch.empty(len(controls), 1, size, size, dtype=torch.uint8)
    for begin in range(0, len(controls), CHUNK):
        curves = bernstein @ controls[begin : begin + CHUNK]  # (n, STROKES, SAMPLES, 2)
        curves = torch.where(present[begin : begin + CHUNK, :, None, None], curves, torch.tensor(-9.0))
        distance = torch.cdist(pixels, curves.flatten(1, 2)).amin(-1)  # (n, size * size)
        ink = ((PEN - distance) * size + 0.5).clamp(0, 1) * INK
        images[begin : begin + CHUNK] = ink.round().to(torch.uint8).reshape(-1, 1, size, size)
    return images


def _uniform(seed: int, stream: int, indices: NDArray[np.int64], slots: int) -> Floats:
    return fractions(random_bits(3 * seed + stream, indices, slots))
