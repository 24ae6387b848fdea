"""Pictures of a colony: the dish with its field on the left, a magnified view and a readout on the right.

Everything is drawn at twice the size and averaged down, which smooths every edge; no display is needed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from envs.drawing import AGENT, GOLD, INK, NIGHT, PAPER, ROSE, Colour
from envs.durotaxis.scene import Dish, Scene
from envs.durotaxis.state import KEEP, TO_DELETE
from envs.durotaxis.substrate import fill_intensities, gradient_at

if TYPE_CHECKING:  # Pillow is loaded by the functions that use it, when something is drawn
    from PIL import Image, ImageDraw, ImageFont

FINE = 2  # pixels drawn per pixel shown
SIDE = 640  # of the dish's square, shown pixels
MARGIN = 12
PANEL = 300  # width of the column on the right
LENS = 276  # side of the magnified view
FIELD_COLOURS = np.array(  # soft to stiff
    [(20, 22, 46), (28, 48, 92), (27, 84, 118), (34, 120, 128), (76, 150, 126), (150, 176, 120)], dtype=np.float64
)
OLD: Colour = (129, 111, 214)
LABEL: Colour = (142, 150, 174)
NICE_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
BILINEAR = 2  # Image.Resampling.BILINEAR
OLD_AGE = 8  # steps after which a node has the colour of age


def draw(scene: Scene) -> NDArray[np.uint8]:
    """The picture (height, width, 3) of one moment."""
    image = _ground(scene.dish).copy()
    pen = _pen(image)
    dish_view, lens_view = _dish_view(scene.dish), _lens_view(scene)
    _draw_trail(pen, dish_view, scene)
    _draw_colony(pen, dish_view, scene, node_radius=1.7, edge_alpha=70)
    _draw_lens_frame(pen, dish_view, lens_view)
    image.paste(_lens_image(scene, lens_view), (FINE * (SIDE + MARGIN), FINE * MARGIN))
    frame = [SIDE + MARGIN, MARGIN, SIDE + MARGIN + LENS, MARGIN + LENS]
    pen.rectangle([FINE * side for side in frame], outline=(*INK, 255), width=FINE)
    _draw_readout(pen, scene, left=SIDE + MARGIN, top=MARGIN + LENS + 14)
    return np.asarray(image.reduce(FINE))


class View:
    """Maps px of the world to fine pixels of a square picture.

    Args:
        dish: whose world it is.
        centre: of the world's square, px.
        half_width: of the world's square, px.
        side: of the picture, shown pixels.
        margin: left free on every side of the picture, shown pixels.
    """

    def __init__(self, dish: Dish, centre: tuple[float, float], half_width: float, side: int, margin: int = 0):
        self.dish, self.centre, self.half_width, self.side = dish, centre, half_width, side
        self.scale = FINE * (side / 2 - margin) / half_width  # fine pixels per px

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Column and row of a point; y points upwards in the world."""
        middle = FINE * self.side / 2
        return middle + self.scale * (x - self.centre[0]), middle - self.scale * (y - self.centre[1])

    def world_grid(self, fine: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World coordinates (n, n) of the centres of pixels, ``fine`` of them per shown pixel and axis."""
        n = fine * self.side
        offset = (np.arange(n) + 0.5 - n / 2) / self.scale * FINE / fine
        x, y = np.meshgrid(self.centre[0] + offset, self.centre[1] - offset)
        return x, y


def _dish_view(dish: Dish) -> View:
    return View(dish, (0.0, 0.0), dish.radius, SIDE, MARGIN)


@lru_cache(maxsize=8)
def _ground(dish: Dish) -> Image.Image:
    """The picture without a colony: field, contours, goal, rims, arrow, scale bar, colour bar."""
    image = _image(np.broadcast_to(np.array(NIGHT, np.uint8), (FINE * SIDE, FINE * (SIDE + PANEL), 3)))
    view = _dish_view(dish)
    image.paste(_field_image(view, FINE), (0, 0))
    pen = _pen(image)
    _draw_goal(pen, view)
    _draw_arrow(pen, view)
    _draw_scale_bar(pen, view)
    _draw_colour_bar(image, pen, dish)
    return image


def _values(x: NDArray[np.float64], y: NDArray[np.float64], dish: Dish) -> NDArray[np.float64]:
    """Intensities at points of any shape."""
    distance = np.hypot(x, y)
    inside = np.minimum(1.0, dish.radius / np.maximum(distance, 1e-9))  # beyond the wall, the value at the wall
    values = np.empty(x.size)
    fill_intensities(dish.field, dish.measured, (x * inside).ravel(), (y * inside).ravel(), values, x.size)
    return values.reshape(x.shape)


@lru_cache(maxsize=32)
def _range_of(dish: Dish) -> tuple[float, float]:
    """Lowest and highest intensity of the dish; a flat field is the middle of its range."""
    values = _values(*View(dish, (0.0, 0.0), dish.radius, 32).world_grid(FINE), dish)
    low, high = float(values.min()), float(values.max())
    return (low, high) if high - low > 1e-9 * abs(high) else (0.0, 2.0 * high)


def _colours(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours (..., 3) of positions in the range, 0 soft, 1 stiff."""
    place = np.clip(share, 0.0, 1.0) * (len(FIELD_COLOURS) - 1)
    stops = np.arange(len(FIELD_COLOURS))
    return np.stack([np.interp(place, stops, FIELD_COLOURS[:, c]) for c in range(3)], axis=-1)


def _field_image(view: View, fine: int) -> Image.Image:
    """The field as colours, with contour lines, inside the wall of the dish; ``fine`` samples per shown pixel."""
    dish, (x, y) = view.dish, view.world_grid(fine)
    values, (low, high) = _values(x, y, dish), _range_of(dish)
    colours = _colours((values - low) / (high - low))
    spacing = min(NICE_STEPS, key=lambda step: abs(step - (high - low) / 9))
    bands = np.floor(values / spacing)
    line = np.zeros(values.shape, dtype=np.bool_)
    line[1:, :] |= bands[1:, :] != bands[:-1, :]
    line[:, 1:] |= bands[:, 1:] != bands[:, :-1]
    colours[line] += 0.20 * (255.0 - colours[line])
    cover = np.clip((dish.radius - np.hypot(x, y)) * view.scale + 0.5, 0.0, 1.0)[..., None]
    image = _image((colours * cover + np.array(NIGHT) * (1.0 - cover)).astype(np.uint8))
    return image.resize((FINE * view.side, FINE * view.side), resample=BILINEAR)


def _draw_goal(pen: ImageDraw.ImageDraw, view: View) -> None:
    """The cap of the dish beyond the goal line in gold, and the safe radius as a dashed circle."""
    dish = view.dish
    half = math.acos(dish.goal_distance / dish.safe_radius)
    direction = math.atan2(dish.field.sin, dish.field.cos)
    arc = [direction + half * t for t in np.linspace(-1, 1, 61)]
    cap = [view.at(dish.safe_radius * math.cos(a), dish.safe_radius * math.sin(a)) for a in arc]
    pen.polygon(cap, fill=(*GOLD, 80))
    for first in np.arange(0, 2 * math.pi, 2 * math.pi / 90):
        dash = [first + t * math.pi / 90 for t in (0.0, 0.5, 1.0)]
        points = [view.at(dish.safe_radius * math.cos(a), dish.safe_radius * math.sin(a)) for a in dash]
        pen.line(points, fill=(*PAPER, 90), width=FINE)
    pen.line([cap[0], cap[-1]], fill=(*GOLD, 255), width=2 * FINE)
    rim = [view.at(-dish.radius, dish.radius), view.at(dish.radius, -dish.radius)]
    pen.ellipse([*rim[0], *rim[1]], outline=(*INK, 255), width=FINE)


def _draw_arrow(pen: ImageDraw.ImageDraw, view: View) -> None:
    """An arrow up the gradient at the start; a hollow one where the field is flat and the direction virtual."""
    dish = view.dish
    slope = math.hypot(*gradient_at(dish.field, dish.measured, 0.0, 0.0))
    cos, sin = dish.field.cos, dish.field.sin
    length, head, width = 0.30 * dish.radius, 0.07 * dish.radius, 0.016 * dish.radius

    def corner(along: float, across: float) -> tuple[float, float]:
        return view.at(along * cos - across * sin, along * sin + across * cos)

    outline = [corner(0, -width), corner(length - head, -width), corner(length - head, -3 * width), corner(length, 0),
               corner(length - head, 3 * width), corner(length - head, width), corner(0, width)]  # fmt: skip
    if slope > 0:
        pen.polygon(outline, fill=(*PAPER, 70))
    else:
        pen.line([*outline, outline[0]], fill=(*PAPER, 110), width=FINE)


def _draw_scale_bar(pen: ImageDraw.ImageDraw, view: View) -> None:
    """A length in micrometres, in the lower left corner of a view."""
    um_per_px = view.dish.um_per_px
    um = min(NICE_STEPS, key=lambda step: abs(step - 0.3 * view.half_width * um_per_px))
    length = um / um_per_px * view.scale
    left, y = FINE * 14, FINE * (view.side - 16)
    pen.line([left, y, left + length, y], fill=(*PAPER, 255), width=2 * FINE)
    for x in (left, left + length):
        pen.line([x, y - 4 * FINE, x, y + 4 * FINE], fill=(*PAPER, 255), width=2 * FINE)
    pen.text((left, y - 24 * FINE), f"{um:g} um", font=_font(13), fill=(*PAPER, 255))


def _draw_colour_bar(image: Image.Image, pen: ImageDraw.ImageDraw, dish: Dish) -> None:
    """Stiffness against colour, along the bottom of the right column."""
    low, high = (value * dish.kpa_per_intensity for value in _range_of(dish))
    left, top, width, height = FINE * (SIDE + MARGIN), FINE * (SIDE - 48), FINE * LENS, FINE * 10
    strip = np.broadcast_to(_colours(np.linspace(0, 1, width)), (height, width, 3))
    image.paste(_image(strip.astype(np.uint8)), (left, top))
    below = top + height + 4 * FINE
    pen.text((left, below), f"{low:.3g}", font=_font(12), fill=(*PAPER, 255))
    pen.text((left + width / 2, below), "stiffness, kPa", font=_font(12), fill=(*LABEL, 255), anchor="ma")
    pen.text((left + width, below), f"{high:.3g}", font=_font(12), fill=(*PAPER, 255), anchor="ra")


def _draw_trail(pen: ImageDraw.ImageDraw, view: View, scene: Scene) -> None:
    """The way of the centroid, fading into the past."""
    points = [view.at(x, y) for x, y in scene.trail]
    for i in range(1, len(points)):
        alpha = 60 + 195 * i // len(points)
        pen.line([points[i - 1], points[i]], fill=(*PAPER, alpha), width=2 * FINE)


def _draw_colony(pen: ImageDraw.ImageDraw, view: View, scene: Scene, node_radius: float, edge_alpha: int) -> None:
    """Hull, edges and nodes; nodes are coloured by age, or rose where they are marked for deletion."""
    places = [view.at(x, y) for x, y in zip(scene.x, scene.y, strict=True)]
    if len(places) > 2:
        corners = [places[i] for i in scene.hull]
        pen.polygon(corners, fill=(*PAPER, 26))
        pen.line([*corners, corners[0]], fill=(*PAPER, 120), width=FINE)
    for a, b in scene.edges:
        pen.line([places[a], places[b]], fill=(*PAPER, edge_alpha), width=max(FINE // 2, int(0.5 * node_radius * FINE)))
    for (x, y), age, mark in zip(places, scene.age, scene.mark, strict=True):
        share = min(age / OLD_AGE, 1.0)
        colour = tuple(round(a + share * (b - a)) for a, b in zip(AGENT, OLD, strict=True))
        r = FINE * node_radius
        if mark == TO_DELETE:
            colour = ROSE
        elif mark == KEEP:
            pen.ellipse([x - 1.5 * r, y - 1.5 * r, x + 1.5 * r, y + 1.5 * r], outline=(*GOLD, 200), width=FINE)
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(*colour, 255), outline=(*NIGHT, 160))


def _lens_view(scene: Scene) -> View:
    """A view that follows the colony closely enough to tell its nodes apart."""
    x, y = scene.trail[-1]
    reach = 20.0
    if len(scene.x):
        distance = np.maximum(np.abs(scene.x - x), np.abs(scene.y - y))
        reach = max(10.0 * math.ceil(0.115 * float(distance.max())), reach)
    return View(scene.dish, (float(x), float(y)), reach, LENS)


def _lens_image(scene: Scene, view: View) -> Image.Image:
    """The magnified colony, with a cross at its centroid."""
    image = _field_image(view, 1)
    pen = _pen(image)
    _draw_trail(pen, view, scene)
    _draw_colony(pen, view, scene, node_radius=3.6, edge_alpha=120)
    x, y = view.at(*scene.trail[-1])
    for dx, dy in ((1, 0), (0, 1)):
        reach = 7 * FINE
        pen.line([x - reach * dx, y - reach * dy, x + reach * dx, y + reach * dy], fill=(*PAPER, 255), width=FINE)
    _draw_scale_bar(pen, view)
    return image


def _draw_lens_frame(pen: ImageDraw.ImageDraw, dish_view: View, lens: View) -> None:
    """The square of the dish that the lens shows."""
    (x, y), half = lens.centre, lens.half_width
    (left, top), (right, bottom) = dish_view.at(x - half, y + half), dish_view.at(x + half, y - half)
    pen.rectangle([left, top, right, bottom], outline=(*PAPER, 70), width=FINE)


def _draw_readout(pen: ImageDraw.ImageDraw, scene: Scene, left: int, top: int) -> None:
    """Where the colony stands, in words and numbers."""
    dish, m = scene.dish, scene.metrics
    colour = {"running": PAPER, "goal": GOLD}.get(scene.ending, ROSE)
    status = (
        f"step {scene.step}" if scene.ending == "running" else f"step {scene.step}: {scene.ending.replace('_', ' ')}"
    )
    x, y = FINE * left, FINE * top
    pen.text((x, y), status, font=_font(18), fill=(*colour, 255))
    pen.text((x, y + FINE * 24), dish.title, font=_font(13), fill=(*LABEL, 255))
    share = min(max(m["progress_px"] / dish.goal_distance, 0.0), 1.0)
    bar = y + FINE * 48
    pen.rounded_rectangle([x, bar, x + FINE * LENS, bar + FINE * 8], FINE * 4, fill=(38, 42, 58, 255))
    if share > 0.03:
        pen.rounded_rectangle([x, bar, x + FINE * LENS * share, bar + FINE * 8], FINE * 4, fill=(*GOLD, 255))
    um = dish.um_per_px
    lines = [
        ("to the goal", f"{round(um * m['progress_px'])} of {round(um * dish.goal_distance)} um"),
        ("nodes", f"{len(scene.x)}   (target {dish.critical_nodes}, limit {dish.node_limit})"),
        ("velocity up gradient", f"{m['velocity_up_um_h']:+.1f} um/h"),
        ("forward migration index", f"{m['forward_migration_index']:+.2f}"),
        ("durotactic index", f"{m['durotactic_index']:+.2f}"),
        ("stiffness at centroid", f"{m['stiffness_centroid_kpa']:.2f} kPa"),
        ("rear to front", f"{m['stiffness_rear_kpa']:.2f} - {m['stiffness_front_kpa']:.2f} kPa"),
        ("area, length : breadth", f"{m['area_um2']:.0f} um2, {m['aspect_ratio']:.1f}"),
    ]
    for i, (name, value) in enumerate(lines):
        row = bar + FINE * (22 + 24 * i)
        pen.text((x, row), name, font=_font(13), fill=(*LABEL, 255))
        pen.text((x + FINE * LENS, row), value, font=_font(13), fill=(*PAPER, 255), anchor="ra")


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _pen(image: Image.Image) -> ImageDraw.ImageDraw:
    """A pen whose colours may be translucent."""
    from PIL import ImageDraw

    return ImageDraw.Draw(image, "RGBA")


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(FINE * size)
