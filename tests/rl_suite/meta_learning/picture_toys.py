"""Pictures for tests: small, of known content, in the shapes that users have."""

import io
import zipfile

import numpy as np
import torch
from PIL import Image

from rl_suite.meta_learning.data.images import ImageSet


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def marked(n_classes=6, per_class=8, size=8, groups=None):
    """Image (class, number) holds its class in pixel (0, 0) and its number in pixel (0, 1)."""
    images = torch.zeros(n_classes * per_class, 1, size, size, dtype=torch.uint8)
    classes = torch.arange(n_classes).repeat_interleave(per_class)
    images[:, 0, 0, 0] = classes
    images[:, 0, 0, 1] = torch.arange(per_class).repeat(n_classes)
    groups = groups or ("",) * n_classes
    return ImageSet(images, classes, tuple(f"class{c}" for c in range(n_classes)), tuple(groups))


def omniglot_zip(path, alphabets, drawings=3, size=105):
    """An archive laid out as Omniglot's: black strokes on white, another stroke for every character."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                for drawing in range(1, drawings + 1):
                    pixels = np.full((size, size), 255)
                    pixels[rng.integers(size), :] = 0
                    pixels[:, character * 3] = 0
                    name = f"{path.stem}/{alphabet}/character{character:02d}/{character:04d}_{drawing:02d}.png"
                    archive.writestr(name, png(pixels))
