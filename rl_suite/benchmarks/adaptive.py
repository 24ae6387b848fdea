"""Steps to a target loss: adaptive rates against the best of seven fixed rates, and from rates 100 times off."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.errors import NonFiniteError
from rl_suite.meta_learning.tuning.adaptive_optimizer import AdaptiveOptimizer
from rl_suite.progress import ProgressBar

SUMMARY = "adaptive learning rates: steps to a target against the best of seven fixed rates, and from rates 100x off"
GRID = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
STEPS, SEEDS, SMOOTH = 1500, 3, 20
PROMISED = 1 / 1.05  # at most 5 % more steps


class Problem(NamedTuple):
    """A model, its loss on a batch, and the loss that counts as solved."""

    name: str
    base: str
    build: Callable[[], nn.Module]
    loss: Callable[[nn.Module, torch.Generator], Tensor]
    target: float


class Point(nn.Module):
    """A vector of 20 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(20))


def problems() -> list[Problem]:
    """Two convex ones, one ill-conditioned, one noisy, two small networks and a recurrent one."""
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    scales = torch.logspace(0, 3, 20) / 1000
    curve = torch.linspace(-2, 2, 64)[:, None]

    def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(x), (64,), generator=generator)
        return x[rows], y[rows]

    def classify(model: nn.Module, generator: torch.Generator) -> Tensor:
        inputs, labels = batch(generator)
        return F.cross_entropy(model(inputs), labels)

    def add_up(model: nn.Module, generator: torch.Generator) -> Tensor:
        numbers = torch.rand(32, 12, 1, generator=generator)
        output, _ = model[0](numbers)  # type: ignore[index]
        return F.mse_loss(model[1](output[:, -1]), numbers.sum(1))  # type: ignore[index]

    def noisy(model: Point, generator: torch.Generator) -> Tensor:
        return 0.5 * (model.x - torch.randn(20, generator=generator)).square().mean() - 0.5

    perceptron = lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))  # noqa: E731
    sine = lambda: nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))  # noqa: E731
    recurrent = lambda: nn.Sequential(nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1))  # noqa: E731
    return [
        Problem("convex: logistic regression, Adam", "adam", lambda: nn.Linear(64, 10), classify, 0.3),
        Problem("convex: logistic regression, SGD", "sgd", lambda: nn.Linear(64, 10), classify, 0.3),
        Problem("ill-conditioned quadratic, Adam", "adam", Point, lambda m, _: (scales * m.x**2).sum(), 1e-3),  # type: ignore[operator]
        Problem("noisy quadratic, SGD", "sgd", Point, noisy, 0.03),  # type: ignore[arg-type]
        Problem("perceptron on digits, Adam", "adam", perceptron, classify, 0.1),
        Problem(
            "perceptron on a sine, Adam", "adam", sine, lambda m, _: F.mse_loss(m(curve), torch.sin(2 * curve)), 1e-2
        ),
        Problem("recurrent sum, Adam", "adam", recurrent, add_up, 2e-2),
    ]


def steps_to_target(problem: Problem, seed: int, steps: int, **options: object) -> float:
    """Steps until the mean of the last 20 losses is below the target; infinite if never."""
    torch.manual_seed(seed)
    model, generator = problem.build(), torch.Generator().manual_seed(seed)
    optimizer = AdaptiveOptimizer(model, problem.base, **options)  # type: ignore[arg-type]
    losses: list[float] = []
    try:
        for step in range(steps):
            optimizer.zero_grad()
            loss = problem.loss(model, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step(loss.item())
            losses.append(loss.item())
            if np.mean(losses[-SMOOTH:]) < problem.target and len(losses) >= SMOOTH:
                return step + 1
    except NonFiniteError:
        pass
    return math.inf


def run(options: Options) -> BenchmarkResult:
    """Find the best fixed rate of every problem, then start from it and from 100 times off."""
    steps, seeds = (30, 1) if options.quick else (STEPS, SEEDS)
    rows, trials = [], []
    chosen = problems()
    with ProgressBar("problems", len(chosen)) as progress:
        for done, problem in enumerate(chosen):
            for name, cost, fixed in measure(problem, steps, range(options.seed, options.seed + seeds)):
                target = PROMISED if name == "from the best rate" else None
                rows.append(Row(f"{problem.name}: {name}", cost, fixed, "steps", "best fixed rate", False, target))
                trials.append({"problem": problem.name, "start": name, "steps": cost, "best_fixed": fixed})
            progress.update(done + 1)
    notes = (f"mean over {seeds} seeds; at most {steps} steps; infinite: the target was not reached by every seed",)
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def measure(problem: Problem, steps: int, seeds: range) -> Iterator[tuple[str, float, float]]:
    """(start, steps of the adaptive optimiser, steps of the best fixed rate) of one problem."""

    def mean(**options: object) -> float:
        return float(np.mean([steps_to_target(problem, seed, steps, **options) for seed in seeds]))

    fixed = {rate: mean(use_meta_learning=False, lr=rate) for rate in GRID}
    best = min(fixed, key=fixed.__getitem__)
    for name, factor in (("from the best rate", 1.0), ("from a hundredth of it", 0.01), ("from 100 times it", 100.0)):
        yield name, mean(lr=best * factor), fixed[best]
    if problem.base == "adam":
        yield "prodigy", mean(adaptation="prodigy"), fixed[best]
