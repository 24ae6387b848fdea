"""The A/B of Weight Sharing Attention: the same experiment with and without it, on the same seeds."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.evaluation.statistics import iqm, paired_bootstrap, stratified_bootstrap
from rl_suite.experiments import load_experiment
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import as_agent, evaluation_spec
from rl_suite.seeding import seed_everything

SUMMARY = "Weight Sharing Attention against the plain actor: returns, speed, memory, time to the baseline's return"
CONFIG = Path(__file__).resolve().parents[2] / "config.yaml"
SEEDS, QUICK_SEEDS = 5, 2
WITH, WITHOUT = "with", "without"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks wsa_ab", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="training runs each way")
    parsed = parser.parse_args(list(arguments))
    if parsed.seeds < 2:
        parser.error("--seeds must be at least 2: one run has no interval")
    return parsed


@dataclass(frozen=True)
class Trained:
    """One training run: final held-out return, seconds, weights, and the curve of rollout returns."""

    final: float
    seconds: float
    parameters: int
    curve: list[tuple[float, float]]  # (seconds of processor time, mean return of recent episodes)

    @property
    def last(self) -> float:
        """The training return at the end."""
        return self.curve[-1][1]

    def time_to(self, level: float) -> float:
        """Processor seconds until the training return first reached ``level``; infinite if it never did."""
        return next((at for at, value in self.curve if value >= level), float("inf"))


class _Curve(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.start = time.process_time()
        self.points: list[tuple[float, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        episodes = self.model.ep_info_buffer
        if episodes:
            at = time.process_time() - self.start
            self.points.append((at, float(np.mean([episode["r"] for episode in episodes]))))


def run(options: Options) -> BenchmarkResult:
    """Train both ways on the same seeds; every figure is what came out."""
    words = ["experiment=durotaxis_wsa,smoke" if options.quick else "experiment=durotaxis_wsa"]
    count = QUICK_SEEDS if options.quick else parse(options.extra).seeds
    seeds = range(options.seed, options.seed + count)
    runs: dict[str, list[Trained]] = {}
    steps = 0.0
    plain = [f"policy.kwargs.{name}" for name in ("use_wsa=false", "ptms=null", "wsa_config=null")]
    for name, changes in ((WITH, ["policy.kwargs.use_wsa=true"]), (WITHOUT, plain)):
        config = load_experiment(CONFIG, [*words, *changes])
        assert isinstance(config, SB3Config)
        steps = float(config.train.total_timesteps)
        runs[name] = [_train(config, seed) for seed in seeds]
    final = {name: np.array([[trained.final for trained in them]]) for name, them in runs.items()}
    interval = {name: stratified_bootstrap(values, iqm, seed=0) for name, values in final.items()}
    gain = paired_bootstrap(final[WITH], final[WITHOUT], iqm, seed=0)
    level = float(np.median([trained.last for trained in runs[WITHOUT]]))

    def median(of: Callable[[Trained], float], name: str) -> float:
        return float(np.median([of(trained) for trained in runs[name]]))

    def reach(trained: Trained) -> float:
        return trained.time_to(level)

    def row(name: str, of: Callable[[Trained], float], unit: str, higher: bool) -> Row:
        return Row(name, median(of, WITH), median(of, WITHOUT), unit, "plain actor", higher)

    rows = (
        Row("held-out return with attention, IQM", interval[WITH].estimate, None, "return"),
        Row("held-out return without, IQM", interval[WITHOUT].estimate, None, "return"),
        row("training", lambda trained: steps / trained.seconds, "steps/s", True),
        row("weights", lambda trained: float(trained.parameters), "parameters", False),
        row("memory of the weights", lambda trained: 4e-6 * trained.parameters, "MB", False),
        Row("time with attention to the final return without", median(reach, WITH), None, "s"),
        Row("time without to its own final return", median(reach, WITHOUT), None, "s"),
    )
    notes = (
        f"{len(seeds)} seeds each, {steps:g} steps; held-out IQM with: {interval[WITH]}, without: {interval[WITHOUT]}, "
        f"difference on the same seeds: {gain}",
        f"the final return is that of training without attention, {level:.4g} (median over seeds); inf: not reached",
        "seconds are processor time, medians over seeds; returns may be negative, hence they stand without ratios",
    )
    trials = tuple(
        {"way": name, "seed": seed, **asdict(trained)}
        for name, them in runs.items()
        for seed, trained in zip(seeds, them, strict=True)
    )
    return BenchmarkResult(rows, notes, trials)


def _train(config: SB3Config, seed: int) -> Trained:
    torch.set_num_threads(config.torch_threads)
    seed_everything(seed)
    config = config.model_copy(update={"seed": seed})
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model: Any = build_model(config, env)
    curve = _Curve()
    model.learn(config.train.total_timesteps, curve, log_interval=None)
    seconds = time.process_time() - curve.start
    returns = evaluate_agent(as_agent(model), evaluation_spec(config, config.env.test_kwargs)).returns
    env.close()
    parameters = sum(value.numel() for value in model.policy.state_dict().values())
    return Trained(float(returns.mean()), seconds, parameters, curve.points)
