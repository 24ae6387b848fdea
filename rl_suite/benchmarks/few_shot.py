"""Few-shot learning: episodes per second against decoding every picture anew, and the accuracy of trained runs."""

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.errors import UserError
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.glyphs import draw_alphabets
from rl_suite.meta_learning.data.images import ImageSet
from rl_suite.meta_learning.data.omniglot import FULL_SIZE, find_folder, load_omniglot

SUMMARY = "episodes per second against per-item PIL; accuracy of trained few-shot runs beside the nearest centroid"

N_WAY, K_SHOT, K_QUERY, SIZE = 5, 1, 15, 28
BATCH, BATCHES, PEER_EPISODES = 32, 40, 8
PROMISED = 50.0  # ratio of episodes per second
RUNS = tuple(Path(f"runs/omniglot_prototypical/{seed}") for seed in range(3))
TRAINED, CONTROL = "trained", "nearest centroid on pixels"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks few_shot", description=__doc__)
    parser.add_argument(
        "--runs", nargs="*", type=Path, help=f"folders of finished runs (default: {RUNS[0].parent}/0-2)"
    )
    return parser.parse_args(list(arguments))


def run(options: Options) -> BenchmarkResult:
    """Speed now; accuracy out of the runs' ``evaluation.json``."""
    named = parse(options.extra).runs
    chosen = [path for path in RUNS if (path / "evaluation.json").exists()] if named is None else named
    source, pictures = _pictures(options.quick)
    rows = [sampling_row(pictures, options), loading_row(options)]
    results = [] if options.quick else [read_result(path) for path in chosen]
    rows += accuracy_rows(results)
    notes = (
        f"episodes: {N_WAY}-way {K_SHOT}-shot, {K_QUERY} queries of each class, {SIZE} pixels, of {source}",
        "the peer decodes, resizes and converts each picture when it is drawn, from bytes that are in memory",
        f"accuracy: means of {len(results)} runs, in percent" if results else "accuracy: no finished runs were named",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(_summary(result) for result in results))


def sampling_row(pictures: ImageSet, options: Options) -> Row:
    """Episodes per CPU second."""
    ours = EpisodeSource(pictures.resized(SIZE), N_WAY, K_SHOT, K_QUERY, options.seed)
    encoded = [_png(image[0]) for image in pictures.images]
    members = [np.flatnonzero(pictures.classes.numpy() == c) for c in range(pictures.n_classes)]
    rng = np.random.default_rng(options.seed)
    batches, episodes = (2, 1) if options.quick else (BATCHES, PEER_EPISODES)

    def batched() -> None:
        for start in range(0, batches * BATCH, BATCH):
            ours.batch(start, BATCH)

    def per_item() -> None:
        for _ in range(episodes):
            classes = rng.choice(len(members), N_WAY, replace=False)
            drawn = [rng.choice(members[c], K_SHOT + K_QUERY, replace=False) for c in classes]
            torch.stack([_decoded(encoded[i]) for i in np.concatenate(drawn)])

    times = interleave({"ours": batched, "peer": per_item}, options.repeats)
    rates = times["ours"].rate(batches * BATCH), times["peer"].rate(episodes)
    return Row("episode sampling", *rates, "episodes/CPU-s", "PIL, per item", target=PROMISED)


def loading_row(options: Options) -> Row:
    """CPU seconds until all pictures are one tensor, cut to their ink."""
    load = (lambda: load_omniglot(size=SIZE, framed=True)) if find_folder() else (lambda: _glyphs(options.quick, SIZE))
    seconds = interleave({"ours": load}, 1 if options.quick else options.repeats, warm_up=0)["ours"].cpu
    return Row("loading and cutting all pictures", seconds, None, "CPU-s", higher_is_better=False)


def read_result(path: Path) -> dict[str, Any]:
    """The evaluation of a run folder.

    Raises:
        UserError: none there, or not that of a few-shot run.
    """
    try:
        content = json.loads((path / "evaluation.json").read_text(encoding="utf-8"))
        settings = content["settings"]
        tables = {name: rows for name, rows in content.items() if isinstance(rows, Mapping) and TRAINED in rows}
        float(settings["training_cpu_seconds"])
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        raise UserError(f"{path}: holds no evaluation of a few-shot run; train it first") from None
    if not tables:
        raise UserError(f"{path}: holds no evaluation of a few-shot run; train it first")
    return {"run": "/".join(path.parts[-2:]), "settings": settings, "tables": tables}


def accuracy_rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Mean accuracy over runs in percent, of each kind of episodes and each way of using the trained learner."""
    rows = []
    for table in results[0]["tables"] if results else ():
        mine = [result["tables"][table] for result in results if table in result["tables"]]
        for name in mine[0]:
            if name.startswith(TRAINED) and all({name, CONTROL} <= set(part) for part in mine):
                ours, peer = (100 * float(np.mean([_estimate(part[row]) for part in mine])) for row in (name, CONTROL))
                rows.append(Row(f"{table}: {name}", ours, peer, "% right", CONTROL))
    if results:
        spent = float(np.mean([result["settings"]["training_cpu_seconds"] for result in results]))
        rows.append(Row("training", spent, None, "CPU-s", higher_is_better=False))
    return rows


def _summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """One run as it is stored: every row's mean and interval, without single episodes."""
    tables = {
        table: {name: {"mean": row["mean"], "n": row["n"]} for name, row in rows.items()}
        for table, rows in result["tables"].items()
    }
    return {**result, "tables": tables}


def _estimate(row: Mapping[str, Any]) -> float:
    return float(row["mean"]["estimate"])


def _pictures(quick: bool) -> tuple[str, ImageSet]:
    """Pictures at full size."""
    if quick or not find_folder():
        return "invented glyphs", _glyphs(quick, FULL_SIZE)
    found = load_omniglot(size=FULL_SIZE)
    return "Omniglot", found.train.joined(found.test)


def _glyphs(quick: bool, size: int) -> ImageSet:
    return draw_alphabets(range(1 if quick else 8), size, seed=0)


def _png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def _decoded(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.BOX)
        return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)
