"""Films: .webp and .gif, and .mp4, for which the extra ``video`` is needed."""

import importlib
import importlib.util
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError

HOLD = 2.0  # seconds that the last picture stays


ENDINGS = (".webp", ".gif", ".mp4")


def save_film(pictures: Sequence[NDArray[np.uint8]], path: Path, fps: float) -> None:
    """Write pictures (height, width, 3) as .webp or .gif, whole or not at all, or as .mp4.

    Raises:
        UserError: another ending, or .mp4 without the extra.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"{path}: a film is .webp, .gif or .mp4")
    if path.suffix == ".mp4":
        save_mp4(pictures, path, fps)
        return
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    durations = [round(1000 / fps)] * (len(images) - 1) + [round(1000 * HOLD)]
    options: dict[str, Any] = {"quality": 75, "method": 2} if path.suffix == ".webp" else {}
    buffer = io.BytesIO()
    images[0].save(
        buffer, path.suffix[1:], save_all=True, append_images=images[1:], duration=durations, loop=0, **options
    )
    write_atomically(path, buffer.getvalue())


def save_mp4(frames: Iterable[NDArray[np.uint8]], path: Path | str, fps: float = 8.0) -> None:
    """Write pictures (height, width, 3) with even sides as one film.

    Raises:
        UserError: the extra is not installed, or the file is not called .mp4.
    """
    if Path(path).suffix != ".mp4":
        raise UserError(f"a film must be called .mp4, not {Path(path).name}")
    for module in ("imageio", "imageio_ffmpeg"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"mp4 needs {module}: install the extra with pip install -e '.[video]', or save as .webp")
    imageio: Any = importlib.import_module("imageio.v2")
    with imageio.get_writer(path, fps=fps, macro_block_size=4) as writer:
        for frame in frames:
            writer.append_data(frame)
        for _ in range(round(HOLD * fps)):
            writer.append_data(frame)
