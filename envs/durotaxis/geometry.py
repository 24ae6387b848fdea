"""Geometry of a few dozen points: hull, spanning tree, distances to all others, nearest neighbours.

Numba kernels for one colony; n is the number of points in use at the beginning of each array.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.kernel_cache import kernel

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]

FURTHEST = np.iinfo(np.int64).max


@kernel(allocates=False)
def sort_slots(keys: Reals, n: int, order: Indices) -> None:
    """Write the slots 0..n-1 to ``order``, sorted by key; equal keys stay in the order of their slots."""
    for i in range(n):
        j = i
        while j > 0 and keys[order[j - 1]] > keys[i]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = i


@kernel(allocates=False)
def turn(x: Reals, y: Reals, a: int, b: int, c: int) -> float:
    """Twice the area of the triangle abc; positive if it runs counter-clockwise."""
    return float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))


@kernel(allocates=False)
def outer_slots(x: Reals, y: Reals, n: int, slots: Indices) -> int:
    """Write the slots that may be on the hull to ``slots`` and return how many (Akl and Toussaint 1978).

    The nodes furthest along the four diagonals span a quadrilateral; what is inside it is not on the hull.
    """
    east, north, west, south = 0, 0, 0, 0
    for i in range(1, n):
        plus, minus = x[i] + y[i], x[i] - y[i]
        if plus > x[north] + y[north]:
            north = i
        if plus < x[south] + y[south]:
            south = i
        if minus > x[east] - y[east]:
            east = i
        if minus < x[west] - y[west]:
            west = i
    outer = 0
    for i in range(n):
        inside = (
            turn(x, y, south, east, i) > 0
            and turn(x, y, east, north, i) > 0
            and turn(x, y, north, west, i) > 0
            and turn(x, y, west, south, i) > 0
        )
        slots[outer] = i
        outer += not inside
    return outer


@kernel(allocates=False)
def convex_hull(x: Reals, y: Reals, n: int, order: Indices, hull: Indices) -> int:
    """Write the corners of the hull counter-clockwise to ``hull`` (2n long) and return how many there are.

    Andrew's monotone chain. Points on an edge are no corners; with fewer than three points all are.
    ``order`` is scratch of length n.
    """
    n = outer_slots(x, y, n, order)
    for i in range(1, n):  # insertion sort of the few that are left, from west to east
        slot, j = order[i], i
        while j > 0 and x[order[j - 1]] > x[slot]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = slot
    if n < 3:
        for i in range(n):
            hull[i] = order[i]
        return n
    size = 0
    for i in range(n):
        while size >= 2 and turn(x, y, hull[size - 2], hull[size - 1], order[i]) <= 0:
            size -= 1
        hull[size] = order[i]
        size += 1
    lower = size + 1
    for i in range(n - 2, -1, -1):
        while size >= lower and turn(x, y, hull[size - 2], hull[size - 1], order[i]) <= 0:
            size -= 1
        hull[size] = order[i]
        size += 1
    return size - 1


@kernel(allocates=False)
def area_and_perimeter(x: Reals, y: Reals, hull: Indices, size: int) -> tuple[float, float]:
    """Of the polygon with these corners; two corners enclose no area and are walked there and back."""
    area, perimeter = 0.0, 0.0
    for i in range(size):
        a, b = hull[i], hull[(i + 1) % size]
        area += x[a] * y[b] - x[b] * y[a]
        perimeter += math.sqrt((x[b] - x[a]) ** 2 + (y[b] - y[a]) ** 2)
    return 0.5 * area, perimeter


@kernel(allocates=False)
def spanning_tree(x: Reals, y: Reals, n: int, parent: NDArray[np.int16], nearest: Reals) -> None:
    """Minimum spanning tree rooted in slot 0 (Prim 1957): ``parent[i]`` is the slot towards the root, -1 there."""
    for i in range(n):
        parent[i] = 0
        nearest[i] = (x[i] - x[0]) ** 2 + (y[i] - y[0]) ** 2
    parent[0], nearest[0] = -1, -1.0  # a negative distance says that the slot is in the tree
    for _ in range(n - 1):
        best = -1
        for i in range(n):
            if nearest[i] >= 0.0 and (best < 0 or nearest[i] < nearest[best]):
                best = i
        nearest[best] = -1.0
        for i in range(n):
            distance = (x[i] - x[best]) ** 2 + (y[i] - y[best]) ** 2
            if nearest[i] > distance:
                nearest[i], parent[i] = distance, best


@kernel(allocates=False, fastmath={"reassoc", "contract"})
def sum_of_distances(x: NDArray[np.float32], y: NDArray[np.float32], i: int, n: int) -> float:
    """Sum of the distances from point i to all n points; free to add in any order, hence several at once."""
    a, b = x[i], y[i]
    total = np.float32(0.0)
    for j in range(n):
        dx, dy = x[j] - a, y[j] - b
        total += math.sqrt(dx * dx + dy * dy)
    return float(total)


@kernel(allocates=False)
def squared_distances(x: Reals, y: Reals, i: int, n: int, out: Reals) -> None:
    """Squared distances from point i to all n points."""
    a, b = x[i], y[i]
    for j in range(n):
        out[j] = (x[j] - a) ** 2 + (y[j] - b) ** 2


@kernel(allocates=False)
def nearest_slots(bits: Indices, i: int, n: int, nearest: NDArray[np.int16]) -> None:
    """Write the slots nearest to point i, nearest first, to ``nearest`` (k,); -1 where there are none.

    ``bits`` holds squared distances seen as integers, which order as the positive reals do, and is spent.
    The lowest bits are replaced by the slot, so that k plain minima give the slots at once.
    """
    mask = 1
    while mask < n:
        mask *= 2
    mask -= 1
    for j in range(n):
        bits[j] = (bits[j] & ~mask) | j
    bits[i] = FURTHEST
    for m in range(len(nearest)):
        least = FURTHEST
        for j in range(n):
            least = min(least, bits[j])
        nearest[m] = -1 if least == FURTHEST else least & mask
        if least != FURTHEST:
            bits[least & mask] = FURTHEST


@kernel(allocates=False)
def count_components(nearest: NDArray[np.int16], n: int, root: Indices) -> int:
    """Connected parts of the neighbour graph, edges taken both ways; ``root`` is scratch of length n."""
    for i in range(n):
        root[i] = i
    parts = n
    for i in range(n):
        for m in range(nearest.shape[1]):
            j = nearest[i, m]
            if j < 0:
                break
            a, b = i, int(j)
            while root[a] != a:
                root[a] = root[root[a]]  # halve the path on the way
                a = root[a]
            while root[b] != b:
                root[b] = root[root[b]]
                b = root[b]
            if a != b:
                root[a] = b
                parts -= 1
    return parts


@kernel(allocates=False)
def aspect_ratio(x: Reals, y: Reals, n: int) -> float:
    """Length over breadth: root of the ratio of the principal variances; 1 for a single place, at most 1414."""
    if n < 2:
        return 1.0
    mean_x, mean_y = 0.0, 0.0
    for i in range(n):
        mean_x, mean_y = mean_x + x[i], mean_y + y[i]
    mean_x, mean_y = mean_x / n, mean_y / n
    xx, yy, xy = 0.0, 0.0, 0.0
    for i in range(n):
        dx, dy = x[i] - mean_x, y[i] - mean_y
        xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
    middle, spread = 0.5 * (xx + yy), math.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
    if middle == 0.0:
        return 1.0
    return math.sqrt((middle + spread) / max(middle - spread, 1e-6 * (middle + spread)))
