"""Learning histories on disk: npz shards with checksums, and a manifest that says what they hold.

::

    histories/
      manifest.json     format, world, source, split, episode length, shards with SHA-256
      shard_00000.npz   arrays of N histories of T steps each:
        observations       (N, T, n)  what the source saw before it acted (n = 0: nothing to see)
        actions            (N, T)     what it did
        rewards            (N, T)     what that earned
        next_observations  (N, T, n)  what it saw then; at the end of an episode the last sight of it, not the reset
        first              (N, T)     True at the first step of an episode
        labels             (N, T)     the action to imitate, -1 = none; or (N, T, A) probabilities
        tasks              (N,)       number of the task
        lengths            (N,)       steps of each history, where some are shorter than T; what follows them is padding

Shards may differ in T: they are padded when they are read together. Written by
``rl_suite.distillation.collect``; ``python -m rl_suite.distillation.doctor check FOLDER`` examines them.
"""

import hashlib
import io
import json
import runpy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.reading import parse_arrays, read_bytes, read_json

FORMAT = "rl_suite histories 1"
MANIFEST = "manifest.json"


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers in the smallest type that holds all of them, other numbers in single precision.

    >>> [compact(np.array(values)).dtype.name for values in ([0, 255], [0, 256], [-1, 3], [0.5, 1.0])]
    ['uint8', 'uint16', 'int16', 'float32']
    """
    if values.dtype.kind not in "iu":
        return values.astype(np.float32) if values.dtype.kind == "f" else values
    kinds = (np.uint8, np.uint16, np.int16, np.int32)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fits = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fits, np.int64))


NUMBERS = "biuf"  # numpy's letters of truth values, whole and real numbers
LAYOUT: dict[str, tuple[tuple[int, ...], str]] = {
    "observations": ((3,), NUMBERS),
    "actions": ((2,), "iu"),
    "rewards": ((2,), NUMBERS),
    "next_observations": ((3,), NUMBERS),
    "first": ((2,), "b"),
    "labels": ((2, 3), NUMBERS),
    "tasks": ((1,), "iu"),
}
"""Array -> how many axes it may have, and which kinds of numbers it may hold."""


@dataclass(frozen=True)
class Histories:
    """N learning histories of T steps, as arrays; the module's docstring says which."""

    observations: NDArray[Any]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    next_observations: NDArray[Any]
    first: NDArray[np.bool_]
    labels: NDArray[Any]
    tasks: NDArray[np.int64]
    lengths: NDArray[np.int64] | None = None
    """(N,) steps of each history; None where all have T. The rest of a row is padding without labels."""

    def __post_init__(self) -> None:
        for name, (axes, kinds) in LAYOUT.items():
            array = getattr(self, name)
            if array.ndim not in axes or array.dtype.kind not in kinds:
                raise ValueError(f"{name} cannot be {array.dtype} of shape {array.shape}")
        if self.next_observations.shape != self.observations.shape:
            raise ValueError("observations and next_observations differ in shape")
        n, t = self.actions.shape
        if t < 2:
            raise ValueError(f"a learning history needs at least 2 steps, not {t}: nothing can be learned from one")
        for name in ("observations", "rewards", "next_observations", "first", "labels"):
            if getattr(self, name).shape[:2] != (n, t):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, which is not ({n}, {t}, ...)")
        if self.tasks.shape != (n,):
            raise ValueError(f"tasks has shape {self.tasks.shape}, not ({n},)")
        if self.lengths is not None:
            if self.lengths.shape != (n,) or self.lengths.dtype.kind not in "iu":
                raise ValueError(f"lengths must be ({n},) whole numbers, not {self.lengths.dtype} {self.lengths.shape}")
            if n and not 2 <= self.lengths.min() <= self.lengths.max() <= t:
                raise ValueError(f"lengths must lie between 2 and the {t} steps that there are")

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def n_steps(self) -> int:
        """Steps T of each history."""
        return int(self.actions.shape[1])

    @property
    def steps(self) -> NDArray[np.int64]:
        """(N,) steps of each history, without padding."""
        return np.full(len(self), self.n_steps) if self.lengths is None else self.lengths.astype(np.int64)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(N, T) False where there is only padding."""
        inside: NDArray[np.bool_] = np.arange(self.n_steps) < self.steps[:, None]
        return inside

    @property
    def in_step(self) -> bool:
        """Whether all histories have their episodes at the same steps, and as many."""
        return self.lengths is None and bool((self.first == self.first[0]).all())

    def returns(self) -> NDArray[np.float64]:
        """Return of every episode, (N, episodes); all histories must have their episodes at the same steps."""
        starts = np.flatnonzero(self.first[0])
        if not self.in_step:
            raise ValueError("the histories' episodes start at different steps")
        return np.add.reduceat(self.rewards.astype(np.float64), starts, axis=1)

    def select_episodes(self, episodes: Sequence[int] | NDArray[np.int64]) -> "Histories":
        """Keep these episodes of every history, so that learning appears faster than it was."""
        bounds = np.append(np.flatnonzero(self.first[0]), self.n_steps)
        steps = np.concatenate([np.arange(bounds[e], bounds[e + 1]) for e in episodes])
        arrays = {name: getattr(self, name)[:, steps] for name in ARRAYS if name != "tasks"}
        return Histories(**arrays, tasks=self.tasks)


ARRAYS = tuple(field.name for field in fields(Histories) if field.name != "lengths")


def join(parts: Sequence[Histories]) -> Histories:
    """One set of histories out of several; those that are shorter than the longest are padded at their end.

    Raises:
        ValueError: they have other observations or another kind of labels.
    """
    kinds = {(part.observations.shape[2:], part.next_observations.shape[2:], part.labels.shape[2:]) for part in parts}
    if len(kinds) != 1:
        raise ValueError("histories with observations of different widths or different kinds of labels are no one set")
    longest = max(part.n_steps for part in parts)
    arrays = {name: np.concatenate([_padded(getattr(part, name), name, longest) for part in parts]) for name in ARRAYS}
    lengths = np.concatenate([part.steps for part in parts])
    return Histories(**arrays, lengths=lengths if (lengths < longest).any() else None)


def _padded(values: NDArray[Any], name: str, longest: int) -> NDArray[Any]:
    """Rows of ``longest`` steps: nothing seen, done, earned or labelled at those that are added."""
    missing = 0 if name == "tasks" else longest - values.shape[1]
    if not missing:
        return values
    filler = -1 if name == "labels" and values.ndim == 2 else 0
    if filler and values.dtype.kind == "u":
        values = values.astype(np.int64)
    return np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)], constant_values=filler)


@dataclass(frozen=True)
class Shard:
    """One npz file of the manifest."""

    file: str
    sha256: str
    histories: int


@dataclass(frozen=True)
class Manifest:
    """What a folder of histories holds."""

    env_id: str
    env_options: dict[str, Any]
    source: dict[str, Any]
    split: str
    episode_length: int
    n_actions: int
    seed: int
    histories: int
    """How many there are when collection is complete."""
    shards: list[Shard]

    def same_recipe(self, other: "Manifest") -> bool:
        """Whether both describe the same histories, however many shards are written so far."""
        return {**asdict(self), "shards": []} == {**asdict(other), "shards": []}

    @property
    def complete(self) -> bool:
        """Whether all shards are written."""
        return sum(shard.histories for shard in self.shards) == self.histories


def save_shard(folder: Path, number: int, histories: Histories) -> Shard:
    """Write one shard, whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, NDArray[Any]] = {name: getattr(histories, name) for name in ARRAYS}
    if histories.lengths is not None:
        arrays["lengths"] = histories.lengths
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    file = f"shard_{number:05d}.npz"
    write_atomically(folder / file, data)
    return Shard(file, hashlib.sha256(data).hexdigest(), len(histories))


def load_shard(folder: Path, shard: Shard) -> Histories:
    """Read one shard.

    Raises:
        UserError: it is missing, or not what was written.
    """
    path = folder / shard.file
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != shard.sha256:
        raise UserError(f"{path}: corrupt shard (its SHA-256 differs from the manifest)")
    arrays = parse_arrays(data, path)
    try:
        return Histories(**{name: arrays[name] for name in ARRAYS}, lengths=arrays.get("lengths"))
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: not a shard of histories: {error}") from None


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; it names only shards that are already on disk."""
    content = {"format": FORMAT, **asdict(manifest)}
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1).encode())


def load_manifest(folder: Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        UserError: there is none, or it is not ours.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise UserError(f"{path}: no histories here; collect them with train.py")
    content = read_json(path)
    if content.pop("format", None) != FORMAT:
        raise UserError(f"{path}: not written in the format {FORMAT!r}")
    try:
        manifest = TypeAdapter(Manifest).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a manifest of histories: {place}: {first['msg']}") from None
    for shard in manifest.shards:
        if Path(shard.file).name != shard.file or "\0" in shard.file:
            raise UserError(f"{path}: not a manifest of histories: {shard.file!r} is no file of this folder")
    return manifest


def load_histories(folder: Path) -> tuple[Histories, Manifest, list[str]]:
    """All good shards of a folder, its manifest, and one line for each shard that had to be left out.

    Raises:
        UserError: not one shard is good.
    """
    manifest = load_manifest(folder)
    parts, problems = [], []
    for shard in manifest.shards:
        try:
            parts.append(load_shard(folder, shard))
        except UserError as error:
            problems.append(str(error))
    if not parts:
        why = f" ({problems[0]})" if problems else ""
        raise UserError(f"{folder}: no readable shard{why}; delete the folder and collect again")
    try:
        return join(parts), manifest, problems
    except ValueError as error:
        raise UserError(f"{folder}: {error}") from None


if __name__ == "__main__":  # an older name of the doctor's command
    runpy.run_module("rl_suite.distillation.doctor", run_name="__main__")
