"""``ToolMetaLearner``: plans which tools to call for a task, and learns from how that went."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.arguments import require_kind, require_whole
from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.evaluation.statistics import Interval
from rl_suite.loading import BRIEF, require_known
from rl_suite.meta_learning.tools.calibration import Reliability, reliability_diagram
from rl_suite.meta_learning.tools.profiles import TaskProfile, ToolProfile, check_tools, require_amount
from rl_suite.meta_learning.tools.records import AMOUNTS, Amounts, Log, read_metrics
from rl_suite.meta_learning.tools.routes import Route, RouteGraph, build_routes, measured
from rl_suite.meta_learning.tools.success import EXPLORERS, Call, SuccessModel, beta_ends
from rl_suite.reading import read_json

FORMAT = "rl_suite tools 1"
RECENT = 20  # executions that the report calls recent
CONFIDENCE = 0.9  # of the credible intervals
Floats = NDArray[np.float64]


class ToolMetaLearner:
    """A contextual bandit over routes through tools.

    Planning picks the route of the highest expected worth less cost (``tools.routes``), with chances of success as the
    ``agent`` sees them: "linucb", "bayes_ucb", "thompson", "sliding_window_ucb" or "greedy". Learning updates the
    chances for the kind of task, and what tools cost, how long they take and how good their results are.

    Args:
        tools: id -> profile.
        agent: how it explores.
        success_value: worth of a success of full quality, in units of cost, for tasks that do not say theirs.
        latency_price: cost of one second.
        seed: of the exploration.

    Raises:
        UserError: no tools, prerequisites that go in a circle, an unknown agent, a price that is no amount.
    """

    def __init__(
        self,
        tools: Mapping[str, ToolProfile],
        agent: str = "linucb",
        success_value: float = 10.0,
        latency_price: float = 0.0,
        seed: int = 0,
    ):
        self.tools = check_tools(tools)
        require_known(agent, EXPLORERS, "agent")
        self.agent = agent
        self.success_value = require_amount(success_value, "success_value")
        self.latency_price = require_amount(latency_price, "latency_price")
        self.places = {tool.tool_id: i for i, tool in enumerate(self.tools)}
        self.model = SuccessModel(self.tools)
        self.explorer = EXPLORERS[agent](self.model)
        self.amounts = Amounts(self.tools)
        self.log = Log()
        self._rng = np.random.default_rng(require_whole("seed", seed, 0))
        self._graphs: dict[tuple[Any, ...], RouteGraph] = {}

    def optimize_task_execution(self, task: TaskProfile) -> dict[str, Any]:
        """The tools to call now, in this order.

        Returns:
            ``selected_tools``; ``expected_success``, and ``success_interval`` (``CONFIDENCE``); ``expected_cost``,
            ``expected_quality``, ``expected_utility``: worth less cost; ``worthwhile``: whether that is above 0;
            ``tools``: chance and interval of each tool that is called.

        Raises:
            UserError: a tool that the task requires is not there.
        """
        require_kind("task", task, TaskProfile)
        chances = self.explorer.chances(task, self._rng)
        worth = self.value_of(task) * self.amounts.quality
        route = self.routes(task).best(chances, self.prices(), worth)
        return self._described(task, route)

    def pareto_front(self, task: TaskProfile) -> list[dict[str, Any]]:
        """All plans that no other beats in expected cost and quality at once, the cheapest first."""
        front = self.routes(task).front(self.model.expected(task), self.prices(), self.amounts.quality)
        return [self._described(task, route.tools) for route in front]

    def predict_success(self, task: TaskProfile, tool_sequence: Sequence[str]) -> Interval:
        """Chance that all tools succeed on this task, with a credible interval of ``CONFIDENCE``.

        The interval of several tools is that of the Beta distribution with the mean and variance of their product.
        """
        require_kind("task", task, TaskProfile)
        route = self._route(tool_sequence)
        if len(route) == 1:
            return self.model.interval(task, CONFIDENCE)[route[0]]
        a, b = (each[list(route)] for each in self.model.posterior(task))
        mean = a / (a + b)
        second = float((mean * (a + 1) / (a + b + 1)).prod())  # of the product: moments of independent factors multiply
        estimate = float(mean.prod())
        mass = estimate * (1 - estimate) / max(second - estimate**2, 1e-12) - 1  # of a Beta with these moments
        low, high = beta_ends(np.array(estimate * mass), np.array((1 - estimate) * mass), CONFIDENCE)
        return Interval(estimate, float(low), float(high))

    def learn_from_execution(self, task: TaskProfile, execution_results: Mapping[str, Any]) -> dict[str, Any]:
        """Learn from one execution.

        Args:
            task: what was executed.
            execution_results: ``tool_sequence`` (ids in the order of the calls) and ``success``; where it is known,
                ``tool_results`` (id -> whether its call succeeded; left out: those that were never reached) and
                ``metrics`` with any of ``quality_score``, ``efficiency_score`` (0 to 1), ``latency``, ``cost``.

        Returns:
            ``predicted_success`` before it was learnt from, ``success``, ``tools``: chances of the called tools now.

        Raises:
            UserError: an unknown tool or key, or a metric that is no number in its range; nothing is learnt then.
        """
        require_kind("task", task, TaskProfile)
        known = ("tool_sequence", "success", "tool_results", "metrics")
        if not isinstance(execution_results, Mapping):
            raise UserError(f"execution_results must be a mapping, not {type(execution_results).__name__}")
        for name in execution_results:
            require_known(name, known, "entry of execution_results")
        route = self._route(execution_results.get("tool_sequence", ()))
        success = execution_results.get("success")
        if not isinstance(success, bool | np.bool_):
            raise UserError(f"execution_results['success'] must be True or False, not {BRIEF.repr(success)}")
        results = self._tool_results(execution_results.get("tool_results"), route, bool(success))
        metrics = read_metrics(execution_results.get("metrics"))
        predicted = self.predict_success(task, execution_results["tool_sequence"]).estimate
        if results is None:
            calls = [(tool, 1.0) for tool in route] if success else self.model.blame(task, route)
        else:
            calls = results
        self.amounts.learn([tool for tool, _ in calls], bool(success), metrics)
        self.model.learn(task, calls)
        self.explorer.learn(task, calls)
        self.log.add(predicted, bool(success), metrics)
        chances = self.model.expected(task)
        now = {self.tools[tool].tool_id: float(chances[tool]) for tool, _ in calls}
        return {"predicted_success": predicted, "success": bool(success), "tools": now}

    def get_meta_learning_report(self) -> dict[str, Any]:
        """What was learnt: success now and at first, how sure the predictions are and how often they came true."""
        a, b = self.model.belief()
        low, high = beta_ends(a, b, CONFIDENCE)
        early, recent = self.log.success_rate(first=RECENT), self.log.success_rate(last=RECENT)
        by_tool = zip(self.tools, self.model.counts.T, *(getattr(self.amounts, name) for name in AMOUNTS), strict=True)
        return {
            "learning_summary": {
                "executions": len(self.log),
                "recent_success_rate": recent,
                "first_success_rate": early,
                **self.log.means(last=RECENT),
            },
            "performance_improvement": None if early is None or recent is None else recent - early,
            "optimization_confidence": 1.0 - float((high - low).mean()),
            "calibration": self.calibration().as_json(),
            "tools": {
                tool.tool_id: {
                    "successes": float(good),
                    "failures": float(bad),
                    **dict(zip(AMOUNTS, rest, strict=True)),
                }
                for tool, (good, bad), *rest in by_tool
            },
        }

    def calibration(self) -> Reliability:
        """Predictions against outcomes; each was made before its execution was learnt from."""
        return reliability_diagram(self.log.predicted, self.log.succeeded)

    def save(self, path: Path | str) -> None:
        """Write what was learnt as JSON, whole or not at all."""
        content = {
            "format": FORMAT,
            "tools": [tool.tool_id for tool in self.tools],
            "agent": self.agent,
            "settings": {"success_value": self.success_value, "latency_price": self.latency_price},
            "model": self.model.state_dict(),
            "explorer": self.explorer.state_dict(),
            "amounts": self.amounts.state_dict(),
            "log": self.log.state_dict(),
            "random": self._rng.bit_generator.state["state"],
        }
        write_atomically(Path(path), (json.dumps(content, allow_nan=False) + "\n").encode())

    @classmethod
    def load(cls, path: Path | str, tools: Mapping[str, ToolProfile]) -> "ToolMetaLearner":
        """Continue from :meth:`save` with the same tools.

        Raises:
            UserError: the file is no saved learner, or one of other tools.
        """
        content = read_json(Path(path))
        if content.get("format") != FORMAT:
            raise UserError(f"{path}: not a saved tool learner ({FORMAT})")
        if content.get("tools") != list(tools):
            raise UserError(f"{path}: saved with the tools {content.get('tools')!r:.80}, not {list(tools)}")
        try:
            agent, settings = str(content["agent"]), content["settings"]
            learner = cls(tools, agent, settings["success_value"], settings["latency_price"])
            learner.model.load_state_dict(content["model"])
            learner.explorer.load_state_dict(content["explorer"], len(tools))
            learner.amounts.load_state_dict(content["amounts"])
            learner.log.load_state_dict(content["log"])
            numbers = {name: int(content["random"][name]) for name in ("state", "inc")}
            whole = learner._rng.bit_generator.state
            learner._rng.bit_generator.state = {**whole, "state": numbers}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"{path}: not a saved tool learner: {type(error).__name__} {str(error)[:80]}") from None
        return learner

    def value_of(self, task: TaskProfile) -> float:
        """Worth of a success of full quality."""
        return self.success_value if task.value is None else float(task.value)

    def prices(self) -> Floats:
        """Price of one call of each tool, as far as is known (K,)."""
        return self.amounts.cost + self.latency_price * self.amounts.latency

    def routes(self, task: TaskProfile) -> RouteGraph:
        """All ways to do a task."""
        require_kind("task", task, TaskProfile)
        key = tuple(task.required_tools)
        if key not in self._graphs:
            self._graphs[key] = build_routes(self.tools, key, f"task {task.task_id!r}")
        return self._graphs[key]

    def _described(self, task: TaskProfile, route: tuple[int, ...]) -> dict[str, Any]:
        found: Route = measured(route, self.model.expected(task), self.prices(), self.amounts.quality)
        names = [self.tools[i].tool_id for i in route]
        chances = self.model.interval(task, CONFIDENCE)
        utility = self.value_of(task) * found.quality - found.cost
        return {
            "task_id": task.task_id,
            "selected_tools": names,
            "expected_success": found.success,
            "success_interval": tuple(self.predict_success(task, names)[1:]),
            "expected_cost": found.cost,
            "expected_quality": found.quality,
            "expected_utility": utility,
            "worthwhile": utility > 0,
            "tools": {name: chances[i]._asdict() for name, i in zip(names, route, strict=True)},
        }

    def _route(self, tool_sequence: Any) -> tuple[int, ...]:
        if isinstance(tool_sequence, str) or not isinstance(tool_sequence, Sequence) or not tool_sequence:
            raise UserError(f"tool_sequence must be a list of at least one tool id, not {BRIEF.repr(tool_sequence)}")
        for name in tool_sequence:
            require_known(str(name), self.places, "tool")
        return tuple(self.places[str(name)] for name in tool_sequence)

    def _tool_results(self, given: Any, route: tuple[int, ...], success: bool) -> list[Call] | None:
        """The calls as they are told, in the order of the route; None where nobody told."""
        if given is None:
            return None
        if not isinstance(given, Mapping) or not all(isinstance(value, bool | np.bool_) for value in given.values()):
            raise UserError(f"tool_results must be a mapping of tool ids to True or False, not {BRIEF.repr(given)}")
        called = {self._route([name])[0]: float(value) for name, value in given.items()}
        if not called or not set(called) <= set(route):
            raise UserError(f"tool_results must tell of tools of the tool_sequence, not of {BRIEF.repr(list(given))}")
        if success != (len(called) == len(set(route)) and all(called.values())):
            raise UserError("success is True exactly where every tool of the sequence succeeded; tool_results differ")
        return [(tool, called[tool]) for tool in dict.fromkeys(route) if tool in called]
