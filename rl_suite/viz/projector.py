"""What TensorBoard's projector reads: features as points, with labels to colour them by and pictures to show.

Plain files beside the events; written anew, whole or not at all, never through a link.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_suite.checkpoint import write_atomically

CONFIG = "projector_config.pbtxt"  # the name that TensorBoard looks for
LARGEST_SPRITE = 8192  # pixels along a side of the sheet of all pictures, TensorBoard's limit


def write_projector(
    folder: Path,
    name: str,
    features: NDArray[np.floating],
    labels: Mapping[str, Sequence[object]],
    pictures: NDArray[np.uint8] | None = None,
) -> None:
    """Let the projector show points in the run ``folder``; one set of points a run.

    Args:
        folder: the run folder, in which TensorBoard's events lie.
        name: what the points are, such as "unseen classes".
        features: (N, D), finite.
        labels: heading -> N values.
        pictures: (N, S, S), grey, shown in place of the points; left out where the sheet would be too large.

    Raises:
        ValueError: features that are not finite, or labels of another length.
        UserError: the folder is not writable or the disk is full.
    """
    if not np.isfinite(features).all() or any(len(column) != len(features) for column in labels.values()):
        raise ValueError("a projector needs finite features and a label for each in every column")
    heads, rows = list(labels), zip(*labels.values(), strict=True)
    lines = ["\t".join(heads)] if len(heads) > 1 else []  # with one column TensorBoard takes a heading for a label
    lines += ["\t".join(" ".join(str(value).split()) for value in row) for row in rows]
    _write(folder / "projector_features.tsv", ("\t".join(f"{value:.6g}" for value in row) for row in features))
    _write(folder / "projector_labels.tsv", lines)
    config = [
        "embeddings {",
        f'  tensor_name: "{name}"',
        '  tensor_path: "projector_features.tsv"',
        '  metadata_path: "projector_labels.tsv"',
    ]
    if pictures is not None and (side := math.isqrt(len(pictures) - 1) + 1) * pictures.shape[1] <= LARGEST_SPRITE:
        _write_sprite(folder / "projector_sprite.png", pictures, side)
        size = f"single_image_dim: {pictures.shape[2]} single_image_dim: {pictures.shape[1]}"
        config.append(f'  sprite {{ image_path: "projector_sprite.png" {size} }}')
    _write(folder / CONFIG, [*config, "}"])


def _write(path: Path, lines: Iterable[str]) -> None:
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _write_sprite(path: Path, pictures: NDArray[np.uint8], side: int) -> None:
    """All pictures as one square sheet of ``side`` times ``side``, row by row."""
    from PIL import Image

    count, height, width = pictures.shape
    cells = np.full((side * side, height, width), 255, dtype=np.uint8)
    cells[:count] = pictures
    sheet = cells.reshape(side, side, height, width).transpose(0, 2, 1, 3).reshape(side * height, side * width)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "png")
    write_atomically(path, buffer.getvalue())
