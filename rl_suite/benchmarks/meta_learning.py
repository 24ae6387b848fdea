"""Gradient-based meta-learning: outer steps against the plain loop, memory, and what sinusoids are learned to."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.errors import UserError
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_conv4, make_mlp
from rl_suite.meta_learning.learners.variants import ANIL
from rl_suite.meta_learning.tasks import Task, unstack_tasks

SUMMARY = "outer steps of MAML against the plain loop of autograd.grad; memory of inner steps; sinusoids learned"

WAY, QUERIES, SIZE, STEPS, LR = 5, 15, 28, 5, 0.01  # of the steps on pictures
CURVES, POINTS = 25, 10  # of the steps on sinusoids
PLAIN = "plain loop"
LIMITS: dict[tuple[str, int], dict[str, float]] = {  # learner, points -> {row: squared error that is good enough}
    ("maml", 10): {"after 1 step": 0.40, "after 10 steps": 0.13},
    ("maml", 5): {"after 1 step": 0.65, "after 10 steps": 0.35},
    ("meta_sgd", 10): {"after 1 step": 0.26},
}
MEMORY = """
import torch
from rl_suite.benchmarks.meta_learning import make_pictures
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_conv4
torch.set_num_threads(1)
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
for steps in (1, 10):
    maml = MAML(make_conv4(5), 0.01, num_inner_steps=steps, order="second", task_axis="loop")
    maml.meta_train_step(make_pictures(1, shots=25))
    print(peak())
"""
IMPORT = """
import time, torch
start = time.process_time()
import rl_suite.meta_learning
print(time.process_time() - start)
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks meta_learning", description=__doc__)
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="folders of finished runs of sinusoid_maml")
    parser.add_argument("--thorough", action="store_true", help="32 tasks and the compiled stack, too: minutes")
    return parser.parse_args(list(arguments))


def run(options: Options) -> BenchmarkResult:
    """All comparisons."""
    arguments = parse(options.extra)
    trials = [read_sinusoids(path) for path in arguments.runs]
    batches = (1,) if options.quick else (4, 32) if arguments.thorough else (4,)
    rows = [row for n in batches for row in picture_rows(n, options.repeats if n < 32 else 1)]
    rows += [*small_rows(options, arguments.thorough), memory_row(), import_row()]
    rows += [row for trial in trials for row in sinusoid_rows(trial)]
    notes = (
        f"pictures: conv4, 64 channels, max-pooling, {WAY}-way 1-shot, {QUERIES} queries each, {STEPS} inner steps",
        f"sinusoids: 40-40 ReLU, {CURVES} curves of {POINTS} + {POINTS} points, {STEPS} inner steps for the speed",
        "the plain loop: functional_call and autograd.grad, one task after the other; second order unless said",
        "errors: 600 held-out curves, of the runs that were named; the peer's figure is the limit, not a peer",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def make_pictures(n: int, shots: int = WAY) -> Task:
    """Random episodes; what is on the pictures does not matter to a clock."""
    rng = torch.Generator().manual_seed(0)
    x = [torch.randn(n, count, 1, SIZE, SIZE, generator=rng) for count in (shots, WAY * QUERIES)]
    y = [torch.arange(part.shape[1]).repeat(n, 1) % WAY for part in x]
    return Task(x[0], y[0], x[1], y[1])


def plain_step(model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], tasks: Task) -> Callable[[], None]:
    """An outer step as one would write it by hand."""
    parameters = dict(model.named_parameters())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    single = unstack_tasks(tasks)

    def step() -> None:
        optimizer.zero_grad()
        for task in single:
            weights: dict[str, Tensor] = {**parameters}
            for _ in range(STEPS):
                inner = loss(functional_call(model, weights, (task.support_x,)), task.support_y)
                found = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
                weights = {name: w - LR * g for (name, w), g in zip(weights.items(), found, strict=True)}
            outer = loss(functional_call(model, weights, (task.query_x,)), task.query_y) / len(single)
            outer.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def our_step(learner: MAML, tasks: Task) -> Callable[[], object]:
    """An outer step of ours."""
    return lambda: learner.meta_train_step(tasks)


def picture_rows(n: int, repeats: int) -> list[Row]:
    """Convolutions: processor time with tasks one by one, and elapsed time with one task per thread."""
    rows, tasks = [], make_pictures(n)
    contenders = {
        PLAIN: plain_step(_conv(), F.cross_entropy, tasks),
        "MAML, loop": our_step(_maml(), tasks),
        "MAML, threads": our_step(_maml(task_axis="threads"), tasks),
        "first order": our_step(_maml("first"), tasks),
        "ANIL": our_step(ANIL(_conv(), LR, num_inner_steps=STEPS, task_axis="loop"), tasks),
    }
    times = interleave(contenders, repeats)
    for name, target in (("MAML, loop", 1.0), ("first order", 1.5), ("ANIL", 2.0)):
        cpu = 1e3 * times[name].cpu, 1e3 * times[PLAIN].cpu
        rows.append(Row(f"{name}, {n} tasks", *cpu, "CPU ms/step", PLAIN, False, target))
    wall = 1e3 * times["MAML, threads"].wall, 1e3 * times[PLAIN].wall
    rows.append(Row(f"MAML, threads, {n} tasks", *wall, "elapsed ms/step", PLAIN, False))
    return rows


def _conv() -> nn.Sequential:
    torch.manual_seed(0)
    return make_conv4(WAY, SIZE)


def _maml(order: Any = "second", task_axis: str = "loop") -> MAML:
    return MAML(_conv(), LR, num_inner_steps=STEPS, order=order, task_axis=task_axis)


def small_rows(options: Options, thorough: bool) -> list[Row]:
    """The perceptron of the sinusoids, its tasks in one stack."""
    tasks = SinusoidTasks(POINTS, POINTS, 0).batch(0, CURVES)
    torch.manual_seed(0)
    contenders: dict[str, Callable[[], object]] = {
        PLAIN: plain_step(make_mlp(1, 1), F.mse_loss, tasks),
        "auto": our_step(MAML(make_mlp(1, 1), LR, num_inner_steps=STEPS, order="second"), tasks),
    }
    if thorough:
        compiled = MAML(make_mlp(1, 1), LR, num_inner_steps=STEPS, order="second", task_axis="compile")
        contenders["compile"] = our_step(compiled, tasks)
    times = interleave(contenders, 4 * options.repeats, warm_up=2)
    plain = 1e3 * times[PLAIN].cpu
    names = {"auto": "sinusoids, stacked (auto)", "compile": "sinusoids, compiled"}
    targets = {"auto": 5.0, "compile": 12.0}
    return [
        Row(names[name], 1e3 * times[name].cpu, plain, "CPU ms/step", PLAIN, False, targets[name])
        for name in contenders
        if name != PLAIN
    ]


def memory_row() -> Row:
    """Peak of the process with one and with ten second-order inner steps on 25 pictures."""
    one, ten = (float(line) / 1024 for line in _in_new_process(MEMORY).split())
    return Row("peak, ten inner steps", ten, one, "MiB", "one inner step", False, 0.5)


def import_row() -> Row:
    """Processor time of the import, after torch."""
    return Row("import rl_suite.meta_learning", float(_in_new_process(IMPORT)), 0.3, "s", "the limit", False, 1.0)


def _in_new_process(script: str) -> str:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def read_sinusoids(path: Path) -> dict[str, Any]:
    """Errors of a finished run of ``sinusoid_maml``, out of its ``evaluation.json``.

    Raises:
        UserError: no such file, or one that holds something else.
    """
    file = path / "evaluation.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        settings = content["settings"]
        spent, learner, shots = (
            float(settings["training_cpu_seconds"]),
            str(settings["learner"]),
            int(settings["shots"]),
        )
        limits = LIMITS.get((learner, shots), {})
        errors = {row: content["results"][row]["mean"] for row in ("unadapted", *limits)}
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError):
        raise UserError(f"{file}: not the evaluation of a finished run of sinusoid_maml") from None
    return {"name": f"{learner}, {shots} points", "cpu_seconds": spent, "errors": errors, "limits": limits}


def sinusoid_rows(trial: Mapping[str, Any]) -> list[Row]:
    """Errors against what was promised, and the time that it took."""
    rows = [
        Row(f"{trial['name']}, {row}", trial["errors"][row]["estimate"], limit, "squared error", "limit", False, 1.0)
        for row, limit in trial["limits"].items()
    ]
    return [*rows, Row(f"{trial['name']}, training", trial["cpu_seconds"], None, "CPU s")]
