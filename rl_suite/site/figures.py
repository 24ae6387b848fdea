"""Figures of how data flows through an agent: columns of boxes joined by arrows, as SVG in the page's own colours."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, GAP_X, GAP_Y, LETTER = 34, 34, 34, 14, 7.2  # px; WIDTH is what a box has beside its letters

Columns = Sequence[Sequence[str]]


def flow(columns: Columns, title: str) -> str:
    """An SVG of the columns from left to right; every box points at every box of the next column."""
    tallest = max(map(len, columns))
    height = tallest * (HEIGHT + GAP_Y) + GAP_Y
    parts: list[str] = []
    left, before = 4.0, list[tuple[float, float]]()
    for column in columns:
        width = WIDTH + LETTER * max(map(len, column))
        top = (height - len(column) * (HEIGHT + GAP_Y) + GAP_Y) / 2
        ends: list[tuple[float, float]] = []
        for text in column:
            middle = top + HEIGHT / 2
            parts += [_arrow(x, y, left, middle) for x, y in before]
            parts.append(_box(left, top, width, text))
            ends.append((left + width, middle))
            top += HEIGHT + GAP_Y
        before, left = ends, left + width + GAP_X
    width = left - GAP_X + 4
    return (
        f'<svg class="flow" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="13">' + "".join(parts) + "</svg>"
    )


def _box(left: float, top: float, width: float, text: str) -> str:
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{HEIGHT}" rx="6" fill="none" '
        f'stroke="currentColor"/><text x="{left + width / 2:.0f}" y="{top + HEIGHT / 2 + 4.5:.0f}" '
        f'text-anchor="middle" fill="currentColor">{escape(text)}</text>'
    )


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return (
        f'<path d="M{x:.0f} {y:.0f} L{to_x - 7:.0f} {to_y:.0f}" stroke="currentColor" opacity=".6"/>'
        f'<path d="M{to_x - 8:.0f} {to_y - 4:.0f} L{to_x - 1:.0f} {to_y:.0f} L{to_x - 8:.0f} {to_y + 4:.0f} Z" '
        'fill="currentColor" opacity=".6"/>'
    )
