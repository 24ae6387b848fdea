"""Episodes of several tasks, each played by a policy with weights of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from agents.meta_policy import EnhancedMetaLearningPolicy
from rl_suite.errors import NonFiniteError
from rl_suite.meta_learning.rules import Weights
from rl_suite.meta_rl.views import View
from rl_suite.meta_rl.worlds import TaskWorlds

FORBIDDEN = -1e8  # the logit of an action that is not allowed


class LostPolicyError(NonFiniteError):
    """The logits of some policies are not finite; ``places`` tells which, counted from 0."""

    def __init__(self, places: list[int]):
        super().__init__("the policy's logits are not finite; lower the inner or the outer learning rate")
        self.places = places


class Steps(NamedTuple):
    """All R steps of a few episodes of one task, one after the other."""

    observations: Any  # what the policy's encoder takes, with a leading axis R
    allowed: Tensor  # (R, n) True = allowed
    actions: Tensor  # (R,)
    log_prob: Tensor  # (R,) of the policy that played
    returns: Tensor  # (R,) discounted sum of the rewards from this step on
    complexity: Tensor  # (R,) of the finished expression, as a share; NaN where there is none
    remaining: Tensor  # (R,) steps that were left, as a share of the horizon
    episode: Tensor  # (R,) which episode the step is of
    context: Tensor | None  # (1, K, T, features) what the policy knew of the task


@dataclass(frozen=True)
class Rollout:
    """E episodes of one task."""

    steps: Steps
    trajectories: tuple[Tensor, ...]
    """Of each episode (T, features): observation, action one-hot, reward."""
    returns: NDArray[np.float64]
    """(E,) undiscounted."""
    success: NDArray[np.float64]
    """(E,) 1 where the law was recovered; in worlds that tell the best action, the share of steps that took it; in
    others, 1 where anything was earned."""


class _Method(nn.Module):
    """A method of a module as a module, which ``functional_call`` can call."""

    def __init__(self, module: nn.Module, name: str):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *args: Any) -> Any:
        return getattr(self.module, self.name)(*args)


def call(module: nn.Module, method: str, weights: Weights, *args: Any) -> Any:
    """``module.method(*args)`` with other weights."""
    named = {f"module.{name}": value for name, value in weights.items()}
    return functional_call(_Method(module, method), named, args)


class Player:
    """A policy at work in several tasks.

    Args:
        policy: the network.
        view: what it sees.
        weights: for each task; the same object for all of them is faster.
        contexts: (tasks, K, T, features) episodes of each task, or None.
    """

    def __init__(
        self, policy: EnhancedMetaLearningPolicy, view: View, weights: Sequence[Weights], contexts: Tensor | None
    ):
        self.view = view
        self.policy, self.n_tasks, self.contexts = policy, len(weights), contexts
        self.same = all(w is weights[0] for w in weights)
        self.weights: Weights = weights[0] if self.same else _stack(weights)
        if contexts is None:
            contexts = torch.zeros(self.n_tasks, 0, 0, policy.task_features, device=policy.unknown_task.device)
        with torch.no_grad():
            if self.same:
                self.tasks = call(policy, "embed", self.weights, contexts)[:, None]  # (tasks, 1, D)
            else:
                embed = vmap(lambda w, c: call(policy, "embed", w, c))
                self.tasks = embed(self.weights, contexts[:, None])

    @torch.no_grad()
    def logits(self, observations: Any) -> Tensor:
        """(tasks * E, n) for a batch in which the E episodes of a task stand together."""

        def decide(weights: Weights, seen: Any, task: Tensor) -> Tensor:
            outputs = call(self.policy, "decide", weights, call(self.policy, "read", weights, seen, task))
            logits: Tensor = outputs["policy_logits"]
            return logits

        split = pytree.tree_map(lambda x: x.view(self.n_tasks, -1, *x.shape[1:]), observations)
        if self.view.shared:
            split = {key: x[:, :1] if key in self.view.shared else x for key, x in split.items()}
        together: Tensor = vmap(decide, (None if self.same else 0, 0, 0))(self.weights, split, self.tasks)
        return together.flatten(0, 1)


def _stack(weights: Sequence[Weights]) -> Weights:
    return {name: torch.stack([w[name] for w in weights]) for name in weights[0]}


def play(
    worlds: TaskWorlds,
    player: Player,
    tasks: Sequence[int],
    n_episodes: int,
    gamma: float,
    seed: int,
) -> list[Rollout]:
    """``n_episodes`` of each task, all at once.

    Args:
        worlds: where.
        player: who; it was made for as many tasks.
        tasks: their numbers.
        n_episodes: E, of each task.
        gamma: discount of the returns.
        seed: of worlds and actions.

    Raises:
        NonFiniteError: a world paid NaN.
        LostPolicyError: logits are not finite.
    """
    env = worlds.batch(len(tasks) * n_episodes)
    device = player.policy.unknown_task.device
    generator = torch.Generator().manual_seed(seed)
    observation, _ = env.reset(seed=seed, options={"task": np.repeat(np.asarray(tasks, np.int64), n_episodes)})
    going = np.ones(env.num_envs, dtype=np.bool_)
    log = _Log(env.num_envs)
    first = player.view.see(observation)
    while going.any():
        seen, masks = player.view.see(observation), torch.from_numpy(env.action_masks())
        for key in player.view.shared:  # of an ended episode they would be those of the next task
            seen[key] = first[key]
        logits = player.logits(pytree.tree_map(lambda x: x.to(device), seen)).cpu()
        masks = nn.functional.pad(masks, (0, logits.shape[1] - masks.shape[1]))  # the policy may know more actions
        log_p = torch.log_softmax(logits.masked_fill(~masks, FORBIDDEN), 1)
        lost = ~log_p.isfinite().all(1)
        if bool(lost.any()):
            raise LostPolicyError(sorted({int(row) // n_episodes for row in lost.nonzero()}))
        actions = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
        observation, rewards, terminated, truncated, infos = env.step(actions.numpy())
        if not np.isfinite(rewards).all():
            raise NonFiniteError(f"{worlds.env_id}: a reward is {rewards[~np.isfinite(rewards)][0]}")
        log.add(seen, masks, actions, log_p, rewards, going)
        ended = (terminated | truncated) & going
        log.judge(actions.numpy(), infos, going, ended)
        going = going & ~ended
    return log.rollouts(worlds.horizon, len(tasks), gamma, player)


class _Log:
    """What happened at every step of B episodes that end at different times."""

    def __init__(self, n: int):
        self.seen: list[Any] = []
        self.masks: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.log_prob: list[Tensor] = []
        self.rewards: list[NDArray[np.float64]] = []
        self.live: list[NDArray[np.bool_]] = []
        self.right, self.by_step = np.zeros(n), False
        self.complexity = np.full(n, np.nan)

    def add(
        self, seen: Any, masks: Tensor, actions: Tensor, log_p: Tensor, rewards: NDArray[Any],
        live: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """One step of all."""
        self.seen.append(seen)
        self.masks.append(masks)
        self.actions.append(actions)
        self.log_prob.append(log_p.gather(1, actions[:, None])[:, 0])
        self.rewards.append(np.where(live, rewards, 0.0))
        self.live.append(live)

    def judge(
        self, actions: NDArray[np.int64], infos: dict[str, Any], live: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> None:
        """Success and complexity, from the world's measurements of the last step."""
        found = infos.get("final_info", infos)  # where episodes ended, ``infos`` are of the next ones already
        if "recovered" in found:
            self.right[ended] = found["recovered"][ended]
        elif "oracle_arm" in found:
            self.right[live] += (found["oracle_arm"] == actions)[live]
            self.by_step = True
        else:
            self.right[ended] = np.stack(self.rewards).sum(0)[ended] > 0
        if "complexity" in found:
            self.complexity[ended] = found["complexity"][ended]

    def rollouts(self, horizon: int, n_tasks: int, gamma: float, player: Player) -> list[Rollout]:
        """The episodes of each task."""
        live, rewards = np.stack(self.live), np.stack(self.rewards)  # (T, B)
        lengths = live.sum(0)
        to_go = np.zeros_like(rewards)
        following = np.zeros(len(lengths))
        for t in range(len(rewards) - 1, -1, -1):
            following = to_go[t] = rewards[t] + gamma * following
        remaining = (lengths - np.arange(len(live))[:, None]) / horizon
        total = rewards.sum(0)
        if self.by_step:
            self.right /= lengths
        arrays = (to_go, np.broadcast_to(self.complexity / horizon, live.shape), remaining)
        *targets, paid = (torch.from_numpy(np.array(a, dtype=np.float32)) for a in (*arrays, rewards))
        seen = pytree.tree_map(lambda *parts: torch.stack(parts), *self.seen)
        stacked = (torch.stack(self.masks), torch.stack(self.actions), torch.stack(self.log_prob), *targets)
        each = len(lengths) // n_tasks
        found = []
        for task in range(n_tasks):
            own = slice(task * each, (task + 1) * each)
            alive = torch.from_numpy(live[:, own].T.copy())  # (E, T)

            def rows(x: Tensor, own: slice = own, alive: Tensor = alive) -> Tensor:
                return x[:, own].transpose(0, 1)[alive]

            episode = torch.arange(each)[:, None].expand_as(alive)[alive]
            context = None if player.contexts is None else player.contexts[task : task + 1]
            observations = pytree.tree_map(rows, seen)
            for key in player.view.shared:
                observations[key] = seen[key][0, own][:1]
            masks, actions, log_p, to_come, complexity, left = map(rows, stacked)
            steps = Steps(observations, masks, actions, log_p, to_come, complexity, left, episode, context)
            one_hot = nn.functional.one_hot(steps.actions, player.policy.action_dim)
            told = torch.cat([player.view.tell(observations), one_hot, rows(paid)[:, None]], 1)
            trajectories = torch.split(told, lengths[own].tolist())
            found.append(Rollout(steps, tuple(trajectories), total[own], self.right[own]))
        return found
