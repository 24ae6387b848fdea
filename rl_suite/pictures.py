"""Pictures decoded as data: known formats alone, and sizes checked before memory is taken."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from rl_suite.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "GIF")
MAX_SIDE = 4096  # pixels


def decode(content: bytes, source: str, colour: bool = False) -> NDArray[np.uint8]:
    """Pixels of one picture: grey (H, W), or (H, W, 3).

    Raises:
        UserError: not a picture, damaged, or larger than ``MAX_SIDE`` pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise UserError(f"{source}: {image.width} x {image.height} pixels; at most {MAX_SIDE} a side are read")
            return np.asarray(image.convert("RGB" if colour else "L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise UserError(f"{source}: not a picture that can be read ({', '.join(FORMATS)}), or damaged") from None
