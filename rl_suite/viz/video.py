"""Films in mp4, for which the extra ``video`` is needed."""

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError

HOLD = 2.0  # seconds that the last picture stays


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
