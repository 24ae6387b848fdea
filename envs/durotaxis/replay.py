"""Recorded episodes: who was where, who spawned whom, and the proof that they can be lived again.

``Recorder`` wraps a durotaxis environment and keeps the present episode as a ``Replay``: a compact npz file, a
CSV with one line per node and step, an animation, and a hash that a second run from seed and actions must give.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.batch import SingleEnv
from envs.durotaxis.env import Durotaxis
from envs.durotaxis.measured import load_measured, read_grid
from envs.durotaxis.metrics import METRICS
from envs.durotaxis.options import Options
from envs.durotaxis.replay_check import FORMAT, check_about, check_episode
from envs.durotaxis.scene import Dish, Scene, dish_of
from envs.durotaxis.state import ENDINGS, KEEP, TO_DELETE, UNMARKED
from envs.files import arrays_of, read_plain

MOST_BYTES = 2**30  # of a replay; an episode of 200 steps takes some 100 kB
MARKS = {UNMARKED: "", KEEP: "keep", TO_DELETE: "delete"}
CSV_COLUMNS = (
    "step", "identity", "mother", "age", "x_um", "y_um", "stiffness_kpa", "mark", "neighbour_towards_root",
)  # fmt: skip


@dataclass(frozen=True)
class Replay:
    """One episode of T steps.

    Moment t = 0..T is what stood after t steps; its nodes are rows ``nodes_at[t]:nodes_at[t + 1]`` of the node arrays.
    """

    options: dict[str, Any]
    """Of the world, where they differ from the defaults."""
    seed: int
    reset_options: dict[str, Any]
    task: NDArray[np.float64]  # (len(TASK),)
    actions: NDArray[np.float32]  # (T, A)
    rewards: NDArray[np.float64]  # (T,)
    metrics: NDArray[np.float64]  # (T + 1, len(METRICS))
    ending: NDArray[np.int64]  # (T + 1,) index of ENDINGS
    nodes_at: NDArray[np.int64]  # (T + 2,)
    identity: NDArray[np.int32]  # (nodes of all moments,) persistent over the episode
    mother: NDArray[np.int32]  # identity of the spawning node, -1 for the first ones
    parent: NDArray[np.int32]  # identity of the neighbour towards the root of the tree, -1 for the root
    born: NDArray[np.int32]  # step
    mark: NDArray[np.int8]
    x: NDArray[np.float32]  # px from the centre of the dish
    y: NDArray[np.float32]
    intensity: NDArray[np.float32]
    edges_at: NDArray[np.int64]  # (T + 2,) rows of ``edges`` of each moment
    edges: NDArray[np.int16]  # (edges of all moments, 2) from and to, counted within the moment

    def __len__(self) -> int:
        return len(self.actions)

    def hash(self) -> str:
        """SHA-256 of seed, actions, lineage, places and rewards: equal episodes have equal hashes."""
        digest = hashlib.sha256(json.dumps(self._plain()[0], sort_keys=True).encode())
        for name in ("actions", "nodes_at", "identity", "mother", "x", "y", "rewards"):
            array = getattr(self, name)
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def lineage(self) -> dict[int, int]:
        """Mother of every node that ever lived, by identity; -1 for the first ones."""
        return dict(zip(self.identity.tolist(), self.mother.tolist(), strict=True))

    def scene(self, moment: int) -> Scene:
        """The moment as a picture needs it, with the whole way of the centroid so far."""
        nodes, edges = (slice(*at[moment : moment + 2]) for at in (self.nodes_at, self.edges_at))
        return Scene(
            dish=self.dish,
            step=moment,
            x=self.x[nodes].astype(np.float64),
            y=self.y[nodes].astype(np.float64),
            age=(moment - self.born[nodes]).astype(np.int64),
            mark=self.mark[nodes].astype(np.int64),
            edges=self.edges[edges].astype(np.int64),
            trail=self.metrics[: moment + 1, [METRICS.index("centroid_x"), METRICS.index("centroid_y")]],
            metrics=dict(zip(METRICS, self.metrics[moment].tolist(), strict=True)),
            ending=ENDINGS[self.ending[moment]],
        )

    @cached_property
    def dish(self) -> Dish:
        """The dish of the episode."""
        options = Options.of(self.options)
        return dish_of(self.task, options, load_measured(options))

    def save(self, path: Path | str) -> None:
        """Write a compressed npz without pickles."""
        plain, images = self._plain()
        arrays = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in plain}
        with Path(path).open("wb") as file:
            np.savez_compressed(file, about=np.array(json.dumps(plain)), **arrays, **images)  # type: ignore[arg-type]

    def _plain(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """What JSON can hold, and the measured field if it was given as an array."""
        options = {name: value for name, value in self.options.items() if not isinstance(value, np.ndarray)}
        images = {name: value for name, value in self.options.items() if isinstance(value, np.ndarray)}
        plain = {"format": FORMAT, "seed": self.seed, "reset_options": self.reset_options, "options": options}
        return plain, images

    @staticmethod
    def load(path: Path | str) -> "Replay":
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: any other file, a link, or arrays that do not fit each other and the options.
        """
        try:
            arrays = arrays_of(read_plain(path, MOST_BYTES), MOST_BYTES)
            seed, reset_options, options = check_about(str(arrays.pop("about", "")))
            if "image" in arrays:
                options["image"] = arrays.pop("image")
            check_episode(arrays, Options.of(options))
            return Replay(options=options, seed=seed, reset_options=reset_options, **arrays)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no durotaxis replay: {error}") from error

    def save_csv(self, path: Path | str) -> None:
        """Write one line per node and moment, in micrometres and kilopascals."""
        options = Options.of(self.options)
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(CSV_COLUMNS)
            for moment in range(len(self) + 1):
                for i in range(*self.nodes_at[moment : moment + 2]):
                    x, y = options.um_per_px * self.x[i], options.um_per_px * self.y[i]
                    stiffness = options.kpa_per_intensity * self.intensity[i]
                    writer.writerow(
                        [
                            moment,
                            self.identity[i],
                            self.mother[i],
                            moment - self.born[i],
                            f"{x:.4f}",
                            f"{y:.4f}",
                            f"{stiffness:.5f}",
                            MARKS[int(self.mark[i])],
                            self.parent[i],
                        ]
                    )

    def frames(self, every: int = 1) -> Iterator[NDArray[np.uint8]]:
        """Pictures (height, width, 3) of every n-th moment and the last one."""
        from envs.durotaxis.render import draw

        for moment in [*range(0, len(self), every), len(self)]:
            yield draw(self.scene(moment))

    def save_animation(self, path: Path | str, fps: float = 8.0, every: int = 1) -> None:
        """Write .webp or .gif, whose last picture stays for two seconds; ``rl_suite.viz.video`` writes .mp4."""
        path = Path(path)
        if path.suffix not in (".webp", ".gif"):
            raise ValueError(f"an animation must be .webp or .gif, not {path.name}; rl_suite.viz.video writes .mp4")
        from PIL import Image

        images = [Image.fromarray(frame) for frame in self.frames(every)]
        durations = [round(1000 / fps)] * (len(images) - 1) + [2000]
        images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=80, method=2)


class Recorder(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps the present episode of a durotaxis environment; ask for it with :meth:`replay` at any time.

    Args:
        env: a single durotaxis environment, wrapped or not.
    """

    def __init__(self, env: gym.Env[Any, Any]):
        super().__init__(env)
        world = getattr(env.unwrapped, "world", None)
        if not isinstance(world, Durotaxis):
            raise ValueError(f"a Recorder is for a single durotaxis environment, not for {env}")
        self._world, self._seed, self._reset_options = world, 0, dict[str, Any]()
        self._actions: list[NDArray[np.float32]] = []
        self._rewards: list[float] = []
        self._moments: list[dict[str, NDArray[Any]]] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; without a seed one is drawn, so that every episode can be lived again."""
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        result = self.env.reset(seed=seed, options=options)
        stage = int(self._world.colonies.stage[0])
        self._seed, self._reset_options = seed, {**(options or {}), **({"stage": stage} if stage else {})}
        self._actions, self._rewards, self._moments = [], [], []
        self._note()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, noted."""
        result = self.env.step(action)
        self._actions.append(np.array(action, dtype=np.float32))
        self._rewards.append(float(result[1]))
        self._note()
        return result

    def replay(self) -> Replay:
        """The episode so far."""
        if not self._moments:
            raise ValueError("nothing was recorded: reset the environment first")
        joined = {name: np.concatenate([moment[name] for moment in self._moments]) for name in self._moments[0]}
        nodes, edges = ([len(moment[name]) for moment in self._moments] for name in ("identity", "edges"))
        actions = np.array(self._actions, np.float32).reshape(len(self._actions), *self._world.action_space.shape)  # type: ignore[misc]
        options = changed_options(self._world.options)
        if isinstance(options.get("image"), str):  # whoever opens the replay may not have the file
            options["image"] = read_grid(options["image"])
        return Replay(
            options=options,
            seed=self._seed,
            reset_options=self._reset_options,
            task=self._world.colonies.task[0].copy(),
            actions=actions,
            rewards=np.array(self._rewards, np.float64),
            nodes_at=np.concatenate([[0], np.cumsum(nodes)]),
            edges_at=np.concatenate([[0], np.cumsum(edges)]),
            **joined,
        )

    def _note(self) -> None:
        colonies, scene = self._world.colonies, self._world.scene(0)
        n = len(scene.x)
        moment = {name: getattr(colonies, name)[0, :n].copy() for name in ("identity", "mother", "born", "mark")}
        moment |= {name: getattr(colonies, name)[0, :n].astype(np.float32) for name in ("x", "y", "intensity")}
        slots = colonies.parent[0, :n]
        moment["parent"] = np.where(slots >= 0, moment["identity"][slots], -1).astype(np.int32)
        moment["edges"] = scene.edges.astype(np.int16)
        moment["metrics"], moment["ending"] = colonies.metrics[:1].copy(), colonies.ending[:1].copy()
        self._moments.append(moment)


def changed_options(options: Options) -> dict[str, Any]:
    """Those options that differ from the defaults, as JSON has them (a measured array stays an array)."""
    changed: dict[str, Any] = {}
    for option in fields(options):
        value = getattr(options, option.name)
        if isinstance(value, np.ndarray):
            changed[option.name] = value
        elif value != option.default:
            changed[option.name] = json.loads(
                json.dumps(str(value) if isinstance(value, Path) else value, default=dict)
            )
    return changed


def resimulate(replay: Replay) -> Replay:
    """Live the episode again from its seed and its actions; the hashes are equal if nothing has changed."""
    recorder = Recorder(SingleEnv(Durotaxis, **replay.options))
    recorder.reset(seed=replay.seed, options=replay.reset_options)
    for action in replay.actions:
        recorder.step(action)
    return recorder.replay()
