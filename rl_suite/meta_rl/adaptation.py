"""Adaptation of a policy to tasks by playing in them, and what the outer loop differentiates."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.meta_policy import HEADS, EnhancedMetaLearningPolicy, Seen
from rl_suite.errors import UserError
from rl_suite.meta_learning.engine import InnerLoop, Loss, Mode, adapt
from rl_suite.meta_learning.rules import Weights, fixed_rate
from rl_suite.meta_rl.config import MetaTrainingSection
from rl_suite.meta_rl.losses import EpisodeLoss
from rl_suite.meta_rl.rollouts import LostPolicyError, Player, Rollout, Steps, call, play
from rl_suite.meta_rl.views import make_view
from rl_suite.meta_rl.worlds import TaskWorlds


@dataclass
class TaskRecord:
    """What happened in one task."""

    task: int
    support: list[Rollout] = field(default_factory=list)
    """One for each inner step."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """After the last inner step, without a graph."""
    seen: dict[int, Seen] = field(default_factory=dict)
    """What the body saw of the support, by identity; where only heads are adapted it stays the same."""
    query: Rollout | None = None
    finite: bool = True
    """False: an inner gradient was not, and the task does not count."""


def make_context(trajectories: Sequence[Tensor], n: int, steps: int) -> Tensor:
    """The last n trajectories (T, features), cut to their first steps, as a task context (1, n, longest, features).

    Raises:
        UserError: there is no trajectory, or one without a step.
    """
    if not trajectories or any(len(trajectory) == 0 for trajectory in trajectories):
        raise UserError("a task context needs at least one trajectory, and each at least one step")
    shown = [trajectory[:steps] for trajectory in trajectories[-n:]]
    return torch.nn.utils.rnn.pad_sequence(list(shown), batch_first=True)[None]


class Adaptation:
    """The inner loop over a world.

    Args:
        policy: the network; its own weights are never changed here.
        worlds: where it plays.
        settings: how it is adapted.

    Raises:
        UserError: the policy does not fit the world.
    """

    def __init__(self, policy: EnhancedMetaLearningPolicy, worlds: TaskWorlds, settings: MetaTrainingSection):
        self.policy, self.worlds, self.settings = policy, worlds, settings
        self.view = make_view(policy, worlds.space)
        self.loss = EpisodeLoss(settings)
        self.inner_loss = EpisodeLoss(settings, elite=settings.inner_objective == "elite")
        self.anil = settings.order == "anil"
        every = [name for name, _ in policy.named_parameters()]
        heads = [name for name in every if name.startswith(tuple(f"{head}." for head in HEADS))]
        self.loop = InnerLoop(
            steps=1,
            order="second" if settings.order in ("second", "anil") else "first",
            names=tuple(heads if self.anil else every),
            max_norm=settings.adaptation_clip,
            recompute=settings.gradient_checkpointing,
        )
        self.rates = fixed_rate(settings.adaptation_lr)

    def begin(self, weights: Weights, tasks: Sequence[int], rng: np.random.Generator) -> "Adapting":
        """Start the inner loop of several tasks at the same weights."""
        return Adapting(self, weights, tasks, rng)

    def outputs(self, weights: Weights, steps: Steps) -> tuple[dict[str, Any], Tensor]:
        """What the policy with these weights says at the steps, and where it looks there."""
        outputs: dict[str, Any] = call(self.policy, "forward", weights, steps.observations, steps.context, True)
        return outputs, outputs["attention_weights"]

    def inner(self, weights: Weights, data: Sequence[Steps], step: int) -> Tensor:
        """The inner loss () of a step on the episodes that were played for it."""
        outputs, attention = self.outputs(weights, data[step])
        return self.inner_loss(outputs, data[step], attention)

    def outer(self, weights: Weights, record: TaskRecord) -> Tensor:
        """The outer loss () of adapted weights, on the episodes that they played."""
        assert record.query is not None
        outputs, attention = self.outputs(weights, record.query.steps)
        return self.loss(outputs, record.query.steps, attention)

    def objective(self, parameters: Weights, record: TaskRecord, mode: Mode) -> Tensor:
        """What the outer loop descends, () for one task, as ``rl_suite.meta_learning.engine.evaluate`` takes it."""
        if self.settings.order == "reptile":  # the gradient is the way back from the adapted weights
            ways = [(value - record.weights[name]).square().sum() for name, value in parameters.items()]
            return 0.5 * torch.stack(ways).sum()
        return self.outer(self.adapted(parameters, record), record)

    def adapted(self, parameters: Weights, record: TaskRecord) -> Weights:
        """The adapted weights of a task as a function of the meta-parameters."""
        if self.settings.order == "first":
            return {n: value + (record.weights[n] - value).detach() for n, value in parameters.items()}
        loop = replace(self.loop, steps=len(record.support))
        steps = [rollout.steps for rollout in record.support]
        if not self.anil:
            return adapt(self.inner, parameters, steps, loop, self.rates)[-1]
        return adapt(self.inner_of_heads(parameters, steps, {}), parameters, steps, loop, self.rates)[-1]

    def inner_of_heads(self, body: Weights, steps: Sequence[Steps], seen: dict[int, Seen]) -> Loss:
        """The inner loss as a function of the heads alone; the body sees each set of episodes once, into ``seen``."""
        for part in steps:
            if id(part) not in seen:
                task = call(self.policy, "embed", body, part.context)
                seen[id(part)] = call(self.policy, "read", body, part.observations, task)

        def of_heads(weights: Weights, data: Sequence[Steps], step: int) -> Tensor:
            part = seen[id(data[step])]
            heads = {name: weights[name] for name in self.loop.names or ()}
            return self.inner_loss(call(self.policy, "decide", heads, part), data[step], part.attention)

        return of_heads

    def moved(self, weights: Weights, steps: Steps, seen: dict[int, Seen]) -> dict[str, Tensor]:
        """Weights after one inner step, without a graph; ``seen`` keeps what the body saw, where only heads move."""
        loss: Loss = self.inner
        if self.anil:
            with torch.no_grad():
                loss = self.inner_of_heads(weights, [steps], seen)
        return adapt(loss, weights, [steps], self.loop, self.rates, differentiable=False)[-1]


class Adapting:
    """Several tasks on their way through the inner loop; nothing is differentiated with respect to where it began."""

    def __init__(self, how: Adaptation, weights: Weights, tasks: Sequence[int], rng: np.random.Generator):
        self.how, self.tasks, self.rng = how, list(tasks), rng
        start = {name: value.detach() for name, value in weights.items()}
        self.start = start
        self.records = [TaskRecord(task, weights=start) for task in tasks]
        self.contexts: Tensor | None = None  # (tasks, K, T, features)
        self._played: list[Rollout] | None = None  # support that no step was taken on yet

    def look(self) -> None:
        """Play support episodes with the weights as they are, unless that was done."""
        settings = self.how.settings
        if self._played is None:
            self._played = self._play(self.tasks, settings.support_episodes)
            if settings.context_trajectories:
                shown = [
                    make_context(rollout.trajectories, settings.context_trajectories, settings.context_steps)[0]
                    for rollout in self._played
                ]
                longest = max(part.shape[1] for part in shown)
                padded = [torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in shown]
                self.contexts = torch.stack(padded).to(self.how.policy.unknown_task.device)

    def step(self) -> None:
        """One inner step of every task; tasks whose gradients are not finite stay where they are."""
        self.look()
        assert self._played is not None
        for record, rollout in zip(self.records, self._played, strict=True):
            record.support.append(rollout)
            if record.finite:
                after = self.how.moved(record.weights, rollout.steps, record.seen)
                record.finite = all(bool(value.isfinite().all()) for value in after.values())
                record.weights = after if record.finite else record.weights
        if self.how.settings.resample_support:
            self._played = None

    def query(self, n_episodes: int, tasks: Sequence[int] | None = None) -> list[Rollout]:
        """Episodes of the policies as they are now, in their own tasks or, as a control, in others."""
        if self.contexts is None and self.how.settings.context_trajectories:
            self.look()
        return self._play(self.tasks if tasks is None else list(tasks), n_episodes)

    def _play(self, tasks: Sequence[int], n_episodes: int) -> list[Rollout]:
        """Where weights are finite and what they say is not, the task no longer counts, and the others play on."""
        seed = int(self.rng.integers(2**31))
        while True:
            player = Player(self.how.policy, self.how.view, [record.weights for record in self.records], self.contexts)
            try:
                return play(self.how.worlds, player, tasks, n_episodes, self.how.settings.gamma, seed)
            except LostPolicyError as error:
                lost = [self.records[place] for place in error.places]
                if any(record.weights is self.start for record in lost):
                    raise
                for record in lost:
                    record.finite, record.weights = False, self.start
