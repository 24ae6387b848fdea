"""Small anti-aliased pictures with numpy alone: rounded boxes and discs on a dark ground."""

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]  # red, green, blue, 0..255

NIGHT: Colour = (18, 20, 30)
FLOOR: Colour = (38, 42, 58)
TRAIL: Colour = (66, 132, 150)
AGENT: Colour = (94, 234, 212)
GOLD: Colour = (250, 204, 21)
ROSE: Colour = (244, 114, 182)
PAPER: Colour = (226, 232, 240)
INK: Colour = (100, 108, 130)


class Canvas:
    """An image under construction; coordinates are pixels (row, column), measured to pixel centres.

    >>> canvas = Canvas(4, 6, (0, 0, 0))
    >>> canvas.box(0, 0, 4, 3, (255, 0, 0))
    >>> image = canvas.image()
    >>> image.shape, image[2, 1].tolist(), image[2, 5].tolist()
    ((4, 6, 3), [255, 0, 0], [0, 0, 0])
    """

    def __init__(self, height: int, width: int, colour: Colour = NIGHT):
        self._pixels: NDArray[np.float64] = np.full((height, width, 3), colour, dtype=np.float64)
        self._rows, self._columns = np.mgrid[:height, :width] + 0.5  # (H, W) pixel centres

    def box(
        self,
        top: float,
        left: float,
        bottom: float,
        right: float,
        colour: Colour,
        alpha: float = 1.0,
        radius: float = 0.0,
    ) -> None:
        """Fill a rectangle whose corners are rounded with ``radius`` pixels."""
        outside_rows = np.abs(self._rows - (top + bottom) / 2) - (bottom - top) / 2 + radius
        outside_columns = np.abs(self._columns - (left + right) / 2) - (right - left) / 2 + radius
        corner = np.hypot(np.maximum(outside_rows, 0), np.maximum(outside_columns, 0))
        self._blend(corner + np.minimum(np.maximum(outside_rows, outside_columns), 0) - radius, colour, alpha)

    def disc(self, row: float, column: float, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a circle."""
        self._blend(np.hypot(self._rows - row, self._columns - column) - radius, colour, alpha)

    def glow(self, row: float, column: float, radius: float, colour: Colour, alpha: float = 0.5) -> None:
        """Add light that fades with the distance from a point."""
        distance = np.hypot(self._rows - row, self._columns - column) / radius
        self._mix(alpha * np.exp(-(distance**2)), colour)

    def image(self) -> NDArray[np.uint8]:
        """The finished picture (height, width, 3)."""
        return np.rint(self._pixels).astype(np.uint8)

    def _blend(self, distance: NDArray[np.float64], colour: Colour, alpha: float) -> None:
        # A signed distance of half a pixel to either side of the edge covers the pixel from 0 to 1.
        self._mix(alpha * np.clip(0.5 - distance, 0.0, 1.0), colour)

    def _mix(self, weight: NDArray[np.float64], colour: Colour) -> None:
        self._pixels += weight[..., None] * (np.asarray(colour) - self._pixels)
