"""One outer step of the documents' TAML: features once at 28 pixels, against a body that runs anew in every inner step.

The peer is the documents' design written plainly: 105 x 105 pixels, one task after the other, and the whole classifier
in every inner step although only its head is adapted.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.timing import interleave
from rl_suite.meta_learning.learners.taml import TaskAgnosticMetaLearning
from rl_suite.meta_learning.learners.taml_parts import HEAD
from rl_suite.meta_learning.tasks import Task

SUMMARY = "the documents' TAML: one outer step, features once at 28 pixels against the body in every inner step at 105"
WAY, QUERIES, TASKS, INNER_STEPS = 5, 15, 4, 5
DRAWN, USUAL = 105, 28  # pixels of a side
PROMISED = 15.0


def run(options: Options) -> BenchmarkResult:
    """Time both designs, and ours at the peer's size besides."""
    size, tasks = (DRAWN, TASKS) if not options.quick else (2 * USUAL, 1)
    torch.manual_seed(options.seed)
    ours, same, peer = (
        TaskAgnosticMetaLearning(WAY, inner_steps=INNER_STEPS, size=side) for side in (USUAL, size, size)
    )
    small, large = ([episode(side) for _ in range(tasks)] for side in (USUAL, size))
    found = interleave(
        {"ours": lambda: ours.learn(small), "same": lambda: same.learn(large), "peer": lambda: plain_step(peer, large)},
        options.repeats,
    )
    before = 1000 * found["peer"].cpu
    rows = (
        Row("outer step, ours", 1000 * found["ours"].cpu, before, "ms CPU", "as documented", False, PROMISED),
        Row(f"outer step, ours at {size} px", 1000 * found["same"].cpu, before, "ms CPU", "as documented", False),
    )
    notes = (f"{tasks} tasks, {WAY}-way 1-shot, {QUERIES} queries per class, {INNER_STEPS} inner steps, 64 channels",)
    return BenchmarkResult(rows, notes)


def episode(size: int) -> Task:
    """Noise in the shape of an episode: the time does not depend on what is in the pictures."""
    labels = torch.arange(WAY)
    images = torch.rand(WAY * (1 + QUERIES), 1, size, size)
    return Task(images[:WAY], labels, images[WAY:], labels.repeat(QUERIES))


def plain_step(taml: TaskAgnosticMetaLearning, tasks: list[Task]) -> float:
    """One outer step, the body running in every inner step."""
    taml.train()
    losses: list[Tensor] = []
    for task in tasks:
        modulations, rates = taml.decode_to_modulations(taml.encode_task(task.support_x, task.support_y))
        fast = {name: part * modulations[name] for name, part in taml.classifier.head(WAY).items()}
        for _ in range(taml.inner_steps):
            loss = F.cross_entropy(taml.classifier(task.support_x, fast), task.support_y)
            gradients = torch.autograd.grad(loss, [fast[name] for name in HEAD], create_graph=True)
            fast = {name: fast[name] - rates[name][0] * g for name, g in zip(HEAD, gradients, strict=True)}
        losses.append(F.cross_entropy(taml.classifier(task.query_x, fast), task.query_y))
    mean = torch.stack(losses).mean()
    taml.optimizer.zero_grad()
    mean.backward()  # type: ignore[no-untyped-call]
    taml.optimizer.step()
    return mean.item()
