"""Steps to a target: adaptive rates against the best of seven fixed rates, and from rates 100 times off."""

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn
from torch.nn import functional as F

from rl_suite.benchmarks import searches
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import NonFiniteError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.tuning.adaptive_optimizer import AdaptiveOptimizer
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config

SUMMARY = "adaptive learning rates: steps to a target against the best of seven fixed rates, and from rates 100x off"
GRID = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
PPO_GRID = (1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 1e-2, 1e-1)
STEPS, SEEDS, SMOOTH = 1500, 3, 20
PROMISED = 1 / 1.05  # at most 5 % more steps
RESCUED = 1 / 10  # a rate 100 times off costs at most ten times the steps
STARTS = {"from the best rate": 1.0, "from a hundredth of it": 0.01, "from 100 times it": 100.0}
PRODIGY = "prodigy"
PPO_NAME, PPO_RETURN = "PPO in dark rooms, Adam", 8.0  # mean of the last 100 episodes; who knows the way earns 16


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


def _perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _narrow() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))


def _recurrent() -> nn.Sequential:
    return nn.Sequential(nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1))


def problems() -> list[Problem]:
    """Two convex ones, one ill-conditioned, one noisy, two small networks and a recurrent one; PPO is the eighth."""
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

    return [
        Problem("convex: logistic regression, Adam", "adam", lambda: nn.Linear(64, 10), classify, 0.3),
        Problem("convex: logistic regression, SGD", "sgd", lambda: nn.Linear(64, 10), classify, 0.3),
        Problem("ill-conditioned quadratic, Adam", "adam", Point, lambda m, _: (scales * m.x**2).sum(), 1e-3),  # type: ignore[operator]
        Problem("noisy quadratic, SGD", "sgd", Point, noisy, 0.03),  # type: ignore[arg-type]
        Problem("perceptron on digits, Adam", "adam", _perceptron, classify, 0.1),
        Problem(
            "perceptron on a sine, Adam",
            "adam",
            _narrow,
            lambda m, _: F.mse_loss(m(curve), torch.sin(2 * curve)),
            1e-2,
        ),
        Problem("recurrent sum, Adam", "adam", _recurrent, add_up, 2e-2),
    ]


def train(problem: Problem, seed: int, steps: int, options: dict[str, Any]) -> float:
    """Steps until the mean of the last 20 losses is below the target; infinite if never."""
    torch.manual_seed(seed)
    model, generator = problem.build(), torch.Generator().manual_seed(seed)
    optimizer = AdaptiveOptimizer(model, problem.base, **options)
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


class UntilReturn(BaseCallback):
    """Ends learning when the mean return is reached, or so many steps of the optimiser are done."""

    def __init__(self, optimizer: AdaptiveOptimizer, steps: int):
        super().__init__()
        self.optimizer, self.steps, self.reached = optimizer, steps, math.inf

    def _on_step(self) -> bool:
        return self.optimizer.step_count < self.steps and not math.isfinite(self.reached)

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if episodes and np.mean([episode["r"] for episode in episodes]) >= PPO_RETURN:
            self.reached = max(1, self.optimizer.step_count)


def train_ppo(seed: int, steps: int, options: dict[str, Any]) -> float:
    """Steps of PPO's optimiser until the target return, at a constant rate but for what adapts it."""
    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom", f"seed={seed}"])
    assert isinstance(config, SB3Config)
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model = build_model(config, env)
    optimizer = AdaptiveOptimizer(model.policy, "adam", **options)  # type: ignore[arg-type]
    model.policy.optimizer = optimizer  # type: ignore[assignment]
    until = UntilReturn(optimizer, steps)
    try:
        model.learn(10**9, until)
    except (NonFiniteError, ValueError):  # ValueError: torch refuses a distribution of NaN
        return math.inf
    return until.reached


def steps_to_target(item: tuple[str, int, int, dict[str, Any]]) -> float:
    """Of one problem, by name, with one seed."""
    name, seed, steps, options = item
    if name == PPO_NAME:
        return train_ppo(seed, steps, options)
    return train(next(problem for problem in problems() if problem.name == name), seed, steps, options)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    return searches.parse(words, "adaptive", SEEDS, "runs per problem and rate")


def run(options: Options) -> BenchmarkResult:
    """Find the best fixed rate of every problem, then start from it and from 100 times off."""
    given = parse(options.extra)
    steps, count = (30, 1) if options.quick else (STEPS, given.seeds)
    seeds = range(options.seed, options.seed + count)
    bases = {problem.name: problem.base for problem in problems()} | {PPO_NAME: "adam"}

    def mean(cases: list[tuple[str, dict[str, Any]]]) -> list[float]:
        items = [(name, seed, steps, more) for name, more in cases for seed in seeds]
        found = np.array(searches.measure(steps_to_target, items, given.jobs, "trainings"))
        return [float(value) for value in found.reshape(len(cases), count).mean(1)]

    grid = [(name, rate) for name in bases for rate in (PPO_GRID if name == PPO_NAME else GRID)]
    fixed = mean([(name, {"use_meta_learning": False, "lr": rate}) for name, rate in grid])
    best = {name: min((cost, rate) for (n, rate), cost in zip(grid, fixed, strict=True) if n == name) for name in bases}
    starts = [(name, start) for name in bases for start in STARTS]
    starts += [(name, PRODIGY) for name, base in bases.items() if base == "adam"]
    cases = [
        (name, {"adaptation": PRODIGY} if start == PRODIGY else {"lr": best[name][1] * STARTS[start]})
        for name, start in starts
    ]
    rows, trials = [], []
    for (name, start), cost in zip(starts, mean(cases), strict=True):
        promised = PROMISED if start == "from the best rate" else RESCUED if start in STARTS else None
        rows.append(Row(f"{name}: {start}", cost, best[name][0], "steps", "best fixed rate", False, promised))
        trials.append({"problem": name, "start": start, "steps": cost, "best_fixed": best[name][0]})
    for (name, rate), cost in zip(grid, fixed, strict=True):
        trials.append({"problem": name, "start": f"fixed {rate:g}", "steps": cost, "best_fixed": best[name][0]})
    notes = (
        f"mean over {count} seeds; at most {steps} steps; infinite: the target was not reached by every seed",
        "fixed rates: seven per problem, the same for all but PPO's",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))
