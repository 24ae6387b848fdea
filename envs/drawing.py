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
        window, rows, columns = self._window(top, left, bottom, right)
        outside_rows = np.abs(rows - (top + bottom) / 2) - (bottom - top) / 2 + radius
        outside_columns = np.abs(columns - (left + right) / 2) - (right - left) / 2 + radius
        corner = np.hypot(np.maximum(outside_rows, 0), np.maximum(outside_columns, 0))
        edge = corner + np.minimum(np.maximum(outside_rows, outside_columns), 0) - radius
        self._fill(window, edge, colour, alpha)

    def disc(self, row: float, column: float, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """Fill a circle."""
        window, rows, columns = self._window(row - radius, column - radius, row + radius, column + radius)
        self._fill(window, np.hypot(rows - row, columns - column) - radius, colour, alpha)

    def glow(self, row: float, column: float, radius: float, colour: Colour, alpha: float = 0.5) -> None:
        """Add light that fades with the distance from a point."""
        reach = 3 * radius  # where exp(-9) of it is left
        window, rows, columns = self._window(row - reach, column - reach, row + reach, column + reach)
        self._mix(window, alpha * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / radius**2), colour)

    def image(self) -> NDArray[np.uint8]:
        """The finished picture (height, width, 3)."""
        return np.rint(self._pixels).astype(np.uint8)

    def _window(
        self, top: float, left: float, bottom: float, right: float
    ) -> tuple[tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]:
        """The part of the image that a shape can touch, and the centres of its pixel rows (h, 1) and columns (1, w)."""
        limits = self._pixels.shape
        rows = np.arange(max(0, int(top) - 1), min(limits[0], int(bottom) + 2))
        columns = np.arange(max(0, int(left) - 1), min(limits[1], int(right) + 2))
        if not len(rows) or not len(columns):
            return (slice(0), slice(0)), np.zeros((0, 1)), np.zeros((1, 0))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return window, rows[:, None] + 0.5, columns[None, :] + 0.5

    def _fill(self, window: tuple[slice, slice], edge: NDArray[np.float64], colour: Colour, alpha: float) -> None:
        # A signed distance of half a pixel to either side of the edge covers the pixel from 0 to 1.
        self._mix(window, alpha * np.clip(0.5 - edge, 0.0, 1.0), colour)

    def _mix(self, window: tuple[slice, slice], weight: NDArray[np.float64], colour: Colour) -> None:
        part = self._pixels[window]
        part += weight[..., None] * (np.asarray(colour) - part)
