"""Adapters in the suite's own agents: what a shifted world pays with 5 % of the parameters, against full tuning."""

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import nn

from agents.in_context.model import InContextModel
from rl_suite.benchmarks import searches
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation.config import DistillationConfig
from rl_suite.distillation.dataset import Windows
from rl_suite.distillation.experiment import (
    build_model as build_in_context,
)
from rl_suite.distillation.experiment import (
    collect_histories,
    learning_rate_factor,
    make_agent,
    trial_spec,
    update,
)
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.evaluation.statistics import mean
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.adapters.policies import adapt_policy
from rl_suite.meta_learning.metrics import TaskScores, compare
from rl_suite.rehearsal import changed
from rl_suite.run import Run
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import as_agent, evaluation_spec
from rl_suite.seeding import seed_everything

SUMMARY = "agents adapted to a shifted world with 5 % of their parameters, against full tuning of all of them"
SEEDS = 3
SHARE, PROMISED = 0.05, 0.98  # of the parameters at most; of full tuning's return at least
FACTOR = 10.0  # rate of adapters over that of full tuning, as usual for LoRA (Hu et al. 2021 take 2 to 10)
BASE_STEPS, TUNE_STEPS = 80_000, 80_000  # of PPO in the world of before and in the shifted one
MODELS = [  # of the WSA actor: small ones, so that the benchmark ends in minutes
    {"model_type": "graph_cnn", "freeze": False, "options": {"width": 8}},
    {"model_type": "graph_cnn", "freeze": False, "options": {"width": 4}},
]
POLICIES = {"HybridActorCritic": "durotaxis", "WSA actor": "durotaxis_wsa"}
BEFORE, SHIFTED = {"direction": 0.0}, {"direction": 90.0}  # where the stiff end of all fields lies
TRANSFORMER = "in-context transformer"
BANDITS = ("rl_suite/BernoulliBandit-v0", "rl_suite/AdversarialBandit-v0")  # any arm pays; odd arms pay
FIT = [
    "distillation.source.histories=1024",
    "distillation.source.shard_size=1024",
    "distillation.fit.steps=500",
    "distillation.fit.window=100",  # what an episode of the shifted bandits has
    "distillation.acting.window=100",
]
WAYS = ("as it was", "full tuning", "adapters")


def small_adapters() -> list[AdapterConfig]:
    """LoRA of rank 1 in every linear layer."""
    return [AdapterConfig(adapter_type=AdapterType.LORA, target_modules="all-linear", lora_r=1, lora_alpha=4)]


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Memory of an optimiser's moments."""
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(item: tuple[str, int], quick: bool) -> dict[str, dict[str, float]]:
    """Way -> return, trained share of the parameters and bytes of the optimiser, of one agent and seed."""
    name, seed = item
    if name == TRANSFORMER:
        return measure_transformer(seed, quick)
    return measure_policy(name, seed, quick)


def measure_policy(name: str, seed: int, quick: bool) -> dict[str, dict[str, float]]:
    """PPO learns durotaxis on fields that always rise one way, then goes on where they rise another way."""
    words = [f"experiment={POLICIES[name]}{',smoke' * quick}", f"seed={seed}"]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, SB3Config)
    if name == "WSA actor":
        config = changed(config, {"policy.kwargs": {**config.policy.kwargs, "ptms": MODELS}})
    config = changed(config, {"ppo.final_learning_rate": config.ppo.learning_rate})
    base_steps, tune_steps = (128, 128) if quick else (BASE_STEPS, TUNE_STEPS)

    def make(kwargs: dict[str, Any], rate: float) -> BaseAlgorithm:
        seed_everything(seed)
        own = changed(config, {"ppo.learning_rate": rate, "ppo.final_learning_rate": rate})
        return build_model(own, build_env(own, {**own.env.train_kwargs, **kwargs}, own.env.n_envs))

    rate = config.ppo.learning_rate
    before = make(BEFORE, rate)
    before.learn(base_steps)
    weights = {key: value.clone() for key, value in before.policy.state_dict().items()}
    total = sum(parameter.numel() for parameter in before.policy.parameters())
    found = {}
    for way in WAYS:
        model = make(SHIFTED, rate * FACTOR if way == "adapters" else rate)
        model.policy.load_state_dict(weights)
        trained = total
        if way == "adapters":
            assert isinstance(model, OnPolicyAlgorithm)
            trained = sum(p.numel() for p in adapt_policy(model, small_adapters()).get_adapter_parameters())
        if way != "as it was":
            model.learn(tune_steps)
        spec = evaluation_spec(config, SHIFTED)
        found[way] = {
            "return": float(mean(evaluate_agent(as_agent(model), spec).returns)),
            "share": trained / total,
            "bytes": optimizer_bytes(model.policy.optimizer),
        }
    return found


def bandit_config(world: str, seed: int, folder: str, quick: bool) -> DistillationConfig:
    """Thompson sampling on bandits of one kind."""
    words = [f"experiment=bandit5_distillation{',smoke' * quick}", f"seed={seed}", f"runs_dir={folder}"]
    words += [f"distillation.world.id={world}", f"name={world.rpartition('/')[2]}", *([] if quick else FIT)]
    config = load_experiment(DEFAULT_CONFIG, words)
    assert isinstance(config, DistillationConfig)
    return config


def fit_parameters(
    config: DistillationConfig, model: InContextModel, parameters: Sequence[nn.Parameter], factor: float
) -> torch.optim.Optimizer:
    """Learn to predict the actions of the histories of ``config``; gradients reach these parameters only."""
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    settings = config.distillation.fit
    with closing(Run.start(config)) as run:
        histories = collect_histories(config, family, run)
    assert histories is not None
    windows = Windows(
        histories, model.n_actions, settings.window, settings.from_start, False, model.layout, config.seed, False
    )
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate * factor, weight_decay=settings.weight_decay)
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor * learning_rate_factor(step, settings)
        update(model, optimizer, windows, step, settings)
    return optimizer


def measure_transformer(seed: int, quick: bool) -> dict[str, dict[str, float]]:
    """Distilled on bandits any arm of which may pay, then on such where mostly the odd ones do."""
    with tempfile.TemporaryDirectory(prefix="rl_suite-") as folder:
        before, shifted = (bandit_config(world, seed, folder, quick) for world in BANDITS)
        family = TaskFamily.named(shifted.distillation.world.id, shifted.distillation.world.options)
        seed_everything(seed)
        base = build_in_context(before, family)
        fit_parameters(before, base, list(base.parameters()), 1.0)
        weights = {key: value.clone() for key, value in base.state_dict().items()}
        total = sum(parameter.numel() for parameter in base.parameters())
        trials = shifted.evaluation.n_tasks * shifted.evaluation.episodes_per_task
        # validation tasks: unseen ones of the world that is adapted to; this world's test tasks pay the other way round
        spec = trial_spec(shifted, family, "validation", shifted.distillation.trials.episodes, trials)
        found = {}
        for way in WAYS:
            seed_everything(seed)
            model = build_in_context(shifted, family)
            model.load_state_dict(weights)
            trained: Sequence[nn.Parameter] = list(model.parameters())
            adapted = AdapterModel(model, small_adapters()) if way == "adapters" else None
            if adapted is not None:
                trained = adapted.get_adapter_parameters()
            optimizer = None
            if way != "as it was":
                factor = FACTOR if adapted is not None else 1.0
                optimizer = fit_parameters(shifted, model, trained, factor)
            if adapted is not None:
                adapted.merge()  # the agent reads weights, and calls cost nothing more
            model.eval()
            result = evaluate_agent(make_agent(shifted, model, 1.0), spec)
            found[way] = {
                "return": float(result.returns.mean()),
                "share": sum(parameter.numel() for parameter in trained) / total,
                "bytes": 0 if optimizer is None else optimizer_bytes(optimizer),
            }
        return found


def parse(words: Sequence[str]) -> argparse.Namespace:
    """``--seeds`` and ``--jobs``."""
    return searches.parse(words, "adapters", SEEDS, "trainings of each agent")


def run(options: Options) -> BenchmarkResult:
    """Every agent and seed, in the three ways."""
    given = parse(options.extra)
    count = 2 if options.quick else given.seeds
    agents = (*POLICIES, TRANSFORMER)
    items = [(name, seed) for name in agents for seed in range(options.seed, options.seed + count)]
    found = searches.measure(partial(measure, quick=options.quick), items, given.jobs, "agents")
    rows, trials = [], []
    for place, name in enumerate(agents):
        own = found[place * count : (place + 1) * count]
        returns = {way: np.array([each[way]["return"] for each in own]) for way in WAYS}
        full = float(returns["full tuning"].mean())
        reached = 1 - (full - float(returns["adapters"].mean())) / abs(full) if full else float("nan")
        rows.append(Row(f"{name}: return of adapters", reached, 1.0, "share", "full tuning", True, PROMISED))
        shares, memory = ([each["adapters"][key] for each in own] for key in ("share", "bytes"))
        rows.append(Row(f"{name}: parameters trained", max(shares), SHARE, "share", "promised at most", False, 1.0))
        everything = own[0]["full tuning"]["bytes"]
        rows.append(Row(f"{name}: memory of the optimiser", memory[0], everything, "bytes", "full tuning", False))
        for way, values in returns.items():
            gap = compare(TaskScores.of(values), TaskScores.of(returns["full tuning"])).difference
            interval = {f"minus_full_{key}": value for key, value in gap._asdict().items()}
            scores = TaskScores.of(values).interval._asdict()
            trials.append({"agent": name, "way": way, "returns": values.tolist(), **scores, **interval})
    notes = (
        f"{count} seeds; LoRA of rank 1 in every linear layer, at {FACTOR:g} times the rate of full tuning, same steps",
        f"durotaxis: PPO on fields that rise to the right, then {TUNE_STEPS} steps where they rise across;"
        " held-out colonies",
        "transformer: distilled on Bernoulli bandits, then on bandits whose odd arms pay; unseen bandits of that kind",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))
