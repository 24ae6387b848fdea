"""A colony as text."""

import math

import numpy as np

from envs.durotaxis.scene import Scene

COLUMNS, LINES = 49, 25  # characters are about twice as high as wide


def describe(scene: Scene) -> str:
    """The dish as letters: digits count nodes (9 or more: 9), @ is the centroid, + the goal, . the dish."""
    dish = scene.dish
    canvas = np.full((LINES, COLUMNS), " ")
    for line in range(LINES):
        for column in range(COLUMNS):
            x = (2 * column / (COLUMNS - 1) - 1) * dish.radius
            y = (1 - 2 * line / (LINES - 1)) * dish.radius
            distance = math.hypot(x, y)
            if distance <= dish.radius:
                beyond = x * dish.field.cos + y * dish.field.sin >= dish.goal_distance
                canvas[line, column] = "+" if beyond and distance <= dish.safe_radius else "."
    counts = np.zeros((LINES, COLUMNS), dtype=np.int64)
    for x, y in zip(scene.x, scene.y, strict=True):
        counts[_cell(x, y, dish.radius)] += 1
    canvas[counts > 0] = np.minimum(counts[counts > 0], 9).astype(str)
    centroid_x, centroid_y = scene.trail[-1]
    canvas[_cell(centroid_x, centroid_y, dish.radius)] = "@"
    m = scene.metrics
    words = (
        f"{dish.title} | step {scene.step}, {scene.ending.replace('_', ' ')} | {len(scene.x)} nodes | "
        f"progress {m['progress_px']:.1f} of {dish.goal_distance:g} px | durotactic index {m['durotactic_index']:+.2f}"
    )
    return "\n".join(["".join(line).rstrip() for line in canvas] + [words, ""])


def _cell(x: float, y: float, radius: float) -> tuple[int, int]:
    """Line and column of a point; what is on the wall stays in the picture."""
    line, column = (1 - y / radius) / 2 * (LINES - 1), (x / radius + 1) / 2 * (COLUMNS - 1)
    return min(max(round(line), 0), LINES - 1), min(max(round(column), 0), COLUMNS - 1)
