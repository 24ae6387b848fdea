"""Collect learning histories of a source, shard after shard; a stopped collection goes on where it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_suite.distillation.histories import (
    Histories,
    Manifest,
    Shard,
    load_manifest,
    load_shard,
    save_manifest,
    save_shard,
)
from rl_suite.errors import UserError

Make = Callable[[int, np.random.Generator], Histories]
"""Called with a number of histories and a random generator of the shard's own."""


def collect(
    folder: Path,
    plan: Manifest,
    shard_size: int,
    make: Make,
    progress: Callable[[int], None] = lambda done: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Write all shards of ``plan`` that are not yet there or not as they were written.

    Args:
        folder: where the histories go.
        plan: the manifest without shards.
        shard_size: histories of one shard; the last one may be smaller.
        make: the source; the same generator must give the same histories.
        progress: told how many histories are done.
        stop: asked before every shard; True ends the collection, to be continued by the next call.

    Returns:
        One line for each shard that was found corrupt and made anew.

    Raises:
        UserError: the folder holds other histories, or cannot be written.
    """
    known = _known_shards(folder, plan)
    sizes = [min(shard_size, plan.histories - done) for done in range(0, plan.histories, shard_size)]
    rebuilt, shards, done = [], [], 0
    for number, size in enumerate(sizes):
        shard = known.get(f"shard_{number:05d}.npz")
        if shard is not None:
            try:
                load_shard(folder, shard)
            except UserError as error:
                rebuilt.append(f"{error}; collected anew")
                shard = None
        if shard is None:
            if stop():
                break
            shard = save_shard(folder, number, make(size, np.random.default_rng([plan.seed, number])))
        shards.append(shard)
        done += size
        progress(done)
        save_manifest(folder, replace(plan, shards=[*shards, *list(known.values())[len(shards) :]]))
    return rebuilt


def _known_shards(folder: Path, plan: Manifest) -> dict[str, Shard]:
    if not (folder / "manifest.json").exists():
        return {}
    old = load_manifest(folder)
    if not old.same_recipe(plan):
        raise UserError(f"{folder}: holds histories of another recipe; delete the folder or choose another runs_dir")
    return {shard.file: shard for shard in old.shards}
