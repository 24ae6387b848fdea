"""Runs the parts, prints their table, and writes the page, the figures and TensorBoard's files."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rl_suite.checkpoint import write_atomically
from rl_suite.meta_learning.demo.integrated import integrated_system
from rl_suite.meta_learning.demo.learning import continual, few_shot, maml
from rl_suite.meta_learning.demo.part import Part
from rl_suite.meta_learning.demo.tuning import adapters, adaptive_optimization, nas, tool_optimization
from rl_suite.meta_learning.metrics import write_scalars
from rl_suite.progress import ProgressBar
from rl_suite.report.page import render, titled
from rl_suite.viz.curves import draw_groups

PAGE, RESULTS = "meta_learning_demo.html", "results.json"
PARTS: dict[str, Callable[[int], Part]] = {
    "maml": maml,
    "few_shot": few_shot,
    "continual_learning": continual,
    "adaptive_optimization": adaptive_optimization,
    "nas": nas,
    "tool_optimization": tool_optimization,
    "adapters": adapters,
    "integrated_system": integrated_system,
}


def run_parts(folder: Path | None, seed: int) -> dict[str, dict[str, Any]]:
    """Run all parts on one thread; see ``run_meta_learning_demo``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parts, seconds = {}, {}
    try:
        with ProgressBar("meta-learning", len(PARTS)) as progress:
            for place, (name, run) in enumerate(PARTS.items()):
                begun = time.process_time()
                parts[name] = run(seed)
                seconds[name] = time.process_time() - begun
                progress.update(place + 1)
    finally:
        torch.set_num_threads(threads)
    results = {name: {**part.as_json(), "seconds": seconds[name]} for name, part in parts.items()}
    if folder is not None:
        write(folder, parts, results)
    return results


def write(folder: Path, parts: Mapping[str, Part], results: Mapping[str, dict[str, Any]]) -> None:
    """One page that needs nothing else, the figures as JSON, and TensorBoard's files."""
    write_atomically(folder / RESULTS, (json.dumps(results, indent=1, allow_nan=False) + "\n").encode())
    shown = [
        {**results[name], "name": name, "charts": titled(draw_groups(part.charts))} for name, part in parts.items()
    ]
    passed = sum(part.passed for part in parts.values())
    page = render("demo.html", title="Meta-learning in eight parts", parts=shown, passed=passed)
    write_atomically(folder / PAGE, page.encode())
    scalars = {f"{name}/{key}": float(value) for name, part in parts.items() for key, value in part.metrics.items()}
    write_scalars(folder, scalars)
