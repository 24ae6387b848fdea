"""Teach a small network to calibrate any sensor of a family from ten readings, in five gradient steps.

python -m rl_suite.examples.adapt_in_five_steps
"""

import numpy as np
import torch
from rich.console import Console
from torch import nn

from rl_suite.examples.usage import run
from rl_suite.meta_learning import MAML, Task, stack_tasks

READINGS, QUERIES, TASKS, STEPS = 10, 20, 16, 600


def sensor(rng: np.random.Generator) -> Task:
    """One sensor of the family: its own gain, offset and saturation; readings (N, 1) in, true values (N, 1) out."""
    gain, offset, bend = rng.uniform(0.5, 2.0), rng.uniform(-1.0, 1.0), rng.uniform(0.2, 1.0)
    value = rng.uniform(-2.0, 2.0, (READINGS + QUERIES, 1))
    reading = gain * np.tanh(bend * value) / bend + offset + rng.normal(0.0, 0.02, value.shape)
    x, y = (torch.from_numpy(part).float() for part in (reading, value))
    return Task(x[:READINGS], y[:READINGS], x[READINGS:], y[READINGS:])


def main() -> None:
    """Meta-train, then adapt to sensors that were never seen."""
    console, rng = Console(highlight=False), np.random.default_rng(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more only wait for each other in networks this small

    # 1. Any module, any loss. Second order: the outer gradient goes through the five inner steps.
    model = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    maml = MAML(model, lr_inner=0.05, lr_meta=0.003, num_inner_steps=5, order="second")

    # 2. Outer steps: find weights from which five steps on ten readings lead far.
    for step in range(STEPS):
        found = maml.meta_train_step(stack_tasks([sensor(rng) for _ in range(TASKS)]))
        if step % 200 == 0:
            console.print(f"outer step {step:4d}: error after adaptation {found['avg_task_loss']:.3f}")

    # 3. A sensor that was never seen: weights for it, beside the model, which stays as it is.
    one = sensor(np.random.default_rng(1_000))
    weights = maml.adapt_to_task(one.support_x, one.support_y)
    with torch.no_grad():
        off = (maml.forward_with(one.query_x, weights) - one.query_y).abs().mean()
    console.print(f"one unseen sensor: off by {float(off):.3f} on average, of values between -2 and 2")

    # 4. A hundred of them, after 0, 1, ... 10 steps; an untrained network beside it.
    unseen = stack_tasks([sensor(np.random.default_rng(2_000 + i)) for i in range(100)])
    assert isinstance(unseen, Task)
    fresh = nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 1))
    for name, learner in (("trained", maml), ("untrained", MAML(fresh, lr_inner=0.05))):
        along = learner.outputs_along(unseen, 10)  # one list per sensor, one output per step
        errors = [torch.stack(o).sub(unseen.query_y).square().mean() for o in zip(*along, strict=True)]
        shown = "  ".join(f"{k} steps {float(errors[k]):.3f}" for k in (0, 1, 5, 10))
        console.print(f"{name:9s} {shown}")


if __name__ == "__main__":
    run(main, __doc__)
