"""Tools that cost, take time, fail, need each other's products and change: which one to call next?"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import whole
from envs.drawing import AGENT, FLOOR, GOLD, INK, ROSE, Canvas
from envs.spaces import WholeNumbers
from envs.states import COUNT, FINITE, Bound
from envs.streams import Rows, Streams, integers, uniform_of_seeds
from envs.tasks import TaskSet, TaskWorld
from envs.tool_kernels import (
    HIGHEST_CHANCE,
    LOWEST_CHANCE,
    Floats,
    Ints,
    Settings,
    Tools,
    best_call,
    call_tools,
    plan_calls,
    value_calls,
)
from envs.world import Info, State, check_choices, discrete_actions

SPLIT = TaskSet(range(2**40)).split(validation=1 / 8, test=1 / 8)
CHANCES, SHORTCUT_CHANCES = (0.2, 0.95), (0.05, 0.5)  # of success, before they drift: uniform between these
PERIODS = 50.0, 200.0  # calls in which the chance of a tool swings once
COSTS, SHORTCUT_COSTS = (0.01, 0.08), (0.05, 0.25)  # of one call
QUALITIES = 0.6, 1.0
MOST_PLANNED = 2**20  # entries of one plan, which bounds what a plan costs


class ToolUse(TaskWorld):
    """Jobs that are done by calling tools, one after the other; the tools of a task are unknown and drift.

    ## Description
    A job passes ``stages`` stages. Every stage has ``alternatives`` tools that take a job from it to the next, and one
    more tool goes the whole way at once, dearer and less surely. A tool that is called before the job has reached the
    stage that it needs fails; otherwise it succeeds with a chance that depends on the tool and the type of the job and
    swings by ``drift`` around its mean as calls go by. After the last stage the next job begins. A task is one set of
    tools: their chances, periods, costs, latencies and qualities. To do well is to find short paths while they change.

    ## Action Space
    ``Discrete(stages * alternatives + 1)``: the tool to call. ``action_masks`` allow what can succeed.

    ## Observation Space
    ``MultiDiscrete([stages, job_types])``: the stage that the present job has reached, and its type. With
    ``show_tools``, ``Box(0, 1)``: both one-hot, and for every tool its present chance, its mean price and what a
    success would earn, all of the present job.

    ## Rewards
    Each call costs its tool's price: cost + ``latency_price`` times latency, which is uniform between half and one and
    a half of its mean. A success earns quality times the share of all stages by which the job advances.

    ## Starting State
    The task is uniform over the seeds of ``split``; the first job has a random type and has reached nothing.

    ## Episode End
    Truncated after 100 calls; it never terminates. In a trial the tools go on drifting from episode to episode.

    ## Information
    ``task``; ``jobs``: done in this episode; ``success``: whether the last call was one; ``price``: of the last call;
    ``oracle_tool``: the best one instead of the last call, for who knows all chances, now and later, and plans to the
    end of ``calls`` calls; ``regret`` and ``cumulative_regret``: expected loss of the last call against it, and the sum
    over the episode; ``optimal_return``: expected return of such an oracle in as many calls.

    ## Arguments
    ``stages``; ``alternatives``; ``job_types``; ``drift``: in chance, 0 for tools that stay as they are;
    ``latency_price``: of one unit of time; ``calls``: how far the oracle plans (exact where episodes are as long);
    ``show_tools``; ``split``: "all", "train", "validation", "test", or some of them joined by "+"; ``tasks``: draw from
    these task numbers only.

    ## References
    Bellman 1958, "On a routing problem"; Garivier and Moulines 2011, "On upper-confidence bound policies for switching
    bandit problems".

    ## Version History
    v0: first version.
    """

    state_arrays: ClassVar[tuple[str, ...]] = (
        "task",
        "clock",
        "planned",
        "stage",
        "job",
        "plan_stage",
        "plan_job",
        "optimum",
        "calls_of",
        "successes_of",
        "jobs",
        "success",
        "price",
        "oracle_tool",
        "regret",
        "cumulative_regret",
    )

    def __init__(
        self,
        num_envs: int = 1,
        stages: int = 3,
        alternatives: int = 2,
        job_types: int = 3,
        drift: float = 0.25,
        latency_price: float = 0.05,
        calls: int = 100,
        show_tools: bool = False,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        stages, alternatives = whole("stages", stages, 1), whole("alternatives", alternatives, 1)
        job_types, calls = whole("job_types", job_types, 1), whole("calls", calls, 1)
        for name, share in (("drift", drift), ("latency_price", latency_price)):
            if not isinstance(share, Real) or isinstance(share, bool):
                raise ValueError(f"{name} must be a number, not {share!r}")
        if not isinstance(show_tools, bool | np.bool_):
            raise ValueError(f"show_tools must be True or False, not {show_tools!r}")
        if calls * stages * job_types > MOST_PLANNED or stages * alternatives * job_types > MOST_PLANNED:
            raise ValueError(f"too much to plan: {stages=}, {alternatives=}, {job_types=}, {calls=}")
        if not 0.0 <= drift <= 0.5 or not 0.0 <= latency_price <= 0.5:
            raise ValueError(f"drift and latency_price must lie between 0 and 0.5, not {drift} and {latency_price}")
        super().__init__(num_envs, SPLIT, split, tasks)
        self.settings = Settings(stages, job_types, float(drift), float(latency_price))
        self.n_tools, self.calls, self.show_tools = stages * alternatives + 1, calls, show_tools
        self.action_space = spaces.Discrete(self.n_tools)
        seen = stages + job_types + 3 * self.n_tools
        self.observation_space = (
            spaces.Box(0.0, 1.0, (seen,), dtype=np.float32) if show_tools else WholeNumbers([stages, job_types])
        )
        self.tools = self._no_tools(stages, alternatives)
        self.values = np.zeros((num_envs, calls + 1, stages, job_types))  # (B, calls + 1, S, J) of the oracle's plan
        self.expected = np.zeros((num_envs, calls + 1))  # (B, calls + 1) of the plan: earned after so many calls
        n, k = num_envs, self.n_tools
        self.clock, self.planned = np.zeros((2, n), np.int64)  # (B,) calls of the trial, and of the plan
        self.stage, self.job = np.zeros((2, n), np.int64)  # (B,)
        self.plan_stage, self.plan_job = np.zeros((2, n), np.int64)  # (B,) where the plan began
        self.optimum = np.zeros(n)  # (B,) what the oracle earned in the episode before the plan began
        self.calls_of, self.successes_of = np.zeros((2, n, k), np.int64)  # (B, K)
        self.jobs = np.zeros(n, np.int64)  # (B,) done in this episode
        self.success, self.price = np.zeros(n, np.bool_), np.zeros(n)  # (B,) of the last call
        self.oracle_tool, self.regret = np.zeros(n, np.int64), np.zeros(n)  # (B,) of the last call
        self.cumulative_regret = np.zeros(n)  # (B,) of this episode

    def _no_tools(self, stages: int, alternatives: int) -> Tools:
        needs = np.append(np.repeat(np.arange(stages), alternatives), 0)
        gives = np.append(needs[:-1] + 1, stages)
        b, k = self.num_envs, self.n_tools
        return Tools(needs, gives, np.zeros((b, k, self.settings.job_types)), *np.zeros((5, b, k)))

    def read_tasks(self, rows: Rows) -> None:
        """Draw the tools of the tasks' numbers, and set the clock to 0."""
        k, j = self.n_tools, self.settings.job_types
        drawn = uniform_of_seeds(self.task[rows], k * (j + 5)).reshape(len(rows), j + 5, k)
        tools = self.tools
        tools.chance[rows] = between(CHANCES, drawn[:, :j]).transpose(0, 2, 1)
        tools.chance[rows, -1] = between(SHORTCUT_CHANCES, drawn[:, :j, -1])
        tools.period[rows], tools.phase[rows] = between(PERIODS, drawn[:, j]), drawn[:, j + 1]
        tools.cost[rows] = between(COSTS, drawn[:, j + 2])
        tools.cost[rows, -1] = between(SHORTCUT_COSTS, drawn[:, j + 2, -1])
        tools.latency[rows], tools.quality[rows] = drawn[:, j + 3], between(QUALITIES, drawn[:, j + 4])

    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Other tools, whose drift begins anew."""
        super().sample_tasks(rows, streams, options)
        self.clock[rows] = 0

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """The first job of an episode, and the oracle's plan for it."""
        self.stage[rows], self.job[rows] = 0, integers(streams, rows, self.settings.job_types)
        self.calls_of[rows] = self.successes_of[rows] = self.jobs[rows] = self.oracle_tool[rows] = 0
        self.optimum[rows] = self.regret[rows] = self.cumulative_regret[rows] = self.price[rows] = 0.0
        self.success[rows] = False
        self._plan(rows)

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[Floats, NDArray[np.bool_]]:
        """Call one tool of every copy."""
        actions = discrete_actions(actions)
        wrong = np.flatnonzero((actions < 0) | (actions >= self.n_tools))
        check_choices(actions, int(wrong[0]) if len(wrong) else -1, self.n_tools)
        values = self.call_values()  # (B, K)
        self.oracle_tool = values.argmax(axis=1)
        self.regret = values[self.all_rows, self.oracle_tool] - values[self.all_rows, actions]
        self.cumulative_regret += self.regret
        gain = self.gains(self.all_rows)[self.all_rows, actions]
        world = self.tools, self.settings, self.clock, self.stage, self.job
        call_tools(actions, streams, *world, self.success, self.price)
        self.jobs += (self.stage == 0) & self.success
        self.calls_of[self.all_rows, actions] += 1
        self.successes_of[self.all_rows, actions] += self.success
        self.clock += 1
        self.planned += 1
        rewards: Floats = gain * self.success - self.price
        return rewards, np.zeros(self.num_envs, dtype=np.bool_)

    def call_values(self) -> Floats:
        """Expected return of every copy to the end of the oracle's plan, (B, K), if each tool is called now."""
        ended = np.flatnonzero(self.planned == self.calls)
        if len(ended):
            self.optimum[ended] += self.expected[ended, self.calls]
            self._plan(ended)
        values = np.empty((self.num_envs, self.n_tools))
        value_calls(self.tools, self.settings, self.values, self.clock, self.planned, self.stage, self.job, values)
        return values

    def observe(self, rows: Rows) -> NDArray[Any]:
        """Stage and type of the present jobs, (n, 2); or all that a planner needs, (n, S + J + 3 K)."""
        stage, job = self.stage[rows], self.job[rows]
        if not self.show_tools:
            return np.stack([stage, job], axis=1)
        where = np.eye(self.settings.stages)[stage], np.eye(self.settings.job_types)[job]
        return np.concatenate(
            [*where, self.chances(rows), self.prices(rows), self.gains(rows)], axis=1, dtype=np.float32
        )

    def chances(self, rows: Rows) -> Floats:
        """Chance of each tool to succeed now, (n, K); 0 where the job is not at a stage that it can take further."""
        swing = np.sin(2 * math.pi * (self.clock[rows, None] / self.tools.period[rows] + self.tools.phase[rows]))
        chance = self.tools.chance[rows, :, self.job[rows]] + self.settings.drift * swing
        possible = self._allowed(self.stage[rows, None])
        return np.where(possible, np.clip(chance, LOWEST_CHANCE, HIGHEST_CHANCE), 0.0)

    def gains(self, rows: Rows) -> Floats:
        """What a success of each tool would earn now, (n, K)."""
        advance = np.maximum(self.tools.gives - self.stage[rows, None], 0)
        earned: Floats = self.tools.quality[rows] * advance / self.settings.stages
        return earned

    def prices(self, rows: Rows) -> Floats:
        """Mean price of one call of every tool, (n, K)."""
        return self.tools.cost[rows] + self.settings.latency_price * self.tools.latency[rows]

    def action_masks(self) -> NDArray[np.bool_]:
        """Tools that can succeed now, (B, K)."""
        return self._allowed(self.stage[:, None])

    def info(self, rows: Rows) -> Info:
        """Task, what the last call did, regret, and what the oracle would have earned."""
        return {
            "task": self.task[rows].copy(),
            "jobs": self.jobs[rows].copy(),
            "success": self.success[rows].copy(),
            "price": self.price[rows].copy(),
            "oracle_tool": self.oracle_tool[rows].copy(),
            "regret": self.regret[rows].copy(),
            "cumulative_regret": self.cumulative_regret[rows].copy(),
            "optimal_return": self.optimum[rows] + self.expected[rows, self.planned[rows]],
        }

    def state_bounds(self) -> Mapping[str, Bound]:
        """Stages, types and tools that are there, and counts."""
        reached, types = (0, self.settings.stages - 1), (0, self.settings.job_types - 1)
        counts = dict.fromkeys(("clock", "calls_of", "successes_of", "jobs"), COUNT)
        sums = dict.fromkeys(("optimum", "price", "regret", "cumulative_regret"), FINITE)
        places = {"stage": reached, "plan_stage": reached, "job": types, "plan_job": types}
        rest = {"task": (0, 2**40), "planned": (0, self.calls), "oracle_tool": (0, self.n_tools - 1), "success": (0, 1)}
        return {**rest, **places, **counts, **sums}

    def set_state(self, state: State) -> None:
        """Continue from what ``get_state`` returned; the tools and the plan follow from it."""
        super().set_state(state)
        self.read_tasks(self.all_rows)
        clock, rows = self.clock - self.planned, self.all_rows
        plan_calls(rows, self.tools, self.settings, clock, self.plan_stage, self.plan_job, self.values, self.expected)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Draw the tools of one copy: their chances now, their prices, how often they were called and succeeded."""
        return self._text(row) if mode == "ansi" else self._picture(row)

    def _plan(self, rows: Rows) -> None:
        self.planned[rows] = 0
        self.plan_stage[rows], self.plan_job[rows] = self.stage[rows], self.job[rows]
        settings, start = self.settings, (self.clock, self.stage, self.job)
        plan_calls(rows, self.tools, settings, *start, self.values, self.expected)

    def _allowed(self, stage: Ints) -> NDArray[np.bool_]:
        allowed: NDArray[np.bool_] = (self.tools.needs <= stage) & (stage < self.tools.gives)
        return allowed

    def _text(self, row: int) -> str:
        (chance,) = self.chances(np.array([row]))
        lines = ["tool  stages  chance  price  calls  successes"]
        prices = self.prices(np.array([row]))[0]
        for k in range(self.n_tools):
            path = f"{self.tools.needs[k]}>{self.tools.gives[k]}"
            counts = f"{self.calls_of[row, k]:5d}  {self.successes_of[row, k]:9d}"
            lines.append(f"{k:4d}  {path:>6s}  {chance[k]:6.2f}  {prices[k]:5.2f}  {counts}")
        now = f"job of type {self.job[row]} at stage {self.stage[row]}, {self.jobs[row]} jobs done"
        return "\n".join([*lines, f"{now}, regret {self.cumulative_regret[row]:.2f}", ""])

    def _picture(self, row: int) -> NDArray[np.uint8]:
        """One column per tool: height = chance now, below it its price; the present stage above, left to right."""
        height, pitch, top = 140, 36, 24
        canvas = Canvas(top + height + 24, pitch * self.n_tools + 8)
        width = pitch * self.n_tools / self.settings.stages
        for stage in range(self.settings.stages):
            colour = AGENT if stage < self.stage[row] else INK if stage == self.stage[row] else FLOOR
            canvas.box(6, 4 + width * stage + 2, 16, 4 + width * (stage + 1) - 2, colour, radius=4)
        (chance,) = self.chances(np.array([row]))
        prices, future = self.prices(np.array([row]))[0], self.values[row, min(self.planned[row] + 1, self.calls)]
        best = best_call(self.tools, self.settings, future, row, self.stage[row], self.job[row], self.clock[row])
        for k in range(self.n_tools):
            left, right, floor = 4 + pitch * k + 3, 4 + pitch * (k + 1) - 3, top + height
            canvas.box(top, left, floor, right, FLOOR, radius=5)
            if chance[k] > 0:
                colour = GOLD if k == best else AGENT
                canvas.box(floor - height * chance[k], left + 3, floor, right - 3, colour, 0.85, radius=4)
            canvas.box(floor + 4, left, floor + 4 + 16 * min(1.0, prices[k] / SHORTCUT_COSTS[1]), right, ROSE, 0.8)
        return canvas.image()


def between(ends: tuple[float, float], shares: Floats) -> Floats:
    """Numbers in [0, 1) stretched to the range between ``ends``."""
    return ends[0] + (ends[1] - ends[0]) * shares
