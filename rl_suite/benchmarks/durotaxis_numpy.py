"""The durotaxis world once more, written plainly: one colony, Python objects, numpy, scipy and networkx.

It says the same as the kernels in ``envs/durotaxis`` in the fewest words, shares no dynamics with them, and
draws the same random numbers in the same order. Tests compare the two; the benchmark measures against it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from envs.durotaxis import layout
from envs.durotaxis.measured import load_measured
from envs.durotaxis.options import Options
from envs.streams import seed_stream, uniform
from rl_suite.benchmarks.durotaxis_numpy_view import measure, observe

Point = NDArray[np.float64]  # (2,)
KEEP, TO_DELETE = "keep", "to delete"


@dataclass(eq=False)
class Node:
    """One node; ``parent`` is its neighbour towards the root of the tree."""

    identity: int
    mother: int
    place: Point
    born: int
    heading: float
    parent: "Node | None" = None
    mark: str = ""
    deadline: int = 0
    anchor: Point = field(default_factory=lambda: np.zeros(2))
    anchor_step: int = 0


class PlainDurotaxis:
    """One colony with the options of ``rl_suite/Durotaxis-v0``, without curriculum."""

    def __init__(self, **options: Any):
        self.options = Options.of(options)
        self.measured = load_measured(self.options)

    # Fields

    def intensity(self, place: Point) -> float:
        """Stiffness at a place of the dish."""
        o, kind = self.options, self.kind
        u, v = place @ self.up, place @ self.left
        base, slope = o.base_intensity, self.gradient
        peak = o.peak_distance or (o.goal_distance + o.safe_radius) / 2
        if kind == "flat":
            return base
        if kind == "linear":
            return float(base + slope * u)
        if kind == "exponential":
            return float(base * np.exp(slope / base * u))
        if kind == "step":
            return float(base + slope * o.field_width / 4 * np.tanh(u / (o.field_width / 4)))
        if kind == "radial":
            steepness = slope * np.hypot(peak, 1) / peak
            return float(base + steepness * (np.hypot(peak, 1) - np.sqrt((u - peak) ** 2 + v**2 + 1)))
        if kind in ("gaussian", "optimum"):
            at_start = np.exp(-0.5 * (peak / o.field_width) ** 2)
            height = slope * o.field_width**2 / (peak * at_start)
            off_axis = v**2 if kind == "gaussian" else 0.0
            return float(
                base - height * at_start + height * np.exp(-0.5 * ((u - peak) ** 2 + off_axis) / o.field_width**2)
            )
        m = self.measured
        column = m.centre_column + m.scale * (u * m.up_x - v * m.up_y)
        row = m.centre_row - m.scale * (u * m.up_y + v * m.up_x)
        r, c = min(int(row), len(m.values) - 2), min(int(column), m.values.shape[1] - 2)
        (a, b), (d, e) = m.values[r : r + 2, c : c + 2]
        right, down = column - c, row - r
        return float((1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * d + right * e))

    # Randomness: the stream of a single environment

    def uniform(self) -> float:
        """One number in [0, 1)."""
        return float(uniform(self.stream, np.zeros(1, dtype=np.int64))[0])

    def in_disc(self) -> tuple[Point, float]:
        """A point of the unit disc and its squared distance from the centre."""
        while True:
            point = np.array([2 * self.uniform() - 1, 2 * self.uniform() - 1])
            square = float(point @ point)
            if 0 < square < 1:
                return point, square

    def normal_pair(self) -> Point:
        """Two standard normal numbers."""
        point, square = self.in_disc()
        return point * math.sqrt(-2 * math.log(square) / square)

    # Episode

    def reset(self, seed: int) -> dict[str, NDArray[Any]]:
        """Start an episode as a single environment does after ``reset(seed=seed)``."""
        o = self.options
        self.stream = np.array([seed_stream(seeding.np_random(seed)[0])])
        drawn, which, strength = self.uniform(), self.uniform(), self.uniform()
        angle = math.radians(o.angle or (90.0 if o.substrate == "rotated" else 0.0))
        if o.direction == "random":
            angle += 2 * math.pi * drawn
        elif o.direction == "measured":
            angle += math.atan2(self.measured.up_y, self.measured.up_x)
        else:
            angle += math.radians(float(o.direction))
        self.up = np.array([math.cos(angle), math.sin(angle)])
        self.left = np.array([-self.up[1], self.up[0]])
        self.kind, self.gradient = {"rotated": "linear"}.get(o.substrate, o.substrate), o.gradient
        if o.substrate == "random":
            self.kind = o.random_kinds[int(which * len(o.random_kinds))]
            low, high = o.random_gradient
            self.gradient *= low + strength * (high - low)
        self.step_number, self.births, self.deaths = 0, 0, 0
        self.ending, self.marking_paid, self.retreat = "running", False, 0
        self.nodes = self._first_nodes()
        self.centroids = [self.centroid()]
        self.potential = 0.0
        self._link()
        return self.observe()

    def _first_nodes(self) -> list[Node]:
        o, nodes = self.options, []
        for i in range(o.start_nodes):
            radius, angle = o.start_radius * math.sqrt(self.uniform()), 2 * math.pi * self.uniform()
            place = radius * (math.cos(angle) * self.up + math.sin(angle) * self.left)
            heading = 2 * math.pi * self.uniform() + math.atan2(self.up[1], self.up[0])
            nodes.append(Node(i, -1, place, 0, heading))
        middle = np.mean([node.place for node in nodes], axis=0)
        for node in nodes:
            node.place = node.place - middle
            node.anchor = node.place
        complete = nx.Graph()
        for i, a in enumerate(nodes):
            complete.add_weighted_edges_from((a, b, math.dist(a.place, b.place)) for b in nodes[:i])
        for parent, child in nx.bfs_edges(nx.minimum_spanning_tree(complete), nodes[0]):
            child.parent = parent
        return nodes

    def step(self, action: NDArray[Any]) -> tuple[dict[str, NDArray[Any]], float, bool, dict[str, float]]:
        """Advance by one step; returns observation, reward, terminated and the components of the reward."""
        o = self.options
        self.step_number += 1
        before, late_before = len(self.nodes), self._overdue_share()
        orders = self._orders(action)
        of_deletions = self._reward_of_deletions([node for node, (name, _) in orders.items() if name == "delete"])
        reaches = {node: self._reach(node, controls) for node, (name, controls) in orders.items() if name == "spawn"}
        for node in reversed(self.nodes.copy()):
            if orders[node][0] == "delete":
                self._delete(node)
        crowded = self._spawn(reaches)
        if o.spring_stiffness > 0:
            self._relax()
        if o.motility > 0:
            self._wander()
        if o.spring_stiffness > 0 or o.motility > 0:
            self._settle()
        self.centroids.append(self.centroid())
        self._link()
        self._mark()
        moved = float((self.centroids[-1] - self.centroids[-2]) @ self.up)
        self.retreat = self.retreat + 1 if moved < -1e-9 else 0
        self.ending = self._ending(crowded)
        components = self._rewards(before, late_before, of_deletions)
        return self.observe(), sum(components.values()), self.ending != "running", components

    def centroid(self) -> Point:
        """Mean position; that of the last step if no node is left."""
        if not self.nodes:
            return self.centroids[-1]
        return np.asarray(np.mean([node.place for node in self.nodes], axis=0))

    # Dynamics

    def _orders(self, action: NDArray[Any]) -> dict[Node, tuple[str, Sequence[float]]]:
        """What each node is told to do: an operation, and for spawning (gamma, alpha, noise, direction or none)."""
        o, n = self.options, len(self.nodes)
        if o.action_mode == "delete_ratio":
            ratio, direction = 0.5 * (1 + float(action[0])) * o.max_ratio, action[1:].astype(float)
            ranked = sorted(self.nodes, key=lambda node: float(node.place @ direction))
            rear = set(ranked[: int(ratio * n)])
            return {node: ("delete" if node in rear else "spawn", (o.gamma, o.alpha, o.noise)) for node in self.nodes}
        orders: dict[Node, tuple[str, Sequence[float]]] = dict.fromkeys(self.nodes, ("stay", ()))
        for part, node in zip(action.reshape(o.max_nodes, 5).astype(float), self.visible(), strict=False):
            name = layout.OPERATIONS[int(part[0])]
            if (name == "spawn" and n >= o.node_limit) or (name == "delete" and n == 1):
                name = "stay"
            ranges = (o.gamma_range, o.alpha_range, o.noise_range)
            scaled = [low + 0.5 * (1 + v) * (high - low) for v, (low, high) in zip(part[1:4], ranges, strict=True)]
            orders[node] = (name, (*scaled, math.pi * part[4]))
        return orders

    def visible(self) -> list[Node]:
        """The nodes that the padded observation shows, oldest first."""
        most, n = self.options.max_nodes, len(self.nodes)
        if n <= most:
            return self.nodes
        ranked = sorted(self.nodes, key=lambda node: self.intensity(node.place))
        shown = set(ranked[: most // 2] + ranked[n - (most - most // 2) :])
        return [node for node in self.nodes if node in shown]

    def _reach(self, node: Node, controls: Sequence[float]) -> tuple[float, Sequence[float]]:
        o, stiffness = self.options, self.intensity(node.place)
        if o.reach == "motor_clutch":
            q = stiffness / o.clutch_optimum
            return controls[0] * 2 * q / (1 + q**2), controls
        return controls[0] / (1 + (controls[1] / stiffness) ** o.hill_exponent), controls

    def _delete(self, gone: Node) -> None:
        """Remove a node; its nearest child takes its place in the tree."""
        children = [node for node in self.nodes if node.parent is gone]
        self.nodes.remove(gone)
        self.deaths += 1
        if not children:
            return
        pivot = min(children, key=lambda child: math.dist(child.place, gone.place))
        others = [child for child in children if child is not pivot]
        if self.options.repair == "tree" or gone.parent is None:
            pivot.parent = gone.parent
        if self.options.repair == "tree":
            for child in others:
                child.parent = pivot
            return
        joined = [pivot if gone.parent is None else gone.parent]
        waiting = others if gone.parent is None else [*others, pivot]
        while waiting:
            pairs = [(child, other) for child in waiting for other in joined]
            child, other = min(pairs, key=lambda pair: math.dist(pair[0].place, pair[1].place))
            child.parent = other
            waiting.remove(child)
            joined.append(child)

    def _spawn(self, reaches: dict[Node, tuple[float, Sequence[float]]]) -> bool:
        """Every node of ``reaches`` gets a child; returns whether the node limit stopped that."""
        o = self.options
        for mother, (reach, controls) in reaches.items():
            if len(self.nodes) >= o.node_limit:
                return True
            if o.action_mode == "delete_ratio":
                point, square = self.in_disc()
                towards = np.array([self.up, self.left]).T @ (point / math.sqrt(square))
                heading = math.atan2(towards[1], towards[0])
            else:
                heading = controls[3]
                towards = np.array([math.cos(heading), math.sin(heading)])
            along, across = self.normal_pair()
            place = self.fold(mother.place + reach * towards + controls[2] * (along * self.up + across * self.left))
            identity = o.start_nodes + self.births
            self.nodes.append(
                Node(
                    identity, mother.identity, place, self.step_number, heading, mother, "", 0, place, self.step_number
                )
            )
            self.births += 1
        return False

    def fold(self, place: Point) -> Point:
        """Reflect at the wall of the dish."""
        distance, wall = float(np.hypot(*place)), self.options.dish_radius
        if distance <= wall:
            return place
        phase = (distance + wall) % (4 * wall)
        return place / distance * (phase - wall if phase < 2 * wall else 3 * wall - phase)

    def _relax(self) -> None:
        o = self.options
        for node in self.nodes:
            if node.parent is not None:
                apart = node.parent.place - node.place
                length = float(np.hypot(*apart))
                share = 0.5 * o.spring_stiffness * (length - o.spring_rest) / length
                node.place, node.parent.place = node.place + share * apart, node.parent.place - share * apart

    def _wander(self) -> None:
        o = self.options
        for node in self.nodes:
            node.place = self.fold(node.place)
            lasting = o.persistence * self.intensity(node.place) / o.base_intensity
            node.heading += math.sqrt(2 / lasting) * float(self.normal_pair()[0])
            node.place = node.place + o.motility * np.array([math.cos(node.heading), math.sin(node.heading)])

    def _settle(self) -> None:
        for node in self.nodes:
            node.place = self.fold(node.place)
            if math.dist(node.place, node.anchor) > layout.LENGTH_SCALE / 4:
                node.anchor, node.anchor_step = node.place, self.step_number

    # Marks, ends and rewards

    def _mark(self) -> None:
        o, n = self.options, len(self.nodes)
        if n <= o.critical_nodes:
            return
        stiffness = {node: self.intensity(node.place) for node in self.nodes}
        average = float(np.mean(list(stiffness.values())))
        for node, value in stiffness.items():
            forced = n > o.critical_nodes + 10 or self.step_number - node.born >= 10
            soft = value < average - o.mark_margin or (forced and node.mark == "" and value < average)
            if node.mark != TO_DELETE and soft:
                if node.mark == "" or value < average - o.mark_margin:
                    node.mark, node.deadline = TO_DELETE, self.step_number + o.mark_delay
            elif node.mark == "" and (value > average + o.mark_margin or forced):
                node.mark = KEEP

    def _overdue_share(self) -> float:
        late = [node for node in self.nodes if node.mark == TO_DELETE and self.step_number > node.deadline]
        return len(late) / max(len(self.nodes), 1)

    def _reward_of_deletions(self, deleted: Sequence[Node]) -> float:
        window, total = max(1, round(0.3 * self.options.mark_delay)), 0.0
        for node in deleted:
            late = self.step_number - node.deadline
            in_time = node.mark == TO_DELETE and abs(late) <= window
            total += 0.5 * math.exp(-(late**2) / (2 * (window / 1.5) ** 2)) if in_time else -0.5
        return min(max(total, -1.0), 1.0)

    def _ending(self, crowded: bool) -> str:
        o, before, now = self.options, self.centroids[-2], self.centroids[-1]
        if not self.nodes:
            return "no_nodes"
        if crowded:
            return "too_many_nodes"
        left = float(np.hypot(*now)) >= o.safe_radius
        if left:  # where the last displacement crosses the safe radius
            way = now - before
            a, b, c = way @ way, 2 * before @ way, before @ before - o.safe_radius**2
            now = before + (-b + math.sqrt(b**2 - 4 * a * c)) / (2 * a) * way
        if now @ self.up >= o.goal_distance:
            return "goal"
        if left:
            return "out_of_bounds"
        return "retreat" if self.retreat >= o.retreat_steps else "running"

    def _delete_component(self, before: int, of_deletions: float) -> float:
        o, n = self.options, len(self.nodes)
        if o.delete_reward == "homeostatic":
            if 0.75 * o.critical_nodes <= n <= o.critical_nodes:
                return 0.6
            return -0.2 if (n < before) == (n > o.critical_nodes) and n != before else -0.8
        growth = 0.5 * math.exp(-((n - o.critical_nodes) ** 2) / (2 * 20**2))
        total = (growth if n <= o.critical_nodes else -growth) + of_deletions
        total -= min(0.5 * round(self._overdue_share() * n), 0.5)
        if n > o.critical_nodes:
            unmarked = sum(node.mark == "" for node in self.nodes)
            total -= 0.5 * unmarked / o.critical_nodes
            if unmarked < n and not self.marking_paid:
                self.marking_paid = True
                total += 0.5 * (n - unmarked) / n
        return min(max(total, -1.0), 1.0)

    def _rewards(self, before: int, late_before: float, of_deletions: float) -> dict[str, float]:
        o, (weight_delete, weight_distance, weight_termination) = self.options, self.options.weights
        delete = self._delete_component(before, of_deletions) if self.step_number <= o.horizon else 0.0
        start, goal = self.intensity(np.zeros(2)), self.intensity(o.goal_distance * self.up)
        old = self.potential
        if self.nodes and self.kind != "flat":
            gained = (self.intensity(self.centroids[-1]) - start) / (goal - start)
            self.potential = min(max(gained, -1.0), 1.0)
        ended = self.ending != "running"
        ahead = 0.0 if ended else o.shaping_gamma * (self.potential - self._overdue_share())
        return {
            "reward_delete": weight_delete * delete / o.horizon,
            "reward_distance": weight_distance * (self.potential - old) * o.goal_distance / o.body_length,
            "reward_termination": weight_termination * ended * (1.0 if self.ending == "goal" else -1.0),
            "reward_shaping": o.shaping * (ahead - (old - late_before)),
        }

    # What is seen

    def _link(self) -> None:
        """The edges (source, target): from parents to children, or to each node from its nearest ones."""
        if self.options.edges == "tree":
            self.edges = [(node.parent, node) for node in self.nodes if node.parent is not None]
            return
        self.edges = []
        for node in self.nodes:
            others = [other for other in self.nodes if other is not node]
            others.sort(key=lambda other: math.dist(other.place, node.place))
            self.edges += [(other, node) for other in others[: self.options.neighbours]]

    def observe(self) -> dict[str, NDArray[Any]]:
        """The padded observation."""
        return observe(self)

    def metrics(self) -> dict[str, float]:
        """The measures of ``info`` that do not repeat each other."""
        return measure(self)
