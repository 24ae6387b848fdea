"""What the plain durotaxis world shows and measures: its observation and the metrics of ``info``."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from envs.durotaxis import layout
from envs.durotaxis.options import Options
from envs.durotaxis.state import LAGS

Values = NDArray[np.float64]


class NodeLike(Protocol):
    """A node of the plain world."""

    place: Values  # (2,)
    born: int
    anchor_step: int


class WorldLike(Protocol):
    """What can be looked at: options, nodes and edges, and the way of the centroid so far."""

    options: Options
    step_number: int
    centroids: list[Values]
    up: Values
    left: Values

    @property
    def nodes(self) -> Sequence[NodeLike]:
        """All nodes, the oldest first."""

    @property
    def edges(self) -> Sequence[tuple[NodeLike, NodeLike]]:
        """(source, target)."""

    def visible(self) -> Sequence[NodeLike]:
        """Nodes that have a row in the observation."""

    def intensity(self, place: Values) -> float:
        """Of the substrate at ``place`` (2,)."""


def hull_of(places: Values) -> tuple[NDArray[np.int64], float, float]:
    """Corners, area and perimeter of the convex hull of (n, 2) points."""
    if len(places) < 3:
        return np.arange(len(places)), 0.0, 2 * math.dist(*places) if len(places) == 2 else 0.0
    hull = ConvexHull(places)
    return hull.vertices, float(hull.volume), float(hull.area)


def observe(world: WorldLike) -> dict[str, NDArray[Any]]:
    """The padded observation of ``envs.durotaxis.layout``."""
    o, nodes = world.options, world.nodes
    most = o.max_nodes
    seen: dict[str, NDArray[Any]] = {
        "x": np.zeros((most, 11), np.float32),
        "edge_index": np.zeros((2, o.max_edges), np.int16),
        "edge_attr": np.zeros((o.max_edges, 3), np.float32),
        "graph": np.zeros(19, np.float32),
        "num_nodes": np.zeros(1, np.int16),
        "num_edges": np.zeros(1, np.int16),
        "node_mask": np.zeros(most, np.int8),
    }
    shown = world.visible()
    row = {node: i for i, node in enumerate(shown)}
    if o.action_mode == "per_node":
        allowed = np.zeros((most, 3), np.int8)
        allowed[: len(shown)] = [len(nodes) < o.node_limit, len(nodes) > 1, o.allow_stay]
        allowed[len(shown) :, 2] = 1
        seen["action_mask"] = allowed.ravel()
    if not nodes:
        return seen
    places = np.array([node.place for node in nodes])
    values = np.array([world.intensity(node.place) for node in nodes])
    incoming, outgoing = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
    for source, target in world.edges:
        incoming[target] += 1
        outgoing[source] += 1
    degrees = np.array([[incoming[node], outgoing[node]] for node in nodes])
    of_nodes = node_features(world, places, values, degrees)
    for i, node in enumerate(nodes):
        if node in row:
            seen["x"][row[node]] = of_nodes[i]
    edges = [(source, target) for source, target in world.edges if source in row and target in row]
    for k, (source, target) in enumerate(edges):
        apart = target.place - source.place
        length = float(np.hypot(*apart))
        seen["edge_index"][:, k] = row[source], row[target]
        seen["edge_attr"][k] = (length / layout.LENGTH_SCALE, *apart / length)
    seen["num_nodes"][0], seen["num_edges"][0], seen["node_mask"][: len(shown)] = len(shown), len(edges), 1
    seen["graph"][:] = graph_features(world, places, values, degrees)
    return seen


def node_features(
    world: WorldLike, places: Values, values: Values, degrees: NDArray[np.int64]
) -> list[tuple[float, ...]]:
    """The 11 features of every node; ``degrees`` are (n, 2), incoming and outgoing."""
    centroid, step = world.centroids[-1], world.step_number
    far = cdist(places, places).sum(axis=1) / max(len(places) - 1, 1)
    corners, _, _ = hull_of(places)
    features = []
    for i, node in enumerate(world.nodes):
        offset = node.place - centroid
        features.append(
            (
                *offset / layout.LENGTH_SCALE,
                (values[i] - values.mean()) / layout.CONTRAST_SCALE,
                degrees[i, 0] / layout.DEGREE_SCALE,
                degrees[i, 1] / layout.DEGREE_SCALE,
                layout.LENGTH_SCALE / far[i] if far[i] > 0 else 0.0,
                np.hypot(*offset) / layout.LENGTH_SCALE,
                i in corners,
                node.born == step and step > 0,
                (step - node.born) / layout.AGE_SCALE,
                (step - node.anchor_step) / layout.STAGNATION_SCALE,
            )
        )
    return features


def graph_features(world: WorldLike, places: Values, values: Values, degrees: NDArray[np.int64]) -> tuple[float, ...]:
    """The 19 features of the whole colony."""
    o, centroid, n, many = world.options, world.centroids[-1], len(places), len(world.edges)
    _, area, _ = hull_of(places)
    low: Values = places.min(axis=0) / o.safe_radius
    high: Values = places.max(axis=0) / o.safe_radius
    critical = o.critical_nodes
    both = degrees.sum(axis=1)
    return (
        n / critical,
        many / critical,
        10 * many / (n * (n - 1)) if n > 1 else 0.0,
        *centroid / o.safe_radius,
        *low,
        *high,
        *(high - low),
        np.prod(high - low),
        area / o.safe_radius**2,
        both.mean() / layout.DEGREE_SCALE,
        both.max() / layout.DEGREE_SCALE,
        both.sum() / layout.DEGREE_SCALE / critical,
        values.mean() / layout.INTENSITY_SCALE,
        values.max() / layout.INTENSITY_SCALE,
        values.sum() / layout.INTENSITY_SCALE / critical,
    )


def measure(world: WorldLike) -> dict[str, float]:
    """Motion, stiffness and shape of the episode so far, under the names of ``METRICS``; needs a step that moved."""
    o, way = world.options, np.array(world.centroids)
    steps = np.diff(way, axis=0)
    lengths: Values = np.hypot(*steps.T)
    along: Values = steps @ world.up
    products, both = (steps[1:] * steps[:-1]).sum(axis=1), lengths[1:] * lengths[:-1]
    turns = products[both > 0] / both[both > 0]
    places = np.array([node.place for node in world.nodes])
    ranked = places[np.argsort(places @ world.up)]
    spots = {"centroid": way[-1], "front": ranked[-1], "rear": ranked[0]}
    lags = [lag for lag in LAGS if lag < len(way)]
    msd = [np.mean(((way[lag:] - way[:-lag]) ** 2).sum(axis=1)) for lag in lags]
    _, area, perimeter = hull_of(places)
    spread = np.linalg.eigvalsh(np.cov(places.T)) if len(places) > 2 else np.ones(2)
    graph = nx.Graph()
    graph.add_nodes_from(world.nodes)
    graph.add_edges_from(world.edges)
    hour = o.min_per_step / 60
    net = way[-1] - way[0]
    return {
        "progress_px": float(net @ world.up),
        "velocity_up_um_h": float(net @ world.up) / len(steps) * o.um_per_px / hour,
        "velocity_across": float(net @ world.left) / len(steps),
        "forward_migration_index": float(net @ world.up / lengths.sum()),
        "straightness": float(np.hypot(*net) / lengths.sum()),
        "durotactic_index": float(
            (np.count_nonzero(along > 0) - np.count_nonzero(along < 0)) / np.count_nonzero(along)
        ),
        "turning_cosine": float(turns.mean()) if len(turns) else 0.0,
        "msd_exponent": float(np.polyfit(np.log(lags), np.log(msd), 1)[0]) if len(lags) > 1 else 0.0,
        **{f"stiffness_{name}_kpa": world.intensity(spot) * o.kpa_per_intensity for name, spot in spots.items()},
        "area_um2": area * o.um_per_px**2,
        "perimeter_um": perimeter * o.um_per_px,
        "aspect_ratio": float(np.sqrt(spread[1] / spread[0])),
        "components": float(nx.number_connected_components(graph)),
    }
