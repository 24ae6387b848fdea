"""What ``info`` reports: where the colony is, how it moves against the gradient, its shape and its size.

Every measure is that of the present episode up to the present step, in the units that its name or its
comment gives. The axis is the direction of the episode's gradient; on a flat field it is the virtual
direction that the same seed would have had, so that a flat control is matched to its field.
"""

import math

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.geometry import (
    area_and_perimeter,
    aspect_ratio,
    convex_hull,
    count_components,
    nearest_slots,
    squared_distances,
    sum_of_distances,
)
from envs.durotaxis.measured import MeasuredField
from envs.durotaxis.state import (
    BASE,
    COS,
    DOWN,
    FIRST_LAG,
    HEIGHT,
    KIND,
    LAGS,
    PATH,
    PEAK,
    RETREAT,
    SIN,
    START_FRONT,
    START_REAR,
    TRAIL,
    TURN_COSINES,
    TURNS,
    UP,
    WIDTH,
    Colonies,
    Physics,
    Scratch,
)
from envs.durotaxis.substrate import Field, fill_intensities, gradient_at, intensity_at
from envs.kernel_cache import kernel

METRICS = (
    "centroid_x",  # px from the centre of the dish
    "centroid_y",
    "progress_px",  # displacement of the centroid along the axis
    "velocity_up",  # px / step along the axis, over the episode
    "velocity_across",  # px / step across the axis, positive to its left
    "velocity_up_um_h",
    "velocity_across_um_h",
    "forward_migration_index",  # displacement along the axis / path length
    "durotactic_index",  # (steps up - steps down) / (steps up + steps down)
    "straightness",  # net displacement / path length
    "turning_cosine",  # mean cosine between successive displacements
    "persistence_h",  # -1 / ln(turning cosine) in hours, at most the time so far
    "msd_exponent",  # slope of log mean squared displacement on log lag: 1 diffusion, 2 straight
    "stiffness_centroid_kpa",  # of the field at the centroid, the foremost and the rearmost node
    "stiffness_front_kpa",
    "stiffness_rear_kpa",
    "gradient_centroid_kpa_um",  # derivative along the axis, at the same places; measured fields smoothed over 5 px
    "gradient_front_kpa_um",
    "gradient_rear_kpa_um",
    "front_velocity",  # px / step of the foremost and rearmost position along the axis, over the episode
    "rear_velocity",
    "area_um2",  # of the convex hull
    "perimeter_um",
    "aspect_ratio",  # length / breadth by principal variances
    "components",  # connected parts of the graph
    "reward_delete",  # components of the last reward, each with its weight: they add up to it
    "reward_distance",
    "reward_termination",
    "reward_shaping",
)
(
    CENTROID_X, CENTROID_Y, PROGRESS, VELOCITY_UP, VELOCITY_ACROSS, VELOCITY_UP_UM_H, VELOCITY_ACROSS_UM_H,
    FORWARD_INDEX, DUROTACTIC_INDEX, STRAIGHTNESS, TURNING, PERSISTENCE, MSD_EXPONENT,
    STIFFNESS_CENTROID, STIFFNESS_FRONT, STIFFNESS_REAR, GRADIENT_CENTROID, GRADIENT_FRONT, GRADIENT_REAR,
    FRONT_VELOCITY, REAR_VELOCITY, AREA, PERIMETER, ASPECT_RATIO, COMPONENTS,
    REWARD_DELETE, REWARD_DISTANCE, REWARD_TERMINATION, REWARD_SHAPING,
) = range(len(METRICS))  # fmt: skip
STILL = 1e-9  # px; a displacement below it has no direction
LOG_LAGS = np.log(np.array(LAGS, dtype=np.float64))


@kernel(allocates=False, inline="always")
def field_of(colonies: Colonies, b: int) -> Field:
    """The field of row b."""
    task = colonies.task[b]
    return Field(int(task[KIND]), task[BASE], task[HEIGHT], task[PEAK], task[WIDTH], task[COS], task[SIN])


@kernel(allocates=False, inline="always")
def measure_nodes(colonies: Colonies, b: int, physics: Physics, measured: MeasuredField, scratch: Scratch) -> None:
    """Fill in what follows from where the nodes are: intensities, distances, neighbours, hull and shape.

    A copy of the positions in single precision makes distances cheaper.
    """
    n = colonies.nodes[b]
    x, y = colonies.x[b], colonies.y[b]
    order, hull, distances = scratch.order, scratch.hull, scratch.reals
    coarse_x, coarse_y = scratch.coarse_x, scratch.coarse_y
    fill_intensities(field_of(colonies, b), measured, x, y, colonies.intensity[b], n)
    for i in range(n):
        coarse_x[i], coarse_y[i] = x[i], y[i]
    for i in range(n):
        colonies.mean_distance[b, i] = sum_of_distances(coarse_x, coarse_y, i, n) / max(n - 1, 1)
    if physics.neighbours > 0:
        for i in range(n):
            squared_distances(x, y, i, n, distances)
            nearest_slots(distances.view(np.int64), i, n, colonies.nearest[b, i])
    corners = convex_hull(x, y, n, order, hull)
    for i in range(n):
        colonies.on_hull[b, i] = 0
    for i in range(corners):
        colonies.on_hull[b, hull[i]] = 1
    area, perimeter = area_and_perimeter(x, y, hull, corners)
    metrics = colonies.metrics[b]
    metrics[AREA] = area * physics.um_per_px**2
    metrics[PERIMETER] = perimeter * physics.um_per_px
    metrics[ASPECT_RATIO] = aspect_ratio(x, y, n)
    if physics.neighbours > 0:
        metrics[COMPONENTS] = count_components(colonies.nearest[b], n, order)
    else:
        roots = 0
        for i in range(n):
            roots += colonies.parent[b, i] < 0
        metrics[COMPONENTS] = roots


@kernel(allocates=False, inline="always")
def measure_places(colonies: Colonies, b: int, physics: Physics, measured: MeasuredField) -> None:
    """Centroid, front and rear: where they are and how stiff the ground is there. Needs at least one node."""
    n, cos, sin = colonies.nodes[b], colonies.task[b, COS], colonies.task[b, SIN]
    x, y, metrics = colonies.x[b], colonies.y[b], colonies.metrics[b]
    mean_x, mean_y, front, rear = 0.0, 0.0, 0, 0
    for i in range(n):
        mean_x, mean_y = mean_x + x[i], mean_y + y[i]
        along = x[i] * cos + y[i] * sin
        if along > x[front] * cos + y[front] * sin:
            front = i
        if along < x[rear] * cos + y[rear] * sin:
            rear = i
    mean_x, mean_y = mean_x / n, mean_y / n
    metrics[CENTROID_X], metrics[CENTROID_Y] = mean_x, mean_y
    field = field_of(colonies, b)
    kpa_per_um = physics.kpa_per_intensity / physics.um_per_px
    for place, (px, py) in enumerate(((mean_x, mean_y), (x[front], y[front]), (x[rear], y[rear]))):
        gradient_x, gradient_y = gradient_at(field, measured, px, py)
        metrics[STIFFNESS_CENTROID + place] = intensity_at(field, measured, px, py) * physics.kpa_per_intensity
        metrics[GRADIENT_CENTROID + place] = (gradient_x * cos + gradient_y * sin) * kpa_per_um
    front_at, rear_at = x[front] * cos + y[front] * sin, x[rear] * cos + y[rear] * sin
    step = colonies.step[b]
    if step == 0:
        colonies.sums[b, START_FRONT], colonies.sums[b, START_REAR] = front_at, rear_at
    metrics[FRONT_VELOCITY] = (front_at - colonies.sums[b, START_FRONT]) / max(step, 1)
    metrics[REAR_VELOCITY] = (rear_at - colonies.sums[b, START_REAR]) / max(step, 1)


@kernel(allocates=False, inline="always")
def follow_centroid(colonies: Colonies, b: int) -> None:
    """Add the last displacement of the centroid to the sums of the episode."""
    step, cos, sin = colonies.step[b], colonies.task[b, COS], colonies.task[b, SIN]
    trail, sums = colonies.trail[b], colonies.sums[b]
    x, y = colonies.metrics[b, CENTROID_X], colonies.metrics[b, CENTROID_Y]
    trail[step % TRAIL, 0], trail[step % TRAIL, 1] = x, y
    if step == 0:
        return
    before = (step - 1) % TRAIL
    dx, dy = x - trail[before, 0], y - trail[before, 1]
    length, along = math.sqrt(dx * dx + dy * dy), dx * cos + dy * sin
    sums[PATH] += length
    sums[UP] += along > STILL
    sums[DOWN] += along < -STILL
    sums[RETREAT] = sums[RETREAT] + 1.0 if along < -STILL else 0.0
    if step > 1:
        earlier = (step - 2) % TRAIL
        ex, ey = trail[before, 0] - trail[earlier, 0], trail[before, 1] - trail[earlier, 1]
        lengths = length * math.sqrt(ex * ex + ey * ey)
        if lengths > STILL * STILL:
            sums[TURNS] += 1.0
            sums[TURN_COSINES] += (dx * ex + dy * ey) / lengths
    for lag in range(len(LAGS)):
        if step >= LAGS[lag]:
            then = (step - LAGS[lag]) % TRAIL
            sums[FIRST_LAG + lag] += (x - trail[then, 0]) ** 2 + (y - trail[then, 1]) ** 2


@kernel(allocates=False)
def msd_exponent(sums: NDArray[np.float64], step: int) -> float:
    """Least-squares slope of log MSD on log lag; 0 while fewer than two lags have a displacement."""
    n, mean_x, mean_y, xx, xy = 0, 0.0, 0.0, 0.0, 0.0
    for lag in range(len(LAGS)):
        if step >= LAGS[lag] and sums[FIRST_LAG + lag] > 0.0:
            n += 1
            value = math.log(sums[FIRST_LAG + lag] / (step - LAGS[lag] + 1))
            dx, dy = LOG_LAGS[lag] - mean_x, value - mean_y
            mean_x, mean_y = mean_x + dx / n, mean_y + dy / n
            xx, xy = xx + dx * (LOG_LAGS[lag] - mean_x), xy + dx * (value - mean_y)
    return xy / xx if n > 1 else 0.0


@kernel(allocates=False, inline="always")
def measure_motion(colonies: Colonies, b: int, physics: Physics) -> None:
    """Velocities and indices of the episode so far; all are 0 while nothing has moved."""
    step, cos, sin = colonies.step[b], colonies.task[b, COS], colonies.task[b, SIN]
    metrics, sums = colonies.metrics[b], colonies.sums[b]
    x, y = metrics[CENTROID_X], metrics[CENTROID_Y]  # an episode starts at the centre
    along, across = x * cos + y * sin, y * cos - x * sin
    metrics[PROGRESS] = along
    metrics[VELOCITY_UP], metrics[VELOCITY_ACROSS] = along / max(step, 1), across / max(step, 1)
    um_h = physics.um_per_px / physics.hours_per_step
    metrics[VELOCITY_UP_UM_H], metrics[VELOCITY_ACROSS_UM_H] = (
        metrics[VELOCITY_UP] * um_h,
        metrics[VELOCITY_ACROSS] * um_h,
    )
    path, moves = sums[PATH], sums[UP] + sums[DOWN]
    metrics[FORWARD_INDEX] = along / path if path > STILL else 0.0
    metrics[STRAIGHTNESS] = math.sqrt(along * along + across * across) / path if path > STILL else 0.0
    metrics[DUROTACTIC_INDEX] = (sums[UP] - sums[DOWN]) / moves if moves > 0.0 else 0.0
    turning = sums[TURN_COSINES] / sums[TURNS] if sums[TURNS] > 0.0 else 0.0
    metrics[TURNING] = turning
    memory = 0.0
    if turning > 0.0:
        memory = min(-1.0 / math.log(turning), float(step)) if turning < 1.0 else float(step)
    metrics[PERSISTENCE] = memory * physics.hours_per_step
    metrics[MSD_EXPONENT] = msd_exponent(sums, step)


@kernel(allocates=False)
def measure(colonies: Colonies, b: int, physics: Physics, measured: MeasuredField, scratch: Scratch) -> None:
    """Everything that follows from where the nodes of row b are now.

    Called at the start and in every step, and not inlined: it is the larger half of what has to be compiled.
    """
    measure_nodes(colonies, b, physics, measured, scratch)
    if colonies.nodes[b] > 0:
        measure_places(colonies, b, physics, measured)
    follow_centroid(colonies, b)
    measure_motion(colonies, b, physics)
