"""Agents on the same tools, tasks and luck: who misses how much."""

import numpy as np
import pytest

from rl_suite.errors import UserError
from rl_suite.meta_learning import TaskProfile, ToolProfile, ToolType, create_tool_optimization_benchmark
from rl_suite.meta_learning.tools.benchmark import AGENTS, Workshop
from rl_suite.meta_learning.tools.profiles import check_tools

SEARCH, ANALYSIS = ToolType.SEARCH, ToolType.ANALYSIS
TOOLS = {
    "web": ToolProfile("web", SEARCH, cost_per_use=0.5, reliability=0.6),
    "library": ToolProfile("library", SEARCH, cost_per_use=1.0, reliability=0.7),
    "statistics": ToolProfile("statistics", ANALYSIS, cost_per_use=0.5, reliability=0.6, prerequisites=[SEARCH]),
    "model": ToolProfile("model", ANALYSIS, cost_per_use=1.5, reliability=0.7, prerequisites=[SEARCH]),
}
TASKS = [TaskProfile("a", "research"), TaskProfile("b", "audit")]


def test_benchmark_as_documented():
    tools, tasks = TOOLS, TASKS
    tool_results = create_tool_optimization_benchmark(tools, tasks, 100, seeds=6)
    rows = tool_results.as_json()
    assert list(rows) == list(AGENTS)
    assert rows["oracle"]["regret"]["estimate"] == 0
    assert tool_results.against("linucb", "random").high < 0
    for name in AGENTS:
        assert (tool_results.regret[name] >= -1e-9).all(), "nobody beats the oracle in expectation"
        assert len(rows[name]["regret_curve"]) == 100
    assert rows["linucb"]["success_rate"]["estimate"] > rows["random"]["success_rate"]["estimate"]
    assert 0.7 < rows["linucb"]["interval_coverage"] < 1
    assert rows["linucb"]["calibration"]["expected_calibration_error"] < 0.1
    assert "calibration" not in rows["oracle"]


def test_a_workshop_is_its_seed_and_stops_at_the_first_failure():
    shops = [Workshop(check_tools(TOOLS), TASKS, seed) for seed in (0, 0, 1)]
    chances = [shop.chances(TASKS[0], 5) for shop in shops]
    assert np.array_equal(chances[0], chances[1])
    assert not np.array_equal(chances[0], chances[2])
    assert not np.array_equal(shops[0].chances(TASKS[0], 100), chances[0])
    shop = shops[0]
    results = shop.execute((1, 2), np.full(4, 0.5), np.array([0.9, 0.9, 0.1, 0.1, 0.0]))
    assert results["tool_results"] == {"library": False}
    assert results["metrics"] == {"quality_score": 0.0, "cost": 1.0}
    assert not results["success"]
    done = shop.execute((1, 2), np.full(4, 0.5), np.array([0.9, 0.1, 0.1, 0.9, 0.0]))
    assert done["success"]
    assert done["metrics"]["cost"] == 1.5
    assert done["metrics"]["quality_score"] == pytest.approx(shop.quality[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": []}, "tasks must be a list"),
        ({"num_executions": 0}, "num_executions must be"),
        ({"seeds": 1}, "seeds must be a whole number of at least 2"),
        ({"agents": ["ucb"]}, "unknown agents"),
        ({"tools": {}}, "at least one entry"),
    ],
)
def test_an_empty_benchmark_is_one_line(options, message):
    with pytest.raises(UserError, match=message):
        create_tool_optimization_benchmark(
            **{"tools": TOOLS, "tasks": TASKS, "num_executions": 3, "seeds": 2, **options}
        )
