"""All options of the durotaxis world, checked before anything is built.

Units: lengths are px (``um_per_px`` micrometres), times are steps (``min_per_step`` minutes), stiffness
is intensity (``kpa_per_intensity`` kilopascals), angles in options are degrees against the x axis.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.arguments import require_keywords

SUBSTRATES = (
    "linear", "exponential", "step", "gaussian", "optimum", "radial", "flat", "image", "rotated", "random",
)  # fmt: skip
CHOICES = {
    "action_mode": ("per_node", "delete_ratio"),
    "mode": ("task", "assay"),
    "substrate": SUBSTRATES,
    "edges": ("tree", "knn"),
    "repair": ("tree", "neighbour"),
    "reach": ("hill", "motor_clutch"),
    "delete_reward": ("state_machine", "homeostatic"),
    "reward": ("full", "delete_only", "distance_only", "termination_only"),
}
LARGEST, SMALLEST = 1e9, 1e-9  # of any number: no unit of any option is that far from the others
MOST_STEPS = 10**6  # and episodes
STAGE_OPTIONS = (
    "substrate", "base_intensity", "gradient", "field_width", "peak_distance", "direction", "angle", "random_kinds",
    "random_gradient", "goal_distance", "safe_radius", "start_nodes", "start_radius", "critical_nodes", "node_limit",
    "weight_delete", "weight_distance", "weight_termination",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What ``gym.make("rl_suite/Durotaxis-v0", ...)`` accepts; see the docstring of ``Durotaxis`` for the words.

    Raises ValueError, naming the option and its allowed values, if an option is out of range or contradicts another.

    >>> round(Options(goal_distance=140.0, safe_radius=150.0).chance_level, 3)
    0.117
    """

    action_mode: Literal["per_node", "delete_ratio"] = "per_node"
    mode: Literal["task", "assay"] = "task"  # an assay lasts ``assay_steps``, whatever the colony does
    assay_steps: int = 16  # in which the fastest known agents come to the goal line; controls measure for as long

    # The field of stiffness
    substrate: str = "linear"
    base_intensity: float = 10.0  # at the start
    gradient: float = 0.05  # intensity / px at the start, in the direction of the goal
    field_width: float = 80.0  # px; of a peak or a ridge; a step is a quarter as wide
    peak_distance: float | None = None  # px from the start to a peak; None: just beyond the goal line
    direction: float | str = "random"  # of the gradient: degrees, "random", or "measured" (images only)
    angle: float = 0.0  # degrees added to the direction; 90 for "rotated" if left at 0
    random_kinds: tuple[str, ...] = ("linear", "exponential", "gaussian", "radial")
    random_gradient: tuple[float, float] = (0.5, 1.0)  # of the "random" substrate, times ``gradient``
    image: str | Path | NDArray[Any] | None = None  # .csv, .npy, picture, or array (H, W); row 0 is the top
    image_um_per_px: float = 1.0
    image_kpa_per_value: float = 1.0

    # Units
    um_per_px: float = 1.0
    min_per_step: float = 10.0
    kpa_per_intensity: float = 1.0

    # Dish and goal, distances from the start in px
    goal_distance: float = 140.0  # along the direction, to the goal line
    safe_radius: float = 150.0  # where a centroid has left the dish
    dish_radius: float = 180.0  # the wall that reflects nodes

    # Colony
    start_nodes: int = 56
    start_radius: float = 20.0  # px
    critical_nodes: int = 64  # target size: growth is rewarded up to it, marking starts above it
    node_limit: int = 128  # the episode ends above it
    max_nodes: int = 128  # rows of the padded observation and parts of a per-node action
    edges: Literal["tree", "knn"] = "tree"
    neighbours: int = 6  # per node, with knn edges
    repair: Literal["tree", "neighbour"] = "tree"
    sensing_noise: float = 0.0  # intensity; error of what each node feels of the ground, anew in every step

    # Spawning and deleting
    reach: Literal["hill", "motor_clutch"] = "hill"
    hill_exponent: float = 2.0
    clutch_optimum: float = 12.0  # intensity of maximal traction
    gamma_range: tuple[float, float] = (0.5, 8.0)  # px
    alpha_range: tuple[float, float] = (1.0, 10.0)  # intensity of half reach
    noise_range: tuple[float, float] = (0.05, 2.0)  # px
    gamma: float = 8.0  # in delete_ratio mode, px
    alpha: float = 5.0
    noise: float = 0.5
    max_ratio: float = 1.0  # largest fraction that a delete_ratio action removes
    allow_stay: bool = True

    # Optional mechanics, off at 0
    spring_stiffness: float = 0.0  # fraction of an edge's strain relaxed per step
    spring_rest: float = 8.0  # px
    motility: float = 0.0  # px / step of every node along its heading
    persistence: float = 5.0  # steps for which a heading lasts at ``base_intensity``, proportional to intensity

    # Rewards
    reward: Literal["full", "delete_only", "distance_only", "termination_only"] = "full"
    delete_reward: Literal["state_machine", "homeostatic"] = "state_machine"
    weight_delete: float = 1.0
    weight_distance: float = 0.1  # per body length
    weight_termination: float = 5.0
    body_length: float = 10.0  # px
    horizon: int = 200  # steps over which the delete component is spread
    shaping: float = 0.0  # weight of the potential
    shaping_gamma: float = 0.99
    mark_margin: float = 0.05  # intensity off the average that decides a mark
    mark_delay: int = 2  # steps from mark to deadline
    retreat_steps: int = 30  # consecutive steps away from the goal that end an episode

    # Curriculum: stages are changes to these options; see ``curriculum.py``
    curriculum: tuple[Mapping[str, Any], ...] = ()
    advance_at: float = 0.7  # success rate over the window that promotes to the next stage
    advance_window: int = 10  # episodes

    @staticmethod
    def of(given: Mapping[str, Any]) -> "Options":
        """Build from keyword arguments; an unknown name is a ``TypeError`` that says the nearest known one."""
        require_keywords("Durotaxis", given, [field.name for field in fields(Options)])
        return Options(**given)

    def __post_init__(self) -> None:
        for name in ("random_kinds", "random_gradient", "gamma_range", "alpha_range", "noise_range", "curriculum"):
            value = getattr(self, name)
            _require(isinstance(value, list | tuple), f"{name} must be a list", self, name)
            object.__setattr__(self, name, tuple(value))  # YAML knows lists only
        for name, allowed in CHOICES.items():
            _require(getattr(self, name) in allowed, f"{name} must be one of {', '.join(allowed)}", self, name)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool):
                _require(isinstance(value, bool), f"{field.name} must be true or false", self, field.name)
            elif isinstance(field.default, int):
                _require(type(value) is int, f"{field.name} must be a whole number", self, field.name)
                _require(value <= MOST_STEPS, f"{field.name} must be at most {MOST_STEPS}", self, field.name)
            elif isinstance(field.default, float):
                _require(_is_finite(value), f"{field.name} must be a finite number", self, field.name)
        _require(self.peak_distance is None or (_is_finite(self.peak_distance) and self.peak_distance >= SMALLEST),
                 "peak_distance must be above 0", self, "peak_distance")  # fmt: skip
        for name in ("um_per_px", "min_per_step", "kpa_per_intensity", "image_um_per_px", "image_kpa_per_value",
                     "base_intensity", "field_width", "start_radius", "body_length", "hill_exponent",
                     "clutch_optimum", "persistence", "spring_rest", "gamma", "alpha"):  # fmt: skip
            _require(getattr(self, name) > 0, f"{name} must be above 0", self, name)
            _require(getattr(self, name) >= SMALLEST, f"{name} must be at least {SMALLEST:g}", self, name)
        for name in ("noise", "sensing_noise", "spring_stiffness", "motility", "mark_margin", "shaping",
                     "weight_delete", "weight_distance", "weight_termination", "gradient"):  # fmt: skip
            _require(getattr(self, name) >= 0, f"{name} must not be negative", self, name)
        for name in ("gamma_range", "alpha_range", "noise_range", "random_gradient"):
            low, high = _pair(self, name)
            _require(0 <= low <= high, f"{name} must be (low, high) with 0 <= low <= high", self, name)
        for name in ("neighbours", "horizon", "retreat_steps", "mark_delay", "advance_window", "assay_steps"):
            _require(getattr(self, name) >= 1, f"{name} must be at least 1", self, name)
        _require(0 < self.max_ratio <= 1, "max_ratio must be in (0, 1]", self, "max_ratio")
        _require(self.spring_stiffness <= 0.5, "spring_stiffness must be at most 0.5", self, "spring_stiffness")
        _require(0 < self.shaping_gamma <= 1, "shaping_gamma must be in (0, 1]", self, "shaping_gamma")
        _require(0 < self.advance_at <= 1, "advance_at must be in (0, 1]", self, "advance_at")
        self._check_field()
        self._check_limits()
        self._check_rewards()
        self.stages()

    def _check_field(self) -> None:
        _require(self.direction in ("random", "measured") or _is_finite(self.direction),
                 'direction must be degrees, "random" or "measured"', self, "direction")  # fmt: skip
        if self.direction == "measured" and self.substrate != "image":
            raise ValueError('direction="measured" is for substrate="image"; give degrees or "random"')
        if (self.substrate == "image") != (self.image is not None):
            raise ValueError('substrate="image" and image=<file or array> go together; one of them is missing')
        if self.substrate not in ("flat", "image"):
            _require(self.gradient >= SMALLEST, 'gradient must be above 0; a constant field is substrate="flat"',
                     self, "gradient")  # fmt: skip
        analytic = ("linear", "exponential", "step", "gaussian", "optimum", "radial")
        _require(len(self.random_kinds) > 0 and all(kind in analytic for kind in self.random_kinds),
                 f"random_kinds must be some of {', '.join(analytic)}", self, "random_kinds")  # fmt: skip
        _require(self.random_gradient[0] > 0, "random_gradient must be above 0", self, "random_gradient")

    def _check_limits(self) -> None:
        if not 0 < self.goal_distance < self.safe_radius < self.dish_radius:
            raise ValueError(
                "distances must satisfy 0 < goal_distance < safe_radius < dish_radius, not "
                f"{self.goal_distance}, {self.safe_radius}, {self.dish_radius}"
            )
        if not self.start_radius < self.goal_distance:
            raise ValueError(f"start_radius {self.start_radius} must be below goal_distance {self.goal_distance}")
        if not 1 <= self.start_nodes <= self.critical_nodes < self.node_limit <= np.iinfo(np.int16).max:
            raise ValueError(
                "node numbers must satisfy 1 <= start_nodes <= critical_nodes < node_limit <= 32767, not "
                f"{self.start_nodes}, {self.critical_nodes}, {self.node_limit}"
            )
        _require(2 <= self.max_nodes <= np.iinfo(np.int16).max, "max_nodes must be in 2..32767", self, "max_nodes")
        if self.edges == "knn":
            _require(self.neighbours < self.max_nodes, "neighbours must be below max_nodes", self, "neighbours")

    def _check_rewards(self) -> None:
        """A success must outweigh everything that a failing episode can collect within the horizon."""
        delete, distance, termination = self.weights
        drift = 1.0 + (1.0 - self.shaping_gamma) * self.horizon  # how far an undiscounted potential can wander
        spread = 2 * delete + 2 * distance * self.goal_distance / self.body_length + 4 * self.shaping * drift
        if termination <= spread:
            raise ValueError(
                f"weight_termination must be above {spread:.4g}, not {termination:.4g}: with these weights "
                "a failing episode could return more than a winning one"
            )

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of delete, distance and termination after ablation; termination always stays."""
        delete = self.weight_delete if self.reward in ("full", "delete_only") else 0.0
        distance = self.weight_distance if self.reward in ("full", "distance_only") else 0.0
        return delete, distance, self.weight_termination

    @property
    def chance_level(self) -> float:
        """Share of directions in which a colony that walks straight and blindly meets the goal line."""
        return math.acos(self.goal_distance / self.safe_radius) / math.pi

    @property
    def max_edges(self) -> int:
        """Columns of the padded ``edge_index``."""
        return self.max_nodes - 1 if self.edges == "tree" else self.max_nodes * self.neighbours

    def stages(self) -> tuple["Options", ...]:
        """The options of each curriculum stage; without a curriculum, these options alone."""
        stages = []
        for i, changes in enumerate(self.curriculum):
            if not isinstance(changes, Mapping):
                raise ValueError(f"curriculum stage {i} must be a mapping of options, not {changes!r}")
            for name in changes:
                if name not in STAGE_OPTIONS:
                    raise ValueError(f"curriculum stage {i} cannot change {name!r}; it may: {', '.join(STAGE_OPTIONS)}")
            whole = {field.name: getattr(self, field.name) for field in fields(self)} | {"curriculum": ()}
            stages.append(Options.of(whole | dict(changes)))
        return tuple(stages) or (self,)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _require(condition: bool, rule: str, options: Options, name: str) -> None:
    if not condition:
        raise ValueError(f"{rule}, not {_short(getattr(options, name))}")


def _short(value: object) -> str:
    """A value for a message; a number of hundreds of digits is not written out."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _pair(options: Options, name: str) -> tuple[float, float]:
    values = getattr(options, name)
    if len(values) != 2 or not all(_is_finite(value) for value in values):
        raise ValueError(f"{name} must be two numbers (low, high), not {values!r}")
    return float(values[0]), float(values[1])
