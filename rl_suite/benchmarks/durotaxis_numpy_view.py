"""What the plain durotaxis world shows and measures: its observation and the metrics of ``info``."""

import math
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from envs.durotaxis import layout
from envs.durotaxis.state import LAGS

if TYPE_CHECKING:
    from rl_suite.benchmarks.durotaxis_numpy import PlainDurotaxis


def hull_of(places: NDArray[np.float64]) -> tuple[NDArray[np.int64], float, float]:
    """Corners, area and perimeter of the convex hull of (n, 2) points."""
    if len(places) < 3:
        return np.arange(len(places)), 0.0, 2 * math.dist(*places) if len(places) == 2 else 0.0
    hull = ConvexHull(places)
    return hull.vertices, float(hull.volume), float(hull.area)


def observe(world: "PlainDurotaxis") -> dict[str, NDArray[Any]]:
    """The padded observation of ``envs.durotaxis.layout``."""
    o, nodes, step = world.options, world.nodes, world.step_number
    most, per_node = o.max_nodes, o.action_mode == "per_node"
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
    if per_node:
        allowed = np.zeros((most, 3), np.int8)
        allowed[: len(shown)] = [len(nodes) < o.node_limit, len(nodes) > 1, o.allow_stay]
        allowed[len(shown) :, 2] = 1
        seen["action_mask"] = allowed.ravel()
    if not nodes:
        return seen
    places = np.array([node.place for node in nodes])
    values = np.array([world.intensity(node.place) for node in nodes])
    centroid, n = world.centroids[-1], len(nodes)
    far = cdist(places, places).sum(axis=1) / max(n - 1, 1)
    corners, area, _ = hull_of(places)
    incoming, outgoing = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
    for source, target in world.edges:
        incoming[target] += 1
        outgoing[source] += 1
    for i, node in enumerate(nodes):
        if node in row:
            offset = node.place - centroid
            seen["x"][row[node]] = (
                *offset / layout.LENGTH_SCALE,
                (values[i] - values.mean()) / layout.CONTRAST_SCALE,
                incoming[node] / layout.DEGREE_SCALE,
                outgoing[node] / layout.DEGREE_SCALE,
                layout.LENGTH_SCALE / far[i] if far[i] > 0 else 0.0,
                np.hypot(*offset) / layout.LENGTH_SCALE,
                i in corners,
                node.born == step and step > 0,
                (step - node.born) / layout.AGE_SCALE,
                (step - node.anchor_step) / layout.STAGNATION_SCALE,
            )
    edges = [(source, target) for source, target in world.edges if source in row and target in row]
    for k, (source, target) in enumerate(edges):
        apart = target.place - source.place
        length = float(np.hypot(*apart))
        seen["edge_index"][:, k] = row[source], row[target]
        seen["edge_attr"][k] = (length / layout.LENGTH_SCALE, *apart / length)
    seen["num_nodes"][0], seen["num_edges"][0], seen["node_mask"][: len(shown)] = len(shown), len(edges), 1
    low, high = places.min(axis=0) / o.safe_radius, places.max(axis=0) / o.safe_radius
    critical, many = o.critical_nodes, len(world.edges)
    degrees = [incoming[node] + outgoing[node] for node in nodes]
    seen["graph"][:] = (
        n / critical,
        many / critical,
        10 * many / (n * (n - 1)) if n > 1 else 0.0,
        *centroid / o.safe_radius,
        *low,
        *high,
        *(high - low),
        np.prod(high - low),
        area / o.safe_radius**2,
        np.mean(degrees) / layout.DEGREE_SCALE,
        max(degrees) / layout.DEGREE_SCALE,
        sum(degrees) / layout.DEGREE_SCALE / critical,
        values.mean() / layout.INTENSITY_SCALE,
        values.max() / layout.INTENSITY_SCALE,
        values.sum() / layout.INTENSITY_SCALE / critical,
    )
    return seen


def measure(world: "PlainDurotaxis") -> dict[str, float]:
    """Motion, stiffness and shape of the episode so far, under the names of ``METRICS``; needs a step that moved."""
    o, way = world.options, np.array(world.centroids)
    steps = np.diff(way, axis=0)
    lengths, along = np.hypot(*steps.T), steps @ world.up
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
        "durotactic_index": float((np.sum(along > 0) - np.sum(along < 0)) / np.count_nonzero(along)),
        "turning_cosine": float(turns.mean()) if len(turns) else 0.0,
        "msd_exponent": float(np.polyfit(np.log(lags), np.log(msd), 1)[0]) if len(lags) > 1 else 0.0,
        **{f"stiffness_{name}_kpa": world.intensity(spot) * o.kpa_per_intensity for name, spot in spots.items()},
        "area_um2": area * o.um_per_px**2,
        "perimeter_um": perimeter * o.um_per_px,
        "aspect_ratio": float(np.sqrt(spread[1] / spread[0])),
        "components": float(nx.number_connected_components(graph)),
    }
