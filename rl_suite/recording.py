"""Watch an agent play: every moment of one held-out episode, as numbers that a page can replay or as pictures.

``record`` plays through the same evaluator as every number of a report, with a camera between agent and world.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

from agents.protocol import Agent
from envs.durotaxis.env import Durotaxis
from envs.durotaxis.scene import Dish
from envs.durotaxis.substrate import fill_intensities
from envs.gridworld import GridWorld
from rl_suite.errors import UserError
from rl_suite.evaluation.evaluate import EvaluationSpec, preserved_random_state
from rl_suite.evaluation.rollouts import Batch, play
from rl_suite.report.replay import MOST_FRAMES, MOST_GRID, ColonyReplay, Moment, RoomReplay

Picture = NDArray[np.uint8]  # (height, width, 3)
PIXEL = 10  # parts of a pixel in a replay
GRID = 64  # samples of the field per side


@dataclass(frozen=True)
class Look:
    """How much each of several pre-trained models counts for an agent."""

    models: list[str]
    weights: Callable[[Any], NDArray[np.float64]]
    """From raw observations of one copy: (1, n) for the whole, or a row for each node; rows sum to 1."""


@dataclass
class Camera:
    """Notes what one copy of a world looks like, moment after moment."""

    world: Any
    """Of this project; None for any other environment."""
    draw: Callable[[], Picture | None]
    want_pictures: bool
    look: Look | None = None
    moments: list[Moment] = field(default_factory=list)
    cells: list[tuple[int, float, int]] = field(default_factory=list)  # cell, reward, episode
    landmarks: list[tuple[str, int]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    dish: Dish | None = None

    def note(self, reward: float, observation: Any) -> None:
        """One more moment, up to ``MOST_FRAMES``: what the last step earned, and what the agent sees now."""
        world = getattr(self.world, "inner", self.world)
        if max(len(self.moments), len(self.cells), len(self.pictures)) >= MOST_FRAMES:
            return
        if isinstance(world, Durotaxis):
            self._note_colony(world, reward, observation)
        elif isinstance(world, GridWorld):
            episode = int(self.world.episode[0]) if self.world is not world else 0
            self.cells.append((int(world.cell[0]), reward, episode))
            self.landmarks = self.landmarks or [(letter, int(cell)) for letter, _, cell in world.landmarks(0)]
        if self.want_pictures and (picture := self.draw()) is not None:
            self.pictures.append(picture)

    def replay(self, about: str) -> ColonyReplay | RoomReplay | None:
        """What was noted; None for a world that has no replay."""
        if self.dish is not None:
            models = [] if self.look is None else self.look.models
            return colony_replay(self.dish, self.moments, about, models)
        if self.cells:
            world = getattr(self.world, "inner", self.world)
            cells, rewards, episodes = (list(column) for column in zip(*self.cells, strict=True))
            return RoomReplay(
                about=about, size=world.size, landmarks=self.landmarks, cells=cells, rewards=rewards, episodes=episodes
            )
        return None

    def _note_colony(self, world: Durotaxis, reward: float, observation: Any) -> None:
        scene = world.scene(0)
        looks = np.zeros((0, 0)) if self.look is None else self.look.weights(observation)
        if len(looks) not in (0, len(scene.x)):  # of the whole colony, or of parts of its action
            looks = looks.mean(axis=0, keepdims=True)
        self.dish = scene.dish
        intensity = intensities(scene.dish, scene.x, scene.y)
        self.moments.append(
            Moment(
                x=np.rint(PIXEL * scene.x).astype(int).tolist(),
                y=np.rint(PIXEL * scene.y).astype(int).tolist(),
                mark=scene.mark.tolist(),
                age=scene.age.tolist(),
                kpa=np.round(intensity * scene.dish.kpa_per_intensity, 3).tolist(),
                edges=scene.edges.ravel().tolist(),
                reward=reward,
                index=float(np.nan_to_num(scene.metrics["durotactic_index"])),
                looks=np.clip(np.round(looks, 3), 0, 1).tolist(),
            )
        )


class EnoughSeenError(Exception):
    """Ends a recording before its episode ends."""


class Watched(VectorWrapper):
    """A batch of one with a camera in front of it, which raises ``EnoughSeenError`` after ``most`` steps."""

    def __init__(self, env: Batch, camera: Camera, most: int):
        super().__init__(env)
        self.camera, self.left = camera, most

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Start, noted."""
        result = self.env.reset(seed=seed, options=options)
        self.camera.note(0.0, result[0])
        return result

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step, noted unless it was the last: a batch has begun anew by then."""
        result = self.env.step(actions)
        if not (result[2] | result[3])[0]:
            self.camera.note(float(result[1][0]), result[0])
        self.left -= 1
        if not self.left:
            raise EnoughSeenError
        return result


def record(
    agent: Agent, spec: EvaluationSpec, pictures: bool = False, most: int | None = None, look: Look | None = None
) -> Camera:
    """Let the agent play the first episode of ``spec`` and note every moment.

    Args:
        agent: anything with ``predict``.
        spec: of the evaluation; its first task and seed are played.
        pictures: draw every moment as well.
        most: steps to note; None for ``MOST_FRAMES``.
        look: what the agent weighs, to be noted as well.

    Raises:
        UserError: pictures are wanted of a world that draws none.
    """
    alone = replace(spec, n_tasks=1, episodes_per_task=1, n_envs=1)
    if pictures and spec.make_envs is None and not spec.env_id.rpartition(":")[2].startswith("rl_suite/"):
        alone = replace(alone, env_options={**spec.env_options, "render_mode": "rgb_array"})
    with closing(alone.make()) as env, preserved_random_state(spec.seed):
        camera = Camera(getattr(env.unwrapped, "world", None), _drawer(env), pictures, look)
        with suppress(EnoughSeenError):
            play(agent, Watched(env, camera, most or MOST_FRAMES), alone.plan(env)[1], spec.deterministic)
    if pictures and not camera.pictures:
        raise UserError(f"{spec.env_id} draws no pictures (its render_modes lack rgb_array)")
    return camera


def _drawer(env: Batch) -> Callable[[], Picture | None]:
    """How the one copy of a batch is drawn."""
    world = getattr(env.unwrapped, "world", None)
    if world is not None:
        return lambda: world.render(0, "rgb_array") if "rgb_array" in world.metadata["render_modes"] else None

    def draw() -> Picture | None:
        drawn: Any = env.render()
        return None if drawn is None or drawn[0] is None else np.asarray(drawn[0], dtype=np.uint8)

    return draw


def intensities(dish: Dish, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stiffness at points (n,), in units of intensity."""
    values = np.empty(len(x))
    fill_intensities(dish.field, dish.measured, np.ascontiguousarray(x), np.ascontiguousarray(y), values, len(x))
    return values


def colony_replay(dish: Dish, moments: list[Moment], about: str, models: list[str]) -> ColonyReplay:
    """Moments on the field of a dish, and the names of the models that the agent weighs."""
    side = np.linspace(-dish.radius, dish.radius, min(GRID, MOST_GRID))
    x, y = np.meshgrid(side, -side)  # rows from above
    inside = np.minimum(1.0, dish.radius / np.maximum(np.hypot(x, y), 1e-9))
    values = intensities(dish, (x * inside).ravel(), (y * inside).ravel()).reshape(x.shape)
    low, high = float(values.min()), float(values.max())
    share = np.clip((values - low) / (high - low), 0, 1) if high - low > 1e-9 * abs(high) else np.full(x.shape, 0.5)
    return ColonyReplay(
        about=about,
        radius=round(PIXEL * dish.radius),
        safe_radius=round(PIXEL * dish.safe_radius),
        goal=round(PIXEL * dish.goal_distance),
        up=(float(dish.field.cos), float(dish.field.sin)),
        um_per_px=float(dish.um_per_px),
        field=np.rint(255 * share).astype(int).tolist(),
        kpa=(low * dish.kpa_per_intensity, high * dish.kpa_per_intensity),
        moments=moments,
        models=models,
    )
