"""The durotaxis world: see the docstring of ``Durotaxis``."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.durotaxis.curriculum import Curriculum
from envs.durotaxis.episode import first_bad_action, start_rows, step_rows
from envs.durotaxis.features import Observations, blank_observations, write_observations
from envs.durotaxis.layout import CONTROLS, OPERATIONS, action_space, observation_space
from envs.durotaxis.metrics import METRICS
from envs.durotaxis.options import LARGEST, Options
from envs.durotaxis.scene import Scene, scene_of
from envs.durotaxis.state import (
    AT_GOAL,
    DIRECTION,
    KIND,
    RUNNING,
    Colonies,
    new_colonies,
    new_scratch,
    pack,
    physics_of,
)
from envs.durotaxis.state_check import colony_bounds, require_consistent
from envs.durotaxis.substrate import FLAT, intensity_at, kinds_of, load_fields, make_field
from envs.durotaxis.text import describe
from envs.states import checked
from envs.streams import Rows, Streams, uniform
from envs.world import Info, State, World, require_arrays

RESET_OPTIONS = ("direction", "stage")
ADVICE = (
    ". Policies for plain numbers do not know choices: train agents.actor_critic.HybridActorCritic, or take "
    "rl_suite/DurotaxisRatio-v0 (action_mode='delete_ratio'), which any algorithm for continuous actions learns"
)


class Durotaxis(World):
    """A colony of nodes on a substrate of uneven stiffness that has to crawl up the gradient.

    ## Description
    Tissue durotaxis: cells spread further where the ground is stiffer, and clusters follow gradients that single
    cells miss. Here a colony is a tree of nodes. In every step nodes are deleted, spawn a child at a distance that
    the stiffness under them sets, or stay; so the colony crawls by growing ahead and dying behind. The direction of
    the gradient is drawn per episode and is no part of the observation: it has to be inferred from where the nodes
    are and how stiff the ground is there. An agent that does not look reaches the goal by luck only, in about 12 % of
    directions on the shipped dish (``Options.chance_level``).

    Spawning is the Hill equation, ``reach = gamma / (1 + (alpha / stiffness)^2)``, in direction theta, plus normal
    noise. A deleted node's nearest child takes its place in the tree.

    Nodes feel the ground exactly unless ``sensing_noise`` is above 0; then a large colony finds a weak gradient that a
    small one misses, and a single cell (``start_nodes=1, critical_nodes=1, node_limit=2``), which has nothing to
    compare its one reading with, is the control that follows none.

    ## Action Space
    ``action_mode="per_node"``: a ``HybridBox`` with one part per row of ``x``: an operation (0 spawn, 1 delete,
    2 stay) and gamma, alpha, noise and theta in [-1, 1], mapped to ``gamma_range``, ``alpha_range``, ``noise_range``
    and [-pi, pi]. Forbidden operations (``action_mask``) are carried out as stay; parts beyond ``num_nodes`` are idle.
    ``action_mode="delete_ratio"``: ``Box(-1, 1, (3,))``, ratio, cos, sin: the fraction ``(1 + ratio) / 2`` of the nodes
    that are rearmost along (cos, sin) is deleted and all others spawn in random directions. The id
    ``rl_suite/DurotaxisRatio-v0`` is this mode with ``max_nodes=64``; any algorithm for continuous actions learns it.

    ## Observation Space
    A ``Dict`` of padded arrays: the graph with node, edge and graph features, and masks. See ``envs.durotaxis.layout``.

    ## Rewards
    ``w_delete * delete / horizon + w_distance * distance + w_termination * termination``, plus shaping if asked for.
    ``delete`` in [-1, 1] asks for a colony of the right size whose softest nodes are deleted in time
    (``state_machine``) or just of the right size (``homeostatic``). ``distance`` is the change of stiffness at the
    centroid in units of mean gradient times body length. ``termination`` is 1 at the goal and -1 for a failure.
    Winning returns more than failing for all weights that the options accept; ``envs.durotaxis.rewards`` says why.

    ## Starting State
    ``start_nodes`` nodes, uniform on a disc around the centre of the dish, joined by their shortest tree.

    ## Episode End
    Terminated when the centroid crosses the goal line, ``goal_distance`` up the gradient (success); or when it leaves
    the safe radius elsewhere, the colony outgrows ``node_limit`` or has no nodes, or the centroid has moved away
    from the goal for ``retreat_steps`` steps in a row (failures). Truncated after 200 steps as registered.
    With ``mode="assay"`` an episode lasts ``assay_steps``, whatever happens in it: use it to measure movement, since
    rules that end an episode by where the colony went make indices and velocities of blind walkers differ from 0.

    ## Information
    ``envs.durotaxis.metrics.METRICS``: position, velocities, forward migration and durotactic index, persistence,
    stiffness and gradient at centroid, front and rear, shape, components, reward components. Besides ``nodes``,
    ``births``, ``deaths``, ``stage``, ``ending`` (index of ``ENDINGS``), ``substrate`` (index of ``KINDS``),
    ``direction`` (degrees), ``is_success``.

    ## Arguments
    Every field of ``envs.durotaxis.options.Options``. ``reset(options={"direction": degrees, "stage": i})`` fixes the
    direction of one episode or puts a copy on a stage of the curriculum.

    ## References
    Sunyer et al. 2016, "Collective cell durotaxis emerges from long-range intercellular force transmission",
    Science 353.
    Novikova et al. 2017, "Persistence-driven durotaxis", Physical Review Letters 118, 078103.
    Isomursu et al. 2022, "Directed cell migration towards softer environments", Nature Materials 21.
    DuChez et al. 2019, "Durotaxis by human cancer cells", Biophysical Journal 116.

    ## Version History
    v0: first version.
    """

    reset_options = RESET_OPTIONS

    def __init__(self, num_envs: int = 1, **options: Any):
        super().__init__(num_envs)
        self.options = Options.of(options)
        self.measured = load_fields(self.options)
        self.curriculum = Curriculum(self.options)
        stages = self.curriculum.stages
        per_node, max_nodes = self.options.action_mode == "per_node", self.options.max_nodes
        self.observation_space = observation_space(max_nodes, self.options.max_edges, per_node)
        self.action_space = action_space(max_nodes, per_node)
        self.physics = physics_of(self.options)
        self._constants = pack(self.physics)
        self.colonies = new_colonies(
            num_envs,
            capacity=max(stage.node_limit for stage in stages),
            neighbours=self.physics.neighbours,
            window=self.options.advance_window,
            n_metrics=len(METRICS),
        )
        self._scratch = new_scratch(self.colonies.x.shape[1])
        self._seen = Observations._fields if per_node else Observations._fields[:-1]
        self._part_size, self._n_choices = (1 + len(CONTROLS), len(OPERATIONS)) if per_node else (1, 0)

    @classmethod
    def keywords(cls, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Those of ``Options``."""
        return tuple(field.name for field in fields(Options))

    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Draw the field and its direction; ``options`` may fix ``direction`` (degrees) and ``stage``."""
        # Always the same draws, so that equal seeds give equal directions and starts on different fields.
        angles, kinds, gradients = (uniform(streams, rows) for _ in range(3))
        for i, row in enumerate(rows):
            self.curriculum.record(self.colonies, row)
            if "stage" in options:
                self.curriculum.enter(self.colonies, row, options["stage"])
            self._set_task(row, options.get("direction"), angles[i], kinds[i], gradients[i])

    def _set_task(self, row: int, direction: float | None, angle: float, which: float, strength: float) -> None:
        stage = self.curriculum.stages[self.colonies.stage[row]]
        kinds = kinds_of(stage)
        kind, gradient = kinds[int(which * len(kinds))], stage.gradient
        if stage.substrate == "random":
            low, high = stage.random_gradient
            gradient *= low + strength * (high - low)
        field = make_field(stage, kind, gradient, self._direction(stage, direction, angle))
        ahead = field._replace(cos=1.0, sin=0.0)
        start = intensity_at(ahead, self.measured, 0.0, 0.0)
        rise = 0.0 if kind == FLAT else intensity_at(ahead, self.measured, stage.goal_distance, 0.0) - start
        self.colonies.task[row] = (
            *field, math.degrees(math.atan2(field.sin, field.cos)), start, rise, stage.goal_distance, stage.safe_radius,
            stage.start_nodes, stage.critical_nodes, stage.node_limit, *stage.weights,
        )  # fmt: skip

    def _direction(self, stage: Options, given: float | None, drawn: float) -> float:
        """Direction of the gradient in radians."""
        turned = 90.0 if stage.substrate == "rotated" and stage.angle == 0.0 else stage.angle
        direction = stage.direction if given is None else given
        if direction == "random":
            return 2 * math.pi * drawn + math.radians(turned)
        if direction == "measured":
            return math.atan2(self.measured.up_y, self.measured.up_x) + math.radians(turned)
        if not isinstance(direction, int | float) or not abs(direction) <= LARGEST:
            raise ValueError(f"direction must be a finite angle in degrees, not {str(direction)[:40]!r}")
        return math.radians(direction + turned)

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Scatter the first nodes around the centre of the dish."""
        radii = np.array([stage.start_radius for stage in self.curriculum.stages])[self.colonies.stage]
        start_rows(rows, self.colonies, self._constants, self.measured, radii, streams, self._scratch)

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Advance every colony by one step."""
        expected = (self.num_envs, *self.action_space.shape)  # type: ignore[misc]
        if actions.shape != expected:
            raise ValueError(f"an action must have shape {self.action_space.shape}, not {actions.shape[1:]}")
        actions = np.ascontiguousarray(actions, dtype=np.float32)
        bad = first_bad_action(actions, self._part_size, self._n_choices)
        if bad >= 0:
            raise ValueError(
                f"the action of row {bad} is not in {self.action_space}: values must be finite and in [-1, 1]"
                + (f", choices whole numbers in 0..{self._n_choices - 1}{ADVICE}" if self._n_choices else "")
            )
        rewards = np.empty(self.num_envs)
        step_rows(self.colonies, self._constants, self.measured, actions, streams, rewards, self._scratch)
        return rewards, self.colonies.ending != RUNNING

    def observe(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """The padded graph of each of ``rows``; see ``layout``."""
        per_node = self.physics.per_node
        out = blank_observations(len(rows), self.options.max_nodes, self.options.max_edges, per_node)
        write_observations(rows, self.colonies, self._constants, out, self._scratch)
        return dict(zip(self._seen, out, strict=False))  # without action_mask in delete_ratio mode

    def info(self, rows: Rows) -> Info:
        """``METRICS`` and counters of each of ``rows``."""
        colonies = self.colonies
        columns = np.array(self.at(colonies.metrics, rows).T, order="C")  # (M, n), always a copy
        info: Info = dict(zip(METRICS, columns, strict=True))
        for name in ("nodes", "births", "deaths", "stage", "ending"):
            info[name] = self.at(getattr(colonies, name), rows).copy()
        task = self.at(colonies.task, rows)
        info["substrate"] = task[:, KIND].astype(np.int64)
        info["direction"] = task[:, DIRECTION].copy()
        info["is_success"] = info["ending"] == AT_GOAL
        return info

    def action_masks(self) -> NDArray[np.bool_]:
        """Allowed operations of every part (B, max_nodes * 3), in ``per_node`` mode."""
        if not self.physics.per_node:
            return super().action_masks()
        return self.observe(self.all_rows)["action_mask"].astype(np.bool_)

    def scene(self, row: int) -> Scene:
        """What a picture of one row needs to know."""
        return scene_of(self.colonies, row, self.options, self.measured)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Draw one colony: letters for "ansi", a picture (640, 940, 3) for "rgb_array"."""
        if mode == "ansi":
            return describe(self.scene(row))
        from envs.durotaxis.render import draw

        return draw(self.scene(row))

    def get_state(self) -> State:
        """Copies of all arrays of the colonies."""
        return {name: array.copy() for name, array in self.colonies._asdict().items()}

    def set_state(self, state: State) -> None:
        """Continue from what :meth:`get_state` returned."""
        bounds = colony_bounds(self.colonies, len(self.curriculum.stages), self.options.dish_radius)
        require_arrays(state, Colonies._fields)
        now = self.colonies._asdict()
        arrays = {name: checked(name, state[name], array, bounds[name]) for name, array in now.items()}
        kinds = {kind for stage in self.curriculum.stages for kind in kinds_of(stage)} | {
            0
        }  # 0: before the first reset
        require_consistent(arrays, kinds, self.colonies.x.shape[1])
        for name, array in now.items():
            array[...] = arrays[name]
