"""What a picture of one colony needs to know, taken from a live world or from a recorded episode."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.geometry import convex_hull
from envs.durotaxis.measured import MeasuredField
from envs.durotaxis.metrics import METRICS
from envs.durotaxis.options import Options
from envs.durotaxis.state import (
    BASE,
    COS,
    CRITICAL,
    ENDINGS,
    GOAL,
    HEIGHT,
    KIND,
    LAGS,
    LIMIT,
    PEAK,
    SAFE,
    SIN,
    TRAIL,
    WIDTH,
    Colonies,
)
from envs.durotaxis.substrate import KINDS, Field


@dataclass(frozen=True, eq=False)
class Dish:
    """What does not change during an episode; lengths in px from the centre of the dish.

    Equal by its numbers and by the identity of the measured grid, so that pictures of it can be cached.
    """

    field: Field
    measured: MeasuredField
    radius: float
    safe_radius: float
    goal_distance: float
    critical_nodes: int
    node_limit: int
    um_per_px: float
    kpa_per_intensity: float

    def _key(self) -> tuple[object, ...]:
        return (
            self.field, id(self.measured.values), self.radius, self.safe_radius, self.goal_distance,
            self.um_per_px, self.kpa_per_intensity,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dish) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def title(self) -> str:
        """Kind and direction of the field in words."""
        angle = np.degrees(np.arctan2(self.field.sin, self.field.cos)) % 360
        return f"{KINDS[self.field.kind]} field, {angle:.0f} degrees"


@dataclass(frozen=True)
class Scene:
    """One moment: n nodes in the order of their birth, e edges between them, and the measures of the episode."""

    dish: Dish
    step: int
    x: NDArray[np.float64]  # (n,)
    y: NDArray[np.float64]
    age: NDArray[np.int64]  # (n,) steps
    mark: NDArray[np.int64]  # (n,) UNMARKED, KEEP or TO_DELETE
    edges: NDArray[np.int64]  # (e, 2) from, to
    trail: NDArray[np.float64]  # (t, 2) centroids, oldest first, the present one last
    metrics: dict[str, float]
    ending: str

    @property
    def hull(self) -> NDArray[np.int64]:
        """Corners of the convex hull, counter-clockwise."""
        n = len(self.x)
        order, hull = np.empty(n + 1, np.int64), np.empty(2 * n + 2, np.int64)
        return hull[: convex_hull(self.x, self.y, n, order, hull)]


def field_of_task(task: NDArray[np.float64]) -> Field:
    """The field of an episode, from its row of ``Colonies.task``."""
    return Field(int(task[KIND]), *(float(task[column]) for column in (BASE, HEIGHT, PEAK, WIDTH, COS, SIN)))


def dish_of(task: NDArray[np.float64], options: Options, measured: MeasuredField) -> Dish:
    """The dish of an episode, from its row of ``Colonies.task``."""
    return Dish(
        field_of_task(task), measured, options.dish_radius, task[SAFE], task[GOAL],
        int(task[CRITICAL]), int(task[LIMIT]), options.um_per_px, options.kpa_per_intensity,
    )  # fmt: skip


def scene_of(colonies: Colonies, row: int, options: Options, measured: MeasuredField) -> Scene:
    """The present moment of one row; its trail is as long as the state remembers."""
    n, step = int(colonies.nodes[row]), int(colonies.step[row])
    if options.edges == "knn":
        nearest = colonies.nearest[row, :n].astype(np.int64)
        target, rank = np.nonzero(nearest >= 0)
        edges = np.stack([nearest[target, rank], target], axis=1)
    else:
        parent = colonies.parent[row, :n].astype(np.int64)
        edges = np.stack([parent, np.arange(n)], axis=1)[parent >= 0]
    remembered = np.arange(max(0, step - LAGS[-1]), step + 1) % TRAIL
    return Scene(
        dish=dish_of(colonies.task[row], options, measured),
        step=step,
        x=colonies.x[row, :n].copy(),
        y=colonies.y[row, :n].copy(),
        age=(step - colonies.born[row, :n]).astype(np.int64),
        mark=colonies.mark[row, :n].astype(np.int64),
        edges=edges,
        trail=colonies.trail[row, remembered],
        metrics=dict(zip(METRICS, colonies.metrics[row].tolist(), strict=True)),
        ending=ENDINGS[colonies.ending[row]],
    )
