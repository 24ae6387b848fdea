"""What adaptation is worth on bandits with a hidden structure, and what one outer step costs."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from agents.meta_policy import EnhancedMetaLearningPolicy, Seen
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_learning.engine import evaluate
from rl_suite.meta_learning.metrics import mean_interval
from rl_suite.meta_learning.rules import Weights
from rl_suite.meta_rl.config import EnhancedMetaLearningConfig
from rl_suite.meta_rl.trainer import EnhancedMAMLTrainer
from rl_suite.meta_rl.worlds import TaskWorlds
from rl_suite.progress import ProgressBar

SUMMARY = "MAML over bandits with a hidden structure against joint training; seconds of one outer step"

WORLD = "rl_suite/CyclicBandit-v0"
BANDIT: dict[str, Any] = {  # as in the experiment meta_bandit
    "meta_lr": 3e-3,
    "adaptation_lr": 1.0,
    "hidden_dim": 32,
    "num_attention_heads": 2,
    "context_trajectories": 0,
    "gamma": 0.0,
    "value_loss_weight": 0.02,
    "complexity_loss_weight": 0.0,
    "save_attention_maps": False,
}
STEPS = (0, 1, 3, 5)
VARIANTS: dict[str, Mapping[str, Any]] = {
    "MAML, first order": {},
    "joint training": {"adaptation_steps": 0, "query_episodes": 60},  # as many episodes as MAML plays
    "untrained": {},
}
SEEDS, ITERATIONS, EPISODES = 5, 60, 50

OBSERVATION, ACTIONS, WIDTH, TASKS = 205, 25, 104, 10  # 280,000 weights
GOALS = {"first": 0.35, "anil": 0.2}  # seconds


def run(options: Options) -> BenchmarkResult:
    """Train every variant with every seed and count success on combinations never trained on; time outer steps."""
    seeds, iterations, episodes = (1, 1, 2) if options.quick else (SEEDS, ITERATIONS, EPISODES)
    trials = []
    with ProgressBar("policies", seeds * len(VARIANTS)) as progress:
        for seed in range(options.seed, options.seed + seeds):
            for name in VARIANTS:
                trials.append(train(name, seed, iterations, episodes))
                progress.update(len(trials))
    rows = [*outer_step_rows(options.repeats), *success_rows(trials)]
    notes = (
        f"bandits: {seeds} seeds, {iterations} outer steps of 10 tasks, success in % on held-out tasks",
        f"outer step: {TASKS} tasks, 5 inner steps on the same 200 rows, 280,000 weights, without the playing;",
        "the peer is the goal in CPU seconds of one thread",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def train(name: str, seed: int, iterations: int, episodes: int) -> dict[str, Any]:
    """One policy, and its success on held-out tasks after inner steps on their episodes and on those of others."""
    config = EnhancedMetaLearningConfig(**{**BANDIT, **VARIANTS[name], "seed": seed, "log_dir": Path()})
    trainer = EnhancedMAMLTrainer(config, None, TaskWorlds(WORLD, {"split": "train"}))
    began = time.process_time()
    for _ in range(0 if name == "untrained" else iterations):
        trainer.meta_step()
    spent = time.process_time() - began
    worlds = TaskWorlds(WORLD, {"split": "test"})
    tasks = list(worlds.tasks)
    found = trainer.success_after(tasks, STEPS, episodes, seed, worlds=worlds)
    others = [*tasks[1:], tasks[0]]
    moved = trainer.success_after(tasks, STEPS[-1:], episodes, seed, others, worlds=worlds)
    return {
        "variant": name,
        "seed": seed,
        "cpu_seconds": spent,
        **{f"success_after_{steps}": values.mean() for steps, values in found.items()},
        "success_on_anothers_episodes": moved[STEPS[-1]].mean(),
        "tasks": {str(steps): values.tolist() for steps, values in found.items()},
    }


def success_rows(trials: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Means over seeds in %, and what the inner steps add, with 95 % intervals over seeds in the names."""
    rows, last = [], STEPS[-1]
    for name in VARIANTS:
        own = [trial for trial in trials if trial["variant"] == name]

        def column(key: str, own: Sequence[Mapping[str, Any]] = own) -> NDArray[np.float64]:
            return 100 * np.array([trial[key] for trial in own])

        before, after = column("success_after_0"), column(f"success_after_{last}")
        rows += [Row(f"{name}: success after {k} steps", column(f"success_after_{k}").mean(), None, "%") for k in STEPS]
        moved = column("success_on_anothers_episodes")
        rows.append(Row(f"{name}: after {last} on another task's episodes", moved.mean(), None, "%"))
        gain = mean_interval(after - before)
        rows.append(Row(f"{name}: gain of {last} steps {_bracket(gain)}", gain.estimate, None, "points"))
    return rows


def _bracket(interval: Interval) -> str:
    return f"[{interval.low:.1f}, {interval.high:.1f}]"


def outer_step_rows(repeats: int) -> list[Row]:
    """CPU seconds of one outer step of each order, the best of ``repeats``."""
    rows = []
    for order in ("first", "anil", "second", "reptile"):
        learn = outer_step(order)
        learn()  # the first one pays for memory
        spent, goal = min(learn() for _ in range(repeats)), GOALS.get(order)
        target = None if goal is None else 1.0
        rows.append(Row(f"outer step, {order}", spent, goal, "s", "goal", higher_is_better=False, target=target))
    return rows


def outer_step(order: str) -> Callable[[], float]:
    """What the trainer learns in one outer step once the episodes are played; returns CPU seconds."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"order": order, "resample_support": False, "gradient_checkpointing": False}
    settings |= {"support_episodes": 20, "query_episodes": 20, "save_attention_maps": False, "log_dir": Path()}
    policy = EnhancedMetaLearningPolicy(OBSERVATION, ACTIONS, WIDTH)
    worlds = TaskWorlds(WORLD, {"arms": ACTIONS, "groups": 1})  # 20 episodes of 10 pulls are 200 rows
    trainer = EnhancedMAMLTrainer(EnhancedMetaLearningConfig(**settings), policy, worlds)
    records, how = trainer.collect(worlds.first(TASKS)), trainer.adaptation

    def learn() -> float:
        began = time.process_time()
        for record in records:
            weights: Weights = trainer.weights
            seen: dict[int, Seen] = {}
            for rollout in record.support:
                weights = how.moved(weights, rollout.steps, seen)
        evaluate(cast(Any, how.objective), trainer.weights, cast(Any, records))
        return time.process_time() - began

    return learn
