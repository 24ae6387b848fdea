"""Collect learning histories of a source, shard after shard; a stopped collection goes on where it was."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_suite.checkpoint import write_atomically
from rl_suite.distillation.doctor import diagnose
from rl_suite.distillation.histories import (
    MANIFEST,
    Histories,
    Manifest,
    Shard,
    load_histories,
    load_manifest,
    load_shard,
    save_manifest,
    save_shard,
)
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.reading import read_bytes, read_text
from rl_suite.sweeps.contract import JobError
from rl_suite.sweeps.processes import Processes

Make = Callable[[int, np.random.Generator], Histories]
"""Called with a number of histories and a random generator of the shard's own."""


def collect(
    folder: Path,
    plan: Manifest,
    shard_size: int,
    make: Make,
    progress: Callable[[int], None] = lambda done: None,
    stop: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> list[str]:
    """Write all shards of ``plan`` that are not yet there or not as they were written.

    Args:
        folder: where the histories go.
        plan: the manifest without shards.
        shard_size: histories of one shard; the last one may be smaller.
        make: the source; the same generator must give the same histories.
        progress: told how many histories are done.
        stop: asked before every shard; True ends the collection, to be continued by the next call.
        processes: that make shards at the same time; the histories are the same however many there are.

    Returns:
        One line for each shard that was found corrupt and made anew.

    Raises:
        UserError: the folder holds other histories, or cannot be written.
    """
    known = _known_shards(folder, plan)
    sizes = [min(shard_size, plan.histories - done) for done in range(0, plan.histories, shard_size)]
    rebuilt: list[str] = []
    shards: dict[str, Shard] = {}

    def keep(shard: Shard) -> None:
        """Name it in the manifest, beside all that are there."""
        shards[shard.file] = shard
        save_manifest(folder, replace(plan, shards=[shards[name] for name in sorted(shards)]))
        progress(sum(each.histories for each in shards.values()))

    jobs = []
    for number, size in enumerate(sizes):
        shard = known.get(f"shard_{number:05d}.npz")
        try:
            if shard is not None:
                load_shard(folder, shard)
                keep(shard)
                continue
        except UserError as error:
            rebuilt.append(f"{error}; collected anew")
        jobs.append(_Job(folder, number, size, plan.seed, make))
    for made in _made(takewhile(lambda _: not stop(), jobs), processes):
        keep(made)
    return rebuilt


class _Job(NamedTuple):
    """One shard that is to be made."""

    folder: Path
    number: int
    size: int
    seed: int
    make: Make


def _make_shard(job: _Job) -> Shard:
    """Collect a shard from the random generator of its number, and write it."""
    return save_shard(job.folder, job.number, job.make(job.size, np.random.default_rng([job.seed, job.number])))


def _made(jobs: Iterator[_Job], processes: int) -> Iterator[Shard]:
    """The shards as they are made; in this process, errors stay what they are."""
    if processes == 1:
        yield from map(_make_shard, jobs)
        return
    with closing(Processes(processes).run(_make_shard, jobs)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                raise JobError(outcome.trace) if outcome.trace else UserError(str(outcome.error))
            yield outcome.value


def read_own(folder: Path, env_options: Mapping[str, Any], family: TaskFamily) -> Histories:
    """Histories that somebody else wrote for the worlds of ``family``.

    Raises:
        UserError: they are of another world, or the doctor finds a problem in them.
    """
    histories, manifest, problems = load_histories(folder)
    world = family.env_id.rpartition(":")[2]
    if manifest.env_id.rpartition(":")[2] != world or manifest.env_options != dict(env_options):
        raise UserError(
            f"{folder}: holds histories of {manifest.env_id} with {manifest.env_options}, "
            f"and distillation.world is {world} with {dict(env_options)}"
        )
    problems += [found.text for found in diagnose(histories, manifest, family) if found.verdict == "problem"]
    if problems:
        raise UserError("\n".join(f"{folder}: {problem}" for problem in problems))
    return histories


def pin(folder: Path, run_folder: Path) -> None:
    """Remember which histories a run reads, so that it is not resumed on others.

    Raises:
        UserError: the folder's manifest, which names the content of every shard, is not what it was.
    """
    digest, note = hashlib.sha256(read_bytes(folder / MANIFEST)).hexdigest(), run_folder / "histories.sha256"
    if note.exists() and read_text(note).strip() != digest:
        raise UserError(f"{folder}: holds other histories than when this run began; choose another runs_dir")
    write_atomically(note, f"{digest}\n".encode())


def _known_shards(folder: Path, plan: Manifest) -> dict[str, Shard]:
    if not (folder / "manifest.json").exists():
        return {}
    old = load_manifest(folder)
    if not old.same_recipe(plan):
        raise UserError(f"{folder}: holds histories of another recipe; delete the folder or choose another runs_dir")
    return {shard.file: shard for shard in old.shards}
