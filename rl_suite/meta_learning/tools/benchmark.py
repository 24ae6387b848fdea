"""Tool choice against random, greedy, sliding-window UCB and an oracle that knows all: regret, success, cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.arguments import require_list, require_whole
from rl_suite.errors import UserError
from rl_suite.evaluation.statistics import Interval
from rl_suite.meta_learning.metrics import TaskScores, compare, mean_interval
from rl_suite.meta_learning.tools.calibration import Reliability, reliability_diagram
from rl_suite.meta_learning.tools.learner import ToolMetaLearner
from rl_suite.meta_learning.tools.profiles import TaskProfile, ToolProfile, check_tools
from rl_suite.meta_learning.tools.routes import measured
from rl_suite.meta_learning.tools.success import kind_of
from rl_suite.progress import ProgressBar

AGENTS = ("bayes_ucb", "thompson", "linucb", "sliding_window_ucb", "greedy", "random", "oracle")
SPREAD = 3.0  # as many calls as a profile is worth: true chances are Beta around its reliability
DRIFT, PERIODS = 0.2, (100.0, 400.0)  # amplitude of the true chances, and executions of one swing
LOWEST, HIGHEST = 0.02, 0.98  # of true chances
QUALITIES = 0.6, 1.0  # of results: uniform between these
NOISE = 0.1  # standard deviation of an observed quality
Floats = NDArray[np.float64]


class Workshop:
    """Tools as they really are: chances that depend on the kind of task and drift, and qualities; all from one seed.

    Args:
        tools: their reliabilities are the means of the true chances.
        tasks: what comes, each with equal probability.
        seed: of the truth, the order of the tasks and the luck of every call.
    """

    def __init__(self, tools: Sequence[ToolProfile], tasks: Sequence[TaskProfile], seed: int):
        self.tools, self.tasks, self.seed = tools, tasks, seed
        rng = np.random.default_rng([seed, 0])
        self.kinds = list(dict.fromkeys(map(kind_of, tasks)))
        mean = np.array([tool.reliability for tool in tools])  # (K,)
        self.base = rng.beta(SPREAD * mean, SPREAD * (1 - mean), (len(self.kinds), len(tools)))  # (kinds, K)
        self.period, self.phase = rng.uniform(*PERIODS, len(tools)), rng.random(len(tools))
        self.quality = rng.uniform(*QUALITIES, len(tools))
        self.cost = np.array([tool.cost_per_use for tool in tools])

    def chances(self, task: TaskProfile, step: int) -> Floats:
        """True chance of each tool at an execution (K,)."""
        swing = DRIFT * np.sin(2 * np.pi * (step / self.period + self.phase))
        chances: Floats = np.clip(self.base[self.kinds.index(kind_of(task))] + swing, LOWEST, HIGHEST)
        return chances

    def execute(self, route: Sequence[int], chances: Floats, luck: Floats) -> dict[str, Any]:
        """Call the tools of a route until one fails; ``luck`` (K + 1,) decides, the same for every agent."""
        results, spent = {}, 0.0
        for tool in route:
            results[self.tools[tool].tool_id] = bool(luck[tool] < chances[tool])
            spent += self.tools[tool].cost_per_use
            if not results[self.tools[tool].tool_id]:
                break
        success = len(results) == len(route) and all(results.values())
        quality = float(np.clip(self.quality[route[-1]] + NOISE * luck[-1], 0.0, 1.0)) if success else 0.0
        return {
            "tool_sequence": [self.tools[tool].tool_id for tool in route],
            "success": success,
            "tool_results": results,
            "metrics": {"quality_score": quality, "cost": spent},
        }


@dataclass(frozen=True)
class ToolComparison:
    """All agents on the same seeds, tasks and luck."""

    regret: Mapping[str, Floats]
    """Agent -> expected worth less cost that each execution missed against the oracle (seeds, executions)."""
    success: Mapping[str, Floats]
    """Agent -> 1 where the execution succeeded (seeds, executions)."""
    cost: Mapping[str, Floats]
    """Agent -> what it cost (seeds, executions)."""
    calibration: Mapping[str, Reliability]
    """Learning agent -> its predictions, each made before the outcome was known."""
    coverage: Mapping[str, float]
    """Learning agent -> share of executions in which its ``CONFIDENCE`` interval of the first tool's chance held the
    true one."""

    def total_regret(self, agent: str) -> Interval:
        """Sum over the executions, mean and 95 % interval over seeds."""
        return mean_interval(self.regret[agent].sum(axis=1))

    def against(self, agent: str, other: str) -> Interval:
        """Regret of ``agent`` less that of ``other``, paired by seed: below 0, ``agent`` is better."""
        mine, theirs = (TaskScores.of(self.regret[name].sum(axis=1)) for name in (agent, other))
        return compare(mine, theirs).difference

    def as_json(self) -> dict[str, Any]:
        """Plain values per agent."""
        rows = {}
        for name, regret in self.regret.items():
            rows[name] = {
                "seeds": len(regret),
                "regret": self.total_regret(name)._asdict(),
                "success_rate": mean_interval(self.success[name].mean(axis=1))._asdict(),
                "cost_per_execution": mean_interval(self.cost[name].mean(axis=1))._asdict(),
                "regret_curve": np.cumsum(regret.mean(axis=0)).tolist(),
            }
            if name in self.calibration:
                rows[name]["calibration"] = self.calibration[name].as_json()
                rows[name]["interval_coverage"] = self.coverage[name]
        return rows


def create_tool_optimization_benchmark(
    tools: Mapping[str, ToolProfile],
    tasks: Sequence[TaskProfile],
    num_executions: int = 100,
    seeds: int = 20,
    agents: Sequence[str] = AGENTS,
) -> ToolComparison:
    """Let every agent execute the same tasks with the same luck, and compare.

    True chances are drawn around the profiles' reliabilities for each seed and kind of task, and drift; the agents know
    the profiles alone. "random" draws routes, "oracle" plans with the true chances and qualities.

    Args:
        tools: id -> profile.
        tasks: drawn with equal probability.
        num_executions: of each agent and seed.
        seeds: 0, 1, ...
        agents: of ``AGENTS``.

    Raises:
        UserError: no tools, no tasks, an unknown agent, or numbers below 1 (2 for seeds: one has no interval).
    """
    listed = check_tools(tools)
    require_list("tasks", tasks, TaskProfile)
    require_whole("num_executions", num_executions, 1)
    require_whole("seeds", seeds, 2)
    require_list("agents", agents, str)
    if unknown := [name for name in agents if name not in AGENTS]:
        raise UserError(f"unknown agents {unknown}; known: {', '.join(AGENTS)}")
    shape = (seeds, num_executions)
    regret, success, cost = ({name: np.zeros(shape) for name in agents} for _ in range(3))
    seen: dict[str, list[tuple[float, bool, bool]]] = {name: [] for name in agents}
    with ProgressBar("executions", seeds * len(agents)) as progress:
        for seed in range(seeds):
            workshop = Workshop(listed, tasks, seed)
            for place, name in enumerate(agents):
                rows = _play(workshop, tools, name, num_executions)
                for step, (missed, succeeded, spent, predicted, held) in enumerate(rows):
                    regret[name][seed, step], success[name][seed, step] = missed, succeeded
                    cost[name][seed, step] = spent
                    seen[name].append((predicted, succeeded, held))
                progress.update(seed * len(agents) + place + 1)
    learning = [name for name in agents if name not in ("random", "oracle")]
    columns = {name: [np.array(column) for column in zip(*seen[name], strict=True)] for name in learning}
    diagrams = {name: reliability_diagram(predicted, happened) for name, (predicted, happened, _) in columns.items()}
    coverage = {name: float(held.mean()) for name, (_, _, held) in columns.items()}
    return ToolComparison(regret, success, cost, diagrams, coverage)


def _play(
    workshop: Workshop, tools: Mapping[str, ToolProfile], name: str, executions: int
) -> list[tuple[float, bool, float, float, bool]]:
    """Regret, success, cost, predicted chance and whether the interval held the truth, of every execution."""
    learns = name not in ("random", "oracle")
    learner = ToolMetaLearner(tools, name if learns else "greedy", seed=workshop.seed)
    rng, own = np.random.default_rng([workshop.seed, 1]), np.random.default_rng([workshop.seed, 2])
    rows = []
    for step in range(executions):
        task = workshop.tasks[int(rng.integers(len(workshop.tasks)))]
        luck = np.append(rng.random(len(workshop.tools)), rng.standard_normal())
        chances, graph = workshop.chances(task, step), learner.routes(task)
        worth = learner.value_of(task) * workshop.quality
        best = graph.best(chances, workshop.cost, worth)
        predicted, held = 0.0, False
        if name == "oracle":
            route = best
        elif name == "random":
            route = graph.random(own)
        else:
            plan = learner.optimize_task_execution(task)
            route = tuple(learner.places[tool] for tool in plan["selected_tools"])
            predicted = plan["expected_success"]
            first = plan["tools"][plan["selected_tools"][0]]
            held = first["low"] <= chances[route[0]] <= first["high"]
        values = []
        for chosen in (best, route):
            found = measured(chosen, chances, workshop.cost, workshop.quality)
            values.append(learner.value_of(task) * found.quality - found.cost)
        results = workshop.execute(route, chances, luck)
        if learns:
            learner.learn_from_execution(task, results)
        rows.append((values[0] - values[1], results["success"], results["metrics"]["cost"], predicted, held))
    return rows
