"""The graph encoder of the durotaxis actor, searched under a budget of processor seconds, against the hand-made one.

Every candidate trains PPO for the same processor time, so that an encoder which costs more sees fewer steps. The
search ranks by validation colonies; found and default are then trained anew with seeds of their own, and compared on
test colonies.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from rl_suite.benchmarks import searches
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.evaluation.statistics import mean
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.metrics import TaskScores, compare
from rl_suite.meta_learning.tuning.architecture import NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.spaces import Architecture, Code, Space, spelled
from rl_suite.rehearsal import changed
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import as_agent, evaluation_spec
from rl_suite.seeding import seed_everything

SUMMARY = "the durotaxis actor's graph encoder, searched under processor seconds, against the hand-made default"
CHOICES = {
    "aggregation": ("features", "deepsets", "gnn"),  # moments of nodes, mean of encoded nodes, attention along edges
    "layers": (1, 2, 3),  # of attention
    "hidden_dim": (16, 32, 64, 128),
    "groups": (0, 16),  # of the simplicial embedding behind attention
}
DEFAULT = {"aggregation": "features", "layers": 1, "hidden_dim": 64, "groups": 0}  # of experiment=durotaxis
SEARCH_SECONDS, TRAIN_SECONDS = 600.0, 25.0
BATCH = 8  # encoders that are chosen together
SEEDS, FIRST_SEED = 5, 1000


class EncoderSpace(Space):
    """Encoders; layers and groups of one without attention are the same encoder."""

    def __init__(self) -> None:
        super().__init__(CHOICES)

    def key(self, code: Code) -> str:
        """What is built."""
        return spelled(policy_kwargs(self.decode(code)))


def policy_kwargs(architecture: Architecture) -> dict[str, Any]:
    """Arguments of ``HybridActorCritic``."""
    kwargs = {"encoder": architecture["aggregation"], "hidden_dim": architecture["hidden_dim"]}
    if architecture["aggregation"] != "gnn":
        return kwargs
    return {**kwargs, "encoder_kwargs": {"layers": architecture["layers"], "groups": architecture["groups"]}}


class UntilSpent(BaseCallback):
    """Ends learning after so many processor seconds; schedules run over them."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.began = seconds, time.process_time()

    @property
    def left(self) -> float:
        """Share of the time that is left."""
        return max(0.0, 1 - (time.process_time() - self.began) / self.seconds)

    def _on_step(self) -> bool:
        return self.left > 0


def score(architecture: Architecture, seed: int, seconds: float, split: str, quick: bool) -> float:
    """Mean return on colonies of a split after PPO with this encoder has trained for so long."""
    words = ["experiment=durotaxis,smoke" if quick else "experiment=durotaxis", f"seed={seed}"]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, SB3Config)
    config = changed(config, {"policy.kwargs": {**config.policy.kwargs, **policy_kwargs(architecture)}})
    seed_everything(seed)
    env = build_env(config, config.env.train_kwargs, config.env.n_envs)
    model = build_model(config, env)
    rate, until = model.lr_schedule, UntilSpent(seconds)
    model.lr_schedule = lambda _: rate(until.left)
    model.learn(10**9, until)
    kwargs: Mapping[str, Any] = config.env.validation_kwargs if split == "validation" else config.env.test_kwargs
    spec = evaluation_spec(config, dict(kwargs))
    if split == "test":
        spec = replace(spec, seed=spec.seed + spec.n_tasks * spec.episodes_per_task)  # other colonies
    found = float(mean(evaluate_agent(as_agent(model), spec).returns))
    env.close()
    return found


def test_score(item: tuple[Architecture, int], seconds: float, quick: bool) -> float:
    """Of one training from scratch on test colonies."""
    return score(item[0], item[1], seconds, "test", quick)


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    return searches.parse(words, "graph_encoder", SEEDS, "trainings of found and default")


def run(options: Options) -> BenchmarkResult:
    """Search, then train found and default anew."""
    given = parse(options.extra)
    seconds, budget = (0.5, 1.0) if options.quick else (TRAIN_SECONDS, SEARCH_SECONDS)
    count = 2 if options.quick else given.seeds
    search = NeuralArchitectureSearch(EncoderSpace(), "bayesian", random_state=options.seed)
    evaluate = partial(score, seed=options.seed, seconds=seconds, split="validation", quick=options.quick)
    executor, workers = ("serial", None) if given.jobs == 1 else ("processes", given.jobs)
    best, value = search.search_architecture(
        evaluate, max(2, round(budget / seconds)), True, batch_size=BATCH, executor=executor, workers=workers
    )
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    items = [(architecture, seed) for architecture in (best, DEFAULT) for seed in seeds]
    returns = searches.measure(
        partial(test_score, seconds=seconds, quick=options.quick), items, given.jobs, "trainings"
    )
    found, own = TaskScores.of(returns[:count]), TaskScores.of(returns[count:])
    gap = compare(found, own).difference
    rows = (
        Row("test return of the encoder found", found.interval.estimate, own.interval.estimate, "", "default"),
        Row("found minus default, low end", gap.low, 0.0, "", "no difference"),
        Row("found minus default, high end", gap.high, 0.0, "", "no difference"),
    )
    notes = (
        f"search: {len(search.history)} encoders for {seconds:g} CPU s each; found: {policy_kwargs(best)},",
        f"{value:.4g} on validation colonies",
        f"confirmed by {count} trainings each of {seconds:g} CPU s, seeds that the search never used; 95 % interval",
    )
    trials = [{"encoder": policy_kwargs(item.architecture), "validation": item.value} for item in search.history]
    trials += [
        {"encoder": policy_kwargs(architecture), "seed": seed, "test": value}
        for (architecture, seed), value in zip(items, returns, strict=True)
    ]
    return BenchmarkResult(rows, notes, tuple(trials))
