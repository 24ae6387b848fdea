"""Fields of stiffness that somebody measured: a grid of values from a CSV file, an array or a picture."""

import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from envs.durotaxis.options import Options
from envs.files import array_of, read_plain
from envs.states import FINITE


class MeasuredField(NamedTuple):
    """A grid of intensities and how it lies under the dish; the centre of the grid is the start."""

    values: NDArray[np.float64]  # (H, W) intensities; row 0 is the top
    centre_row: float
    centre_column: float
    scale: float  # grid cells per px of the world
    up_x: float  # unit vector of the steepest ascent of the plane that fits the dish best, y upwards
    up_y: float
    smooth: NDArray[np.float64]  # (H, W) ``values`` smoothed over ``SLOPE_LENGTH``, of which slopes are taken


NOTHING_MEASURED = MeasuredField(np.zeros((2, 2)), 0.5, 0.5, 1.0, 1.0, 0.0, np.zeros((2, 2)))
NO_VALUES = np.zeros((0, 0))
MOST_VALUES, MOST_BYTES = 2**26, 2**30  # of a measured field: 8192 x 8192
PICTURES = ("PNG", "TIFF", "JPEG", "BMP", "GIF", "PPM", "WEBP")  # others may start programs (EPS) or are exotic
SLOPE_LENGTH = 5.0  # px of the world, half a cell; slopes within one pixel of a picture are grey steps and noise


def load_measured(options: Options) -> MeasuredField:
    """Read, check and orient the field of the options; ``NOTHING_MEASURED`` if they name none.

    Raises:
        ValueError: for a missing or unreadable file, text or gaps among numbers, values that are not finite
            and positive, a grid that does not cover the dish, or one without any gradient.
    """
    if options.image is None:
        return NOTHING_MEASURED
    raw = read_grid(options.image)
    if raw.size > MOST_VALUES:
        raise ValueError(f"a measured field may have {MOST_VALUES} values, not {raw.size}: cut or average it")
    if raw.ndim != 2 or min(raw.shape) < 2:
        raise ValueError(f"a measured field must be a grid of at least 2 x 2 values, not of shape {raw.shape}")
    fits = np.abs(raw) <= FINITE[1]
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        raise ValueError(f"the measured field is not finite in row {row}, column {column}: fill or cut such places")
    values = raw * (options.image_kpa_per_value / options.kpa_per_intensity)
    scale = options.um_per_px / options.image_um_per_px
    needed = math.ceil(2 * options.dish_radius * scale) + 1
    if min(values.shape) < needed:
        raise ValueError(
            f"the measured field has {values.shape[0]} x {values.shape[1]} values, but a dish of radius "
            f"{options.dish_radius:g} px needs {needed} x {needed}: "
            "lower dish_radius or check um_per_px and image_um_per_px"
        )
    centre_row, centre_column = (values.shape[0] - 1) / 2, (values.shape[1] - 1) / 2
    up_x, up_y = _steepest_ascent(values, centre_row, centre_column, options.dish_radius * scale)
    values = np.ascontiguousarray(values)
    return MeasuredField(values, centre_row, centre_column, scale, up_x, up_y, _smoothed(values, SLOPE_LENGTH * scale))


def _smoothed(values: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Gaussian mean of width ``sigma`` (grid cells); what lies beyond the border goes on as it came, so ramps stay."""
    margin = math.ceil(4 * sigma)
    padded = np.pad(values, margin, mode="reflect", reflect_type="odd")
    inner = slice(margin, -margin)
    smooth: NDArray[np.float64] = gaussian_filter(padded, sigma, truncate=4.0)[inner, inner]
    return np.ascontiguousarray(smooth)


def read_grid(image: str | Path | NDArray[Any]) -> NDArray[np.float64]:
    """The values of an array, a .csv, a .npy or a picture, (H, W) as they stand there.

    Raises:
        ValueError: a link, a pipe, a missing, unreadable or too large file, or anything but real numbers.
    """
    if isinstance(image, np.ndarray):
        if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
            raise ValueError(f"a measured field must hold real numbers, not {image.dtype}")
        return image.astype(np.float64)
    if not isinstance(image, str | Path):
        raise ValueError(f"image must be a file or an array, not {type(image).__name__}")
    path = Path(image)
    data = read_plain(path, MOST_BYTES)
    if path.suffix == ".csv":
        try:
            return np.loadtxt(io.StringIO(data.decode("utf-8")), delimiter=",", ndmin=2) if data.strip() else NO_VALUES
        except ValueError as error:
            raise ValueError(f"{path} must hold numbers separated by commas, nothing else: {error}") from error
    try:
        return read_grid(array_of(data)) if path.suffix == ".npy" else _picture(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _picture(data: bytes) -> NDArray[np.float64]:
    from PIL import Image, UnidentifiedImageError  # pictures only

    try:
        with Image.open(io.BytesIO(data), formats=PICTURES) as picture:
            if math.prod(picture.size) > MOST_VALUES:
                raise ValueError(f"a picture of {picture.size[0]} x {picture.size[1]} values is too large")
            return np.asarray(picture.convert("F"), dtype=np.float64)
    except UnidentifiedImageError:
        raise ValueError(f"neither .csv nor .npy nor a picture ({', '.join(PICTURES)})") from None
    except (OSError, SyntaxError, EOFError, KeyError, TypeError, Image.DecompressionBombError) as error:
        raise ValueError(f"a broken picture: {str(error)[:200]}") from None  # SyntaxError: PIL's word for it


def _steepest_ascent(values: NDArray[np.float64], row: float, column: float, radius: float) -> tuple[float, float]:
    """Direction of the plane that fits the values within ``radius`` cells of the centre best."""
    grid: NDArray[np.int64] = np.indices(values.shape)  # (2, H, W)
    x, y = grid[1] - column, row - grid[0]  # y upwards
    inside = x**2 + y**2 <= radius**2
    x, y, z = x[inside], y[inside], values[inside]
    slope_x, slope_y = (float(np.sum(axis * (z - z.mean())) / np.sum(axis * axis)) for axis in (x, y))
    length = math.hypot(slope_x, slope_y)
    if length * radius <= 1e-9 * float(np.abs(z).max()):
        raise ValueError("the measured field has no gradient across the dish; a constant field is substrate='flat'")
    return slope_x / length, slope_y / length
