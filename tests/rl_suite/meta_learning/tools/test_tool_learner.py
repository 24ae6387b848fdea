"""Tool choice: the documents' code, routes against brute force, learning, calibration, saving, and bad input."""

import contextlib
import itertools
import json

import numpy as np
import pytest

from rl_suite.errors import UserError
from rl_suite.meta_learning import TaskComplexity, TaskProfile, ToolMetaLearner, ToolProfile, ToolType
from rl_suite.meta_learning.tools import success
from rl_suite.meta_learning.tools.calibration import reliability_diagram
from rl_suite.meta_learning.tools.profiles import check_tools
from rl_suite.meta_learning.tools.routes import build_routes, measured
from rl_suite.meta_learning.tools.success import EXPLORERS

SEARCH, ANALYSIS, WRITING = ToolType.SEARCH, ToolType.ANALYSIS, ToolType.CONTENT_GENERATION
TASK = TaskProfile("t", "research")


def chain(**first):
    """Two tools that search, two that analyse what was found, one that writes about the analysis, one that does all."""
    profiles = [
        ToolProfile("web", SEARCH, **{"cost_per_use": 0.5, "reliability": 0.7, **first}),
        ToolProfile("library", SEARCH, cost_per_use=1.5, reliability=0.9),
        ToolProfile("statistics", ANALYSIS, cost_per_use=1.0, reliability=0.8, prerequisites=[SEARCH]),
        ToolProfile("model", ANALYSIS, cost_per_use=2.0, reliability=0.95, prerequisites=["library"]),
        ToolProfile("writer", WRITING, cost_per_use=1.0, reliability=0.9, prerequisites=[ANALYSIS]),
        ToolProfile("all", ToolType.OTHER, cost_per_use=3.0, reliability=0.5),
    ]
    return {profile.tool_id: profile for profile in profiles}


def test_tool_usage_as_documented():
    from rl_suite.meta_learning import TaskProfile, ToolMetaLearner, ToolProfile

    tools = {
        "search_tool": ToolProfile(tool_id="search_tool", tool_type=ToolType.SEARCH, cost_per_use=1.0, reliability=0.9),
        "analysis_tool": ToolProfile(
            tool_id="analysis_tool", tool_type=ToolType.ANALYSIS, cost_per_use=2.0, reliability=0.85
        ),
    }
    task = TaskProfile(task_id="research_task", task_type="research", complexity=TaskComplexity.MODERATE)
    meta_learner = ToolMetaLearner(tools)
    plan = meta_learner.optimize_task_execution(task)
    execution_results = {
        "tool_sequence": plan["selected_tools"],
        "success": True,
        "metrics": {"quality_score": 0.9, "efficiency_score": 0.8, "latency": 1.5, "cost": 1.0},
    }
    learning_result = meta_learner.learn_from_execution(task, execution_results)

    assert plan["selected_tools"] == ["search_tool"], "cheaper and more reliable"
    assert plan["expected_utility"] == pytest.approx(10 * 0.9 - 1.0)
    assert learning_result["predicted_success"] == pytest.approx(0.9)
    assert learning_result["tools"]["search_tool"] > 0.9
    report = meta_learner.get_meta_learning_report()
    assert report["learning_summary"]["recent_success_rate"] == 1.0
    assert report["performance_improvement"] == 0.0
    assert 0 < report["optimization_confidence"] < 1


def all_routes(tools):
    """Every order of every set of tools in which prerequisites come first and "writer" or "all" is last."""
    ids = list(tools)
    for n in range(1, len(ids) + 1):
        for order in itertools.permutations(range(len(ids)), n):
            ready = all(
                all(
                    any(ids[k] == need or tools[ids[k]].tool_type is need for k in order[:i])
                    for need in tools[ids[j]].prerequisites
                )
                for i, j in enumerate(order)
            )
            if ready and ids[order[-1]] in ("writer", "all"):
                yield order


@pytest.mark.parametrize("seed", range(5))
def test_the_best_route_and_the_front_are_those_of_brute_force(seed):
    tools, rng = chain(), np.random.default_rng(seed)
    chance, cost, quality = rng.uniform(0.2, 0.95, 6), rng.uniform(0.1, 2.0, 6), rng.uniform(0.5, 1.0, 6)
    graph = build_routes(check_tools(tools), (), "task")
    every = [measured(order, chance, cost, quality) for order in all_routes(tools)]
    best = max(every, key=lambda route: 10 * route.quality - route.cost)
    assert graph.best(chance, cost, 10 * quality) == best.tools
    undominated = [a for a in every if not any(
        b.cost <= a.cost and b.quality >= a.quality and (b.cost, b.quality) != (a.cost, a.quality) for b in every
    )]  # fmt: skip
    front = graph.front(chance, cost, quality)
    assert sorted(route.tools for route in front) == sorted(route.tools for route in undominated)
    assert [route.cost for route in front] == sorted(route.cost for route in front)


def test_prerequisites_come_first_and_required_tools_are_there():
    learner = ToolMetaLearner(chain())
    plan = learner.optimize_task_execution(TaskProfile("t", "research", required_tools=["model", WRITING]))
    names = plan["selected_tools"]
    assert names.index("library") < names.index("model")
    assert names[-1] == "writer" or names[-1] == "model"
    assert plan["expected_cost"] < sum(chain()[name].cost_per_use for name in names), "a failure cuts it short"
    front = learner.pareto_front(TASK)
    assert ["web", "statistics", "writer"] in [each["selected_tools"] for each in front]


@pytest.mark.parametrize("agent", EXPLORERS)
def test_endless_kinds_of_tasks_do_not_fill_the_memory(agent, monkeypatch):
    monkeypatch.setattr(success, "MOST_FEATURES", 4)
    learner = ToolMetaLearner(chain(), agent)
    for number in range(8):
        task = TaskProfile("t", f"type {number}")
        route = learner.optimize_task_execution(task)["selected_tools"]
        learner.learn_from_execution(task, {"tool_sequence": route, "success": number % 2 == 0})
    assert learner.model.mean.shape == (6, 4)


def simulate(learner, chances, n, seed=0, told=True):
    """Execute what is planned; share of executions that called the best tool, in the last third."""
    rng, chosen = np.random.default_rng(seed), []
    for _ in range(n):
        (name,) = learner.optimize_task_execution(TASK)["selected_tools"]
        success = bool(rng.random() < chances[name])
        learner.learn_from_execution(TASK, {"tool_sequence": [name], "success": success})
        chosen.append(name)
    return np.mean([name == max(chances, key=chances.get) for name in chosen[-n // 3 :]])


@pytest.mark.parametrize("agent", [name for name in EXPLORERS if name != "greedy"])
def test_agents_find_the_best_tool_and_follow_when_it_changes(agent):
    tools = {name: ToolProfile(name, SEARCH, cost_per_use=0.1, reliability=0.5) for name in "abc"}
    learner = ToolMetaLearner(tools, agent, seed=1)
    assert simulate(learner, {"a": 0.2, "b": 0.5, "c": 0.9}, 150) > 0.7
    assert simulate(learner, {"a": 0.95, "b": 0.3, "c": 0.1}, 400) > 0.7


def test_a_failure_is_blamed_on_the_weak_tool():
    learner = ToolMetaLearner(chain(reliability=0.3))
    for _ in range(10):
        learner.learn_from_execution(TASK, {"tool_sequence": ["web", "statistics"], "success": False})
    chance = learner.model.expected(TASK)
    assert 0.3 - chance[0] > 0
    told = ToolMetaLearner(chain(reliability=0.3))
    for _ in range(10):
        results = {"web": True, "statistics": False}
        told.learn_from_execution(
            TASK, {"tool_sequence": ["web", "statistics"], "success": False, "tool_results": results}
        )
    assert told.model.expected(TASK)[0] > 0.6
    assert told.model.expected(TASK)[2] < chance[2] < 0.8
    calls = dict(ToolMetaLearner(chain()).model.blame(TASK, [0, 2]))
    assert calls[0] == pytest.approx((0.7 - 0.56) / 0.44)


def test_costs_times_and_qualities_are_learnt():
    learner = ToolMetaLearner(chain(), latency_price=0.1)
    for _ in range(60):
        metrics = {"cost": 6.0, "latency": 4.0, "quality_score": 0.5}
        learner.learn_from_execution(TASK, {"tool_sequence": ["all"], "success": True, "metrics": metrics})
    assert learner.amounts.cost[5] == pytest.approx(6.0, abs=0.1)
    assert learner.amounts.quality[5] == pytest.approx(0.5, abs=0.02)
    assert learner.prices()[5] == pytest.approx(6.4, abs=0.1)
    two = {"tool_sequence": ["web", "statistics"], "success": True, "metrics": {"cost": 3.0}}
    learner.learn_from_execution(TASK, two)
    assert learner.amounts.cost[0] / learner.amounts.cost[2] == pytest.approx(0.5), "in proportion to what was expected"


def test_predictions_come_true_as_often_as_they_say():
    """Held out: every prediction is made before its outcome. Chances are drawn as the model believes, none drifts."""
    rng, hits, n = np.random.default_rng(0), 0, 0
    predicted, happened = [], []
    for _ in range(25):
        tools = {name: ToolProfile(name, SEARCH, reliability=0.6) for name in "abcd"}
        learner = ToolMetaLearner(tools)
        chances = np.clip(rng.normal(0.6, np.sqrt(0.06), 4), 0.02, 0.98)
        for _ in range(60):
            tool = int(rng.integers(4))
            name = "abcd"[tool]
            interval = learner.predict_success(TASK, [name])
            hits, n = hits + (interval.low <= chances[tool] <= interval.high), n + 1
            outcome = learner.learn_from_execution(
                TASK, {"tool_sequence": [name], "success": bool(rng.random() < chances[tool])}
            )
            predicted.append(outcome["predicted_success"])
            happened.append(outcome["success"])
    assert reliability_diagram(predicted, happened).expected_calibration_error <= 0.05
    assert 0.85 < hits / n < 0.98
    pair = learner.predict_success(TASK, ["a", "b"])
    assert pair.low < pair.estimate < pair.high
    chance = learner.model.expected(TASK)
    assert pair.estimate == pytest.approx(chance[0] * chance[1])


@pytest.mark.parametrize("agent", EXPLORERS)
def test_a_saved_learner_goes_on_alike(agent, tmp_path):
    tools = {name: ToolProfile(name, SEARCH, cost_per_use=0.1, reliability=0.5) for name in "abc"}
    learner = ToolMetaLearner(tools, agent, success_value=5.0, seed=3)
    simulate(learner, {"a": 0.2, "b": 0.5, "c": 0.9}, 20)
    learner.save(tmp_path / "tools.json")
    again = ToolMetaLearner.load(tmp_path / "tools.json", tools)
    plans = [[each.optimize_task_execution(TASK) for _ in range(5)] for each in (learner, again)]
    assert plans[0] == plans[1]
    assert again.get_meta_learning_report() == learner.get_meta_learning_report()
    with pytest.raises(UserError, match="saved with the tools"):
        ToolMetaLearner.load(tmp_path / "tools.json", chain())


def spoilt(content):
    """Saved learners that a stranger could have written, each wrong in one place."""
    for key in content:
        yield {name: value for name, value in content.items() if name != key}
        for value in (None, [], {}, "x", -1, [[1e308]]):
            yield {**content, key: value}
    for key, value in content["model"].items():
        yield {**content, "model": {**content["model"], key: [value]}}
    covariance = np.array(content["model"]["covariance"])
    yield {**content, "model": {**content["model"], "covariance": (-covariance - 1).tolist()}}
    yield {**content, "log": {**content["log"], "predicted": [7.0] * len(content["log"]["predicted"])}}


def test_a_spoilt_file_is_one_line(tmp_path):
    tools, path = chain(), tmp_path / "tools.json"
    learner = ToolMetaLearner(tools, "sliding_window_ucb")
    learner.learn_from_execution(TASK, {"tool_sequence": ["all"], "success": True, "metrics": {"cost": 1}})
    learner.save(path)
    content, refused = json.loads(path.read_text()), 0
    for wrong in spoilt(content):
        path.write_text(json.dumps(wrong))
        with contextlib.suppress(UserError):
            ToolMetaLearner.load(path, tools).optimize_task_execution(TASK)
            continue
        refused += 1
    assert refused > 40
    path.write_text("no json")
    with pytest.raises(UserError):
        ToolMetaLearner.load(path, tools)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ToolMetaLearner({}), "at least one entry"),
        (lambda: ToolMetaLearner({"a": ToolProfile("b", SEARCH)}), "calls itself 'b'"),
        (lambda: ToolMetaLearner({"a": 3}), "must be a ToolProfile"),
        (lambda: ToolMetaLearner({"a": ToolProfile("a", SEARCH, prerequisites=["a"])}), "circle: a needs a"),
        (
            lambda: ToolMetaLearner(
                {
                    "a": ToolProfile("a", SEARCH, prerequisites=[ANALYSIS]),
                    "b": ToolProfile("b", ANALYSIS, prerequisites=["a"]),
                    "c": ToolProfile("c", SEARCH),
                }
            ),
            "circle: a needs b needs a",
        ),
        (lambda: ToolMetaLearner({"a": ToolProfile("a", SEARCH, prerequisites=["aa"])}), "did you mean 'a'"),
        (lambda: ToolMetaLearner({"a": ToolProfile("a", SEARCH, prerequisites=[ANALYSIS])}), "type analysis"),
        (lambda: ToolMetaLearner(chain(), agent="tompson"), "did you mean 'thompson'"),
        (lambda: ToolMetaLearner(chain(), success_value=float("nan")), "success_value must be a finite number"),
        (lambda: ToolProfile("a", SEARCH, cost_per_use=float("nan")), "cost_per_use of tool 'a' must be a finite"),
        (lambda: ToolProfile("a", SEARCH, latency=-1.0), "latency of tool 'a'"),
        (lambda: ToolProfile("a", SEARCH, reliability=1.0), "reliability of tool 'a' must lie between"),
        (lambda: ToolProfile("a", SEARCH, cost_per_use=10**400), "cost_per_use of tool 'a' must be a finite"),
        (lambda: ToolProfile("a", SEARCH, prerequisites=None), "prerequisites of tool 'a' must be a list"),
        (lambda: ToolProfile("a", SEARCH, prerequisites=3), "prerequisites of tool 'a' must be a list"),
        (lambda: ToolProfile(None, SEARCH), "tool_id must be text"),
        (lambda: ToolMetaLearner(chain(), agent=7), "unknown agent 7"),
        (lambda: ToolProfile("a", "search"), "tool_type of tool 'a' must be one of"),
        (lambda: ToolProfile("a", SEARCH, prerequisites="web"), "prerequisites of tool 'a' must be a list"),
        (lambda: TaskProfile("t", "x", complexity="hard"), "complexity of task 't' must be one of"),
        (lambda: TaskProfile("t", "x", value=float("inf")), "value of task 't'"),
        (
            lambda: ToolMetaLearner(chain()).optimize_task_execution(TaskProfile("t", "x", required_tools=["webb"])),
            "did you mean 'web'",
        ),
    ],
)  # fmt: skip
def test_bad_tools_and_tasks_are_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "tool_sequence must be a list"),
        ({"tool_sequence": [], "success": True}, "at least one tool id"),
        ({"tool_sequence": "web", "success": True}, "must be a list"),
        ({"tool_sequence": ["wbe"], "success": True}, "did you mean 'web'"),
        ({"tool_sequence": ["web"], "success": 1}, "True or False"),
        ({"tool_sequence": ["web"], "success": True, "metric": {}}, "did you mean 'metrics'"),
        (
            {"tool_sequence": ["web"], "success": True, "metrics": {"cost": float("nan")}},
            "metric cost must be a finite",
        ),
        ({"tool_sequence": ["web"], "success": True, "metrics": {"quality_score": 1.5}}, "between 0 and 1"),
        ({"tool_sequence": ["web"], "success": True, "metrics": {"speed": 1}}, "metric"),
        ({"tool_sequence": ["web"], "success": True, "tool_results": {"web": False}}, "tool_results differ"),
        ({"tool_sequence": ["web"], "success": True, "tool_results": {"library": True}}, "tools of the tool_sequence"),
        ([], "must be a mapping"),
    ],
)
def test_bad_results_are_one_line_and_teach_nothing(results, message):
    learner = ToolMetaLearner(chain())
    before = learner.get_meta_learning_report()
    with pytest.raises(UserError, match=message):
        learner.learn_from_execution(TASK, results)
    assert learner.get_meta_learning_report() == before
