"""All in one job: a policy that chooses tools, initialised by MAML, which follows drifting tools with adapters.

The job is ``rl_suite/ToolUse-v0``, hidden. On a set of tools that it never met, the policy hears from an expert what to
call in forty situations, takes three gradient steps from MAML's start, and works. Sixty calls later the tools have
drifted; the expert is asked again, trains LoRA adapters alone, and the policy works on.
"""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import envs  # noqa: F401  # registers the world
from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.demo.part import Part
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.metrics import TaskScores, compare, parameter_efficiency
from rl_suite.meta_learning.tasks import Task

WORLD = "rl_suite/ToolUse-v0"
TRAIN_SETS, TEST_SETS, PER_STEP, STEPS = 256, 64, 16, 150
SHOWN = 40  # situations in which an expert says what it would call now
WORK, DRIFT = 30, 60  # calls that are compared, and calls until the expert is asked again
INNER_LR, INNER_STEPS = 0.5, 3
RANK, ADAPTER_STEPS, ADAPTER_RATE = 2, 30, 0.02
Numbers = NDArray[np.float64]


def make_world(n: int, split: str, seed: int) -> Any:
    """``n`` sets of tools, as a vector environment that has begun."""
    env = gym.make_vec(WORLD, num_envs=n, split=split, max_episode_steps=-1, calls=DRIFT + WORK)
    env.reset(seed=seed)
    return env


def ask(env: Any, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What an expert would call now in random situations: inputs (n, SHOWN, S + J), tools (n, SHOWN)."""
    world, seen, called = env.unwrapped.world, [], []
    kept = world.stage.copy(), world.job.copy()
    for _ in range(SHOWN):
        world.stage[...] = rng.integers(world.settings.stages, size=env.num_envs)
        world.job[...] = rng.integers(world.settings.job_types, size=env.num_envs)
        seen.append(inputs(world))
        called.append(torch.from_numpy(world.call_values().argmax(axis=1)))
    world.stage[...], world.job[...] = kept
    return torch.stack(seen, 1), torch.stack(called, 1)


def inputs(world: Any) -> Tensor:
    """Stage and type of every job, one-hot side by side (n, S + J)."""
    stages, types = np.eye(world.settings.stages), np.eye(world.settings.job_types)
    return torch.from_numpy(np.concatenate([stages[world.stage], types[world.job]], axis=1)).float()


def preferences(world: Any, policies: list[nn.Module]) -> Numbers:
    """How much each policy likes each tool at each stage of each type of job, (n, S, J, K)."""
    stages, types = world.settings.stages, world.settings.job_types
    every = torch.cat([torch.eye(stages).repeat_interleave(types, 0), torch.eye(types).repeat(stages, 1)], 1)
    with torch.no_grad():
        liked = torch.stack([policy(every) for policy in policies]).reshape(-1, stages, types, world.n_tools)
    return liked.double().numpy()


def work(env: Any, liked: Numbers | None, rng: np.random.Generator, calls: int = WORK) -> Numbers:
    """Rewards (calls, n) of calling the tool that each policy likes best of those that can succeed, or any of them."""
    world, rewards, rows = env.unwrapped.world, [], np.arange(env.num_envs)
    for _ in range(calls):
        masks = world.action_masks()
        scores = rng.random(masks.shape) if liked is None else liked[rows, world.stage, world.job]
        rewards.append(env.step(np.where(masks, scores, -np.inf).argmax(axis=1))[1])
    return np.array(rewards)


def oracle(env: Any) -> Numbers:
    """What the expert itself earns from here, (n,)."""
    total = np.zeros(env.num_envs)
    for _ in range(WORK):
        total += env.step(env.unwrapped.world.call_values().argmax(axis=1))[1]
    return total


def integrated_system(seed: int) -> Part:
    """Meta-train on training sets of tools; adapt, work, follow the drift and work again on held-out ones."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    learner = meta_train(seed, rng)
    env = make_world(TEST_SETS, "test", seed + 1)
    shown = ask(env, rng)
    policies = []
    for x, y in zip(*shown, strict=True):
        policy = copy.deepcopy(learner.model)
        policy.load_state_dict(learner.adapt_to_task(x, y, differentiable=False))
        policies.append(policy)
    world = env.unwrapped.world
    liked = preferences(world, policies)
    began = preferences(world, [learner.model] * TEST_SETS)
    early = {name: replayed(env, who, seed) for name, who in (("adapted", liked), ("as it began", began))}
    work(env, liked, rng, DRIFT)
    shown, adapted = ask(env, rng), []
    for policy, x, y in zip(policies, *shown, strict=True):
        adapted.append(with_adapters(policy, x, y))
    followed = preferences(world, adapted)
    late = {name: replayed(env, who, seed) for name, who in (("adapters", followed), ("without", liked))}
    random, best = replayed(env, None, seed).sum(0), _on_a_copy(env, oracle)
    first, second = _gain(early["adapted"], early["as it began"]), _gain(late["adapters"], late["without"])
    share = [float((late[name].sum(0) - random).mean() / (best - random).mean()) for name in late]
    return Part(
        "All in one: a policy that chooses tools, by MAML and adapters",
        f"share of the way from random calls to the oracle, last {WORK} calls, {TEST_SETS} held-out sets of tools",
        share[0],
        share[1],
        "the same policy without its adapters",
        first.low > 0 and second.low > 0,
        "MAML's adaptation and the adapters each earn more: both 95 % intervals of the paired differences lie above 0",
        {
            "gain_of_adaptation": first.estimate,
            "gain_of_adapters": second.estimate,
            "parameter_efficiency": parameter_efficiency(adapted[0]),
        },
        {
            "return before the drift": {name: [_running(rewards)] for name, rewards in early.items()},
            "return after the drift": {name: [_running(rewards)] for name, rewards in late.items()},
        },
    )


def meta_train(seed: int, rng: np.random.Generator) -> MAML:
    """A start from which three steps on forty of an expert's calls lead far."""
    env = make_world(TRAIN_SETS, "train", seed)
    support_x, support_y = ask(env, rng)
    work(env, None, rng, WORK // 2)
    query_x, query_y = ask(env, rng)
    world = env.unwrapped.world
    width = world.settings.stages + world.settings.job_types
    net = nn.Sequential(nn.Linear(width, 32), nn.Tanh(), nn.Linear(32, world.n_tools))
    learner = MAML(net, lr_inner=INNER_LR, lr_meta=1e-2, num_inner_steps=INNER_STEPS, order="second")
    for _ in range(STEPS):
        rows = torch.from_numpy(rng.choice(TRAIN_SETS, PER_STEP, replace=False))
        learner.meta_train_step(Task(support_x[rows], support_y[rows], query_x[rows], query_y[rows]))
    return learner


def with_adapters(policy: nn.Module, x: Tensor, y: Tensor) -> nn.Module:
    """The policy with LoRA in all layers, trained on an expert's calls; nothing else moves."""
    config = AdapterConfig(adapter_type=AdapterType.LORA, target_modules="all-linear", lora_r=RANK, lora_alpha=8)
    model = AdapterModel(copy.deepcopy(policy), config)
    optimizer = torch.optim.Adam(model.get_adapter_parameters(), ADAPTER_RATE)
    for _ in range(ADAPTER_STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model


def replayed(env: Any, liked: Numbers | None, seed: int) -> Numbers:
    """``work`` from the present state, which is as it was afterwards: everybody meets the same situation and luck."""
    result: Numbers = _on_a_copy(env, lambda each: work(each, liked, np.random.default_rng(seed)))
    return result


def _on_a_copy(env: Any, play: Any) -> Numbers:
    state = env.unwrapped.get_state()
    result: Numbers = play(env)
    env.unwrapped.set_state(state)
    return result


def _gain(ours: Numbers, theirs: Numbers) -> Interval:
    """Mean difference of the returns, with its 95 % interval over sets of tools."""
    return compare(TaskScores.of(ours.sum(0)), TaskScores.of(theirs.sum(0))).difference


def _running(rewards: Numbers) -> tuple[Numbers, Numbers]:
    return np.arange(1.0, len(rewards) + 1), np.cumsum(rewards.mean(axis=1))
