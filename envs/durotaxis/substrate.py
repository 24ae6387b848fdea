"""The field of stiffness: ten kinds, each with its analytic gradient.

A field is written in its own field: the origin is the centre of the dish, u runs up the gradient towards
the goal and v across. An episode turns that field by its direction, so every kind points anywhere.
Lengths are px, intensities are in the units that ``kpa_per_intensity`` declares.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.measured import MeasuredField, load_measured
from envs.durotaxis.options import Options
from envs.kernel_cache import kernel

KINDS = ("linear", "exponential", "step", "gaussian", "optimum", "radial", "flat", "image")
LINEAR, EXPONENTIAL, STEP, GAUSSIAN, OPTIMUM, RADIAL, FLAT, IMAGE = range(8)
STIFFEST = 1e6  # times the stiffness at the start; tissues and gels, from brain to bone, span less
ROUNDING = 1.0  # px; rounds the tip of the radial cone, where the gradient has no direction


class Field(NamedTuple):
    """One field: its kind, the numbers of its formula, and the unit vector of u."""

    kind: int
    base: float
    height: float  # or slope, or rate
    peak: float  # px along u
    width: float  # px
    cos: float
    sin: float


def make_field(options: Options, kind: int, gradient: float, angle: float = 0.0) -> Field:
    """The field whose intensity and slope at the start are those given, turned by ``angle`` (radians)."""
    base = options.base_intensity
    peak = options.peak_distance or (options.goal_distance + options.safe_radius) / 2
    width = options.field_width
    if kind == EXPONENTIAL:
        numbers = (base, gradient / base, 0.0, 0.0)
    elif kind == STEP:
        numbers = (base, gradient * width / 4, 0.0, width / 4)
    elif kind in (GAUSSIAN, OPTIMUM):
        at_start = math.exp(-0.5 * (peak / width) ** 2)
        height = gradient * width**2 / (peak * at_start)
        numbers = (base - height * at_start, height, peak, width)
    elif kind == RADIAL:
        slope = gradient * math.hypot(peak, ROUNDING) / peak
        numbers = (base + slope * math.hypot(peak, ROUNDING), slope, peak, 0.0)
    else:
        numbers = (base, gradient if kind == LINEAR else 0.0, 0.0, 0.0)
    return Field(kind, *numbers, math.cos(angle), math.sin(angle))


@kernel(allocates=False)
def bell(squared_distance: float, width: float) -> float:
    """Gaussian of height 1."""
    return math.exp(-0.5 * squared_distance / (width * width))


@kernel(allocates=False)
def intensity_at(field: Field, measured: MeasuredField, x: float, y: float) -> float:
    """Intensity at one point of the dish (px from its centre)."""
    u, v = x * field.cos + y * field.sin, y * field.cos - x * field.sin
    if field.kind == LINEAR:
        return field.base + field.height * u
    if field.kind == FLAT:
        return field.base
    if field.kind == EXPONENTIAL:
        return field.base * math.exp(field.height * u)
    if field.kind == STEP:
        return field.base + field.height * math.tanh(u / field.width)
    if field.kind == GAUSSIAN:
        return field.base + field.height * bell((u - field.peak) ** 2 + v * v, field.width)
    if field.kind == OPTIMUM:
        return field.base + field.height * bell((u - field.peak) ** 2, field.width)
    if field.kind == RADIAL:
        return field.base - field.height * math.sqrt((u - field.peak) ** 2 + v * v + ROUNDING * ROUNDING)
    return measured_value(measured, u, v)


@kernel(allocates=False)
def gradient_at(field: Field, measured: MeasuredField, x: float, y: float) -> tuple[float, float]:
    """Gradient of the intensity (per px) at one point, in the coordinates of the dish."""
    u, v = x * field.cos + y * field.sin, y * field.cos - x * field.sin
    du, dv = 0.0, 0.0
    if field.kind == LINEAR:
        du = field.height
    elif field.kind == EXPONENTIAL:
        du = field.base * field.height * math.exp(field.height * u)
    elif field.kind == STEP:
        du = field.height / field.width / math.cosh(u / field.width) ** 2
    elif field.kind == GAUSSIAN:
        steepness = field.height * bell((u - field.peak) ** 2 + v * v, field.width) / field.width**2
        du, dv = steepness * (field.peak - u), -steepness * v
    elif field.kind == OPTIMUM:
        du = field.height * bell((u - field.peak) ** 2, field.width) * (field.peak - u) / field.width**2
    elif field.kind == RADIAL:
        steepness = field.height / math.sqrt((u - field.peak) ** 2 + v * v + ROUNDING * ROUNDING)
        du, dv = steepness * (field.peak - u), -steepness * v
    elif field.kind == IMAGE:
        du, dv = measured_gradient(measured, u, v)
    return du * field.cos - dv * field.sin, du * field.sin + dv * field.cos


@kernel(allocates=False)
def measured_cell(measured: MeasuredField, u: float, v: float) -> tuple[int, int, float, float]:
    """Row and column of the grid cell that holds (u, v), and the position within it (each 0..1)."""
    column = measured.centre_column + measured.scale * (u * measured.up_x - v * measured.up_y)
    row = measured.centre_row - measured.scale * (u * measured.up_y + v * measured.up_x)
    c = min(max(math.floor(column), 0), measured.values.shape[1] - 2)
    r = min(max(math.floor(row), 0), measured.values.shape[0] - 2)
    return r, c, row - r, column - c


@kernel(allocates=False)
def measured_value(measured: MeasuredField, u: float, v: float) -> float:
    """Bilinear interpolation of the measured grid."""
    r, c, down, right = measured_cell(measured, u, v)
    z = measured.values
    top = z[r, c] + right * (z[r, c + 1] - z[r, c])
    bottom = z[r + 1, c] + right * (z[r + 1, c + 1] - z[r + 1, c])
    return float(top + down * (bottom - top))


@kernel(allocates=False)
def measured_gradient(measured: MeasuredField, u: float, v: float) -> tuple[float, float]:
    """Derivatives along u and v of the bilinear interpolation of the smoothed grid, per px of the world."""
    r, c, down, right = measured_cell(measured, u, v)
    z = measured.smooth
    top, bottom = z[r, c + 1] - z[r, c], z[r + 1, c + 1] - z[r + 1, c]
    left_side, right_side = z[r + 1, c] - z[r, c], z[r + 1, c + 1] - z[r, c + 1]
    along_column = measured.scale * (top + down * (bottom - top))
    along_row = measured.scale * (left_side + right * (right_side - left_side))
    return (
        along_column * measured.up_x - along_row * measured.up_y,
        -along_column * measured.up_y - along_row * measured.up_x,
    )


@kernel(allocates=False)
def fill_intensities(
    field: Field, measured: MeasuredField, x: NDArray[np.float64], y: NDArray[np.float64], out: NDArray[np.float64],
    n: int,
) -> None:  # fmt: skip
    """Intensities at the first n of the points (x, y), written to ``out``."""
    for i in range(n):
        out[i] = intensity_at(field, measured, x[i], y[i])


def range_in_dish(field: Field, measured: MeasuredField, radius: float) -> tuple[float, float]:
    """Lowest and highest intensity within ``radius`` of the centre, on a grid along the field; NaN if not finite.

    Raises:
        ZeroDivisionError: the field has no width.
    """
    r, angle = np.meshgrid(np.linspace(0, radius, 61), np.linspace(0, 2 * np.pi, 121))
    values = np.empty(r.size)
    ahead = field._replace(cos=1.0, sin=0.0)
    fill_intensities(ahead, measured, (r * np.cos(angle)).ravel(), (r * np.sin(angle)).ravel(), values, r.size)
    return (float(values.min()), float(values.max())) if np.isfinite(values).all() else (math.nan, math.nan)


def check_field(options: Options, kind: int, gradient: float, measured: MeasuredField) -> None:
    """Raise ValueError unless the field is positive and of sane height on the whole dish and rises to the goal."""
    try:
        field = make_field(options, kind, gradient)
    except (ZeroDivisionError, OverflowError):
        raise ValueError(
            f"the {KINDS[kind]} field has no finite height: raise field_width ({options.field_width:g})"
        ) from None
    low, high = range_in_dish(field, measured, options.dish_radius)
    if not low > 0:
        raise ValueError(
            f"the {KINDS[kind]} field reaches {low:.4g} inside the dish, but stiffness must be above 0: "
            f"lower gradient ({gradient:.4g}) or dish_radius, or raise base_intensity"
        )
    if high > STIFFEST * options.base_intensity:
        raise ValueError(
            f"the {KINDS[kind]} field reaches {high:.4g} inside the dish, more than {STIFFEST:.0e} times "
            f"base_intensity: raise field_width ({options.field_width:g}) or lower gradient ({gradient:.4g})"
        )
    rise = intensity_at(field, measured, options.goal_distance, 0.0) - intensity_at(field, measured, 0.0, 0.0)
    if kind != FLAT and rise <= 0:
        raise ValueError(
            f"the {KINDS[kind]} field does not rise from the start to the goal line (change {rise:.4g}): "
            "there is no gradient to follow; move peak_distance or goal_distance"
        )


def kinds_of(options: Options) -> list[int]:
    """The kinds of field that episodes with these options can have."""
    if options.substrate == "random":
        return [KINDS.index(kind) for kind in options.random_kinds]
    return [KINDS.index("linear" if options.substrate == "rotated" else options.substrate)]


def load_fields(options: Options) -> MeasuredField:
    """Read the measured field, if any, and check every field that the options can produce."""
    measured = load_measured(options)
    factors = options.random_gradient if options.substrate == "random" else (1.0,)
    for stage in options.stages():
        for kind in kinds_of(stage):
            for factor in factors:
                check_field(stage, kind, stage.gradient * factor, measured)
    return measured
