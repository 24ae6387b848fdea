"""Agents that learn which of unknown, drifting tools succeed, and plan with what they have learnt.

They know how the tools of a job fit together (which stage each needs and gives), but not how often they succeed, what
they cost and how good they are; that they learn from a trial's previous action and reward. Planning is value iteration
over stages and types of jobs, with chances as each agent sees them: drawn, or optimistic.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from agents.protocol import AgentState, Observation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HORIZON = 30  # calls that are planned ahead
FORGET = 0.98  # of all counts per call; what is left is worth 50 calls
WINDOW = 60  # calls that the sliding window holds
WIDTH = 0.25  # of its bounds, whose logarithm is that of the window
OPTIMISM, RIDGE = 0.5, 1.0  # alpha and lambda of LinUCB
DRAWN = 0.25  # standard deviations of a draw: the regression takes the noise of a call for 1, which is at most 1/2
PRICE, QUALITY = 0.1, 0.8  # of a tool that was never called


class Workflow(NamedTuple):
    """How tools fit together."""

    needs: Ints
    """(K,) stage that a job must have reached before the tool can be called."""
    gives: Ints
    """(K,) stage after a success."""
    stages: int
    job_types: int


class ToolMemory(NamedTuple):
    """What is known of B sets of tools; the first axis of every array is the set."""

    last: Ints  # (B, 2) stage and type of the job at the last call
    calls: Ints  # (B, WINDOW, 3) tool, type of job, success of the last calls; tool -1: none yet
    products: Floats  # (B, K, F, F) of the features of calls, forgotten with time; F = 1 + J
    targets: Floats  # (B, K, F) of successes
    price: Floats  # (B, K)
    quality: Floats  # (B, K)
    seen: Ints  # (B, 2, K) calls behind price and quality


class ToolPlanner(ABC):
    """What the planners share: learning from a trial's observation, and planning.

    Args:
        workflow: how the tools fit together.
        seed: of all random choices.
    """

    def __init__(self, workflow: Workflow, seed: int = 0):
        self.workflow = workflow
        self._rng = np.random.default_rng(seed)
        at = np.arange(workflow.stages)[:, None]  # (S, 1)
        self._possible = (workflow.needs <= at) & (at < workflow.gives)  # (S, K)
        self._advance = np.maximum(workflow.gives - at, 0) / workflow.stages  # (S, K) share of a job

    @abstractmethod
    def chances(self, memory: ToolMemory) -> Floats:
        """Chance of success of every tool in every type of job to plan with, (B, K, J)."""

    def expected(self, memory: ToolMemory) -> Floats:
        """Estimated chances (B, K, J): a ridge regression on the type of job, around one half."""
        return np.clip(0.5 + self._regression(memory)[0], 0.02, 0.98)

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[Ints, AgentState]:
        """Learn from what a trial's observation tells about the last call, then call (see ``agents.protocol``)."""
        if not isinstance(observation, dict) or "previous_reward" not in observation:
            raise ValueError(
                f"{type(self).__name__} learns from a trial's observation: a dictionary with the last reward"
            )
        seen = observation["observation"].astype(np.int64)  # (B, 2)
        memory = self.start(len(seen)) if state is None else cast(ToolMemory, state)
        if episode_start is not None and episode_start.any():
            rows = np.flatnonzero(episode_start)
            for array, fresh in zip(memory, self.start(len(rows)), strict=True):
                array[rows] = fresh
        called = observation["previous_action"].astype(np.int64)
        told = observation["previous_done"][:, 0] == 0  # after an episode's end it is the next one's first job
        rows = np.flatnonzero((called < len(self.workflow.needs)) & told)
        self.learn(memory, rows, called[rows], observation["previous_reward"][rows, 0].astype(np.float64), seen[rows])
        memory.last[...] = seen
        values = self.plan(memory, self.expected(memory) if deterministic else self.chances(memory))
        return values.argmax(axis=1), memory

    def start(self, n: int) -> ToolMemory:
        """Nothing is known of ``n`` sets of tools."""
        k, f = len(self.workflow.needs), 1 + self.workflow.job_types
        window = np.full((n, WINDOW, 3), -1)
        amounts = np.full((n, k), PRICE), np.full((n, k), QUALITY), np.ones((n, 2, k), np.int64)
        return ToolMemory(np.zeros((n, 2), np.int64), window, np.zeros((n, k, f, f)), np.zeros((n, k, f)), *amounts)

    def learn(self, memory: ToolMemory, rows: Ints, tools: Ints, rewards: Floats, after: Ints) -> None:
        """Take in one call of each of ``rows``: what it earned, and stage and type of the job afterwards (n, 2)."""
        stage, job = memory.last[rows].T
        success = after[:, 0] != stage if self.workflow.stages > 1 else rewards > 0
        memory.products[...] *= FORGET
        memory.targets[...] *= FORGET
        x = self._features(job)  # (n, F)
        memory.products[rows, tools] += x[:, :, None] * x[:, None, :]
        memory.targets[rows, tools] += (success - 0.5)[:, None] * x
        memory.calls[rows] = np.roll(memory.calls[rows], -1, axis=1)
        memory.calls[rows, -1] = np.stack([tools, job, success], axis=1)
        failed, won = np.flatnonzero(~success), np.flatnonzero(success)
        self._average(memory.price, memory.seen[:, 0], rows[failed], tools[failed], -rewards[failed])
        share = self._advance[stage[won], tools[won]]
        quality = np.clip((rewards[won] + memory.price[rows[won], tools[won]]) / share, 0.0, 1.5)
        self._average(memory.quality, memory.seen[:, 1], rows[won], tools[won], quality)

    def plan(self, memory: ToolMemory, chance: Floats) -> Floats:
        """Value of calling each tool now, (B, K), ``HORIZON`` calls ahead; -inf for tools that cannot succeed."""
        gives = self.workflow.gives % self.workflow.stages  # the stage of the next job after the last one
        gain = memory.quality[:, None, :] * self._advance  # (B, S, K)
        likely = np.where(self._possible[:, :, None], chance[:, None], 0.0)  # (B, S, K, J)
        cost = memory.price[:, None, :, None]
        values = np.zeros((len(chance), self.workflow.stages, self.workflow.job_types))  # (B, S, J)
        done = (self.workflow.gives == self.workflow.stages)[:, None]
        for _ in range(HORIZON):
            then = np.where(done, values[:, :1].mean(axis=2, keepdims=True), values[:, gives])  # (B, K, J)
            stay = values[:, :, None]  # (B, S, 1, J)
            worth = stay - cost + likely * (gain[..., None] + then[:, None] - stay)  # (B, S, K, J)
            values = worth.max(axis=2)
        rows = np.arange(len(chance))
        stage, job = memory.last.T
        now: Floats = worth[rows, stage, :, job]
        return np.where(self._possible[stage], now, -np.inf)

    def _features(self, job: Ints) -> Floats:
        """A constant and the type of job, (n, F)."""
        return np.concatenate([np.ones((len(job), 1)), np.eye(self.workflow.job_types)[job]], axis=1)

    def _regression(self, memory: ToolMemory) -> tuple[Floats, Floats]:
        """Estimates and standard deviations of success - 1/2 for every type of job, (B, K, J) each."""
        x = self._features(np.arange(self.workflow.job_types))  # (J, F)
        inverse = np.linalg.inv(memory.products + RIDGE * np.eye(x.shape[1]))  # (B, K, F, F)
        estimate = np.einsum("jf,bkfg,bkg->bkj", x, inverse, memory.targets, optimize=True)
        return estimate, np.sqrt(np.einsum("jf,bkfg,jg->bkj", x, inverse, x, optimize=True))

    @staticmethod
    def _average(average: Floats, seen: Ints, rows: Ints, tools: Ints, values: Floats) -> None:
        seen[rows, tools] += 1
        average[rows, tools] += (values - average[rows, tools]) / seen[rows, tools]


class ToolLinUCB(ToolPlanner):
    """Estimates plus ``OPTIMISM`` standard deviations (Li et al. 2010, arXiv:1003.0146)."""

    def chances(self, memory: ToolMemory) -> Floats:
        """Upper bounds."""
        estimate, spread = self._regression(memory)
        return np.clip(0.5 + estimate + OPTIMISM * spread, 0.02, 1.0)


class ToolThompson(ToolPlanner):
    """One normal draw around the estimates, ``DRAWN`` of their standard deviations wide (Agrawal and Goyal 2013)."""

    def chances(self, memory: ToolMemory) -> Floats:
        """Draws."""
        estimate, spread = self._regression(memory)
        return np.clip(0.5 + estimate + DRAWN * spread * self._rng.standard_normal(spread.shape), 0.02, 1.0)


class ToolSlidingWindowUCB(ToolPlanner):
    """Means of the last ``WINDOW`` calls plus bounds (Garivier and Moulines 2011, arXiv:0805.3415)."""

    def chances(self, memory: ToolMemory) -> Floats:
        """Upper bounds; 1 where the window holds no call."""
        tool, job, success = memory.calls.transpose(2, 0, 1)  # (B, W) each
        place = np.where(tool >= 0, tool * self.workflow.job_types + job, -1)
        hit = place[:, :, None] == np.arange(len(self.workflow.needs) * self.workflow.job_types)  # (B, W, K * J)
        called, good = hit.sum(axis=1), (hit & (success == 1)[:, :, None]).sum(axis=1)
        total = np.maximum((tool >= 0).sum(axis=1, keepdims=True), 1)
        n = np.maximum(called, 1)
        bounds = np.where(called > 0, np.minimum(good / n + np.sqrt(WIDTH * np.log(total) / n), 1.0), 1.0)
        return bounds.reshape(len(bounds), -1, self.workflow.job_types)
