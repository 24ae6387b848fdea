"""Surface: profiles of tools and tasks, and what is told of executions."""

from typing import Any

from fuzzing import Surface, mostly, texts, values
from hypothesis import strategies as st

from rl_suite.errors import UserError
from rl_suite.meta_learning.tools.learner import EXPLORERS, ToolMetaLearner
from rl_suite.meta_learning.tools.profiles import TaskComplexity, TaskProfile, ToolProfile, ToolType

IDS = ["find", "read", "write", "check"]
needs = mostly(st.lists(st.sampled_from([*IDS, *ToolType]), max_size=2))
amounts = mostly(st.floats(0, 5))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[Any, Any], dict[str, Any], Any, Any]:
    """(arguments of each profile by id, of the task, agent, what is told of an execution)."""
    tools = {}
    for place, name in enumerate(IDS[: draw(mostly(st.integers(1, 4), st.integers(0, 4)))]):
        tool = {"tool_id": name, "tool_type": draw(st.sampled_from(ToolType))}
        if draw(st.booleans()):
            tool["prerequisites"] = IDS[: draw(st.integers(0, place))]
        field = draw(
            st.sampled_from(["tool_id", "tool_type", "cost_per_use", "reliability", "latency", "prerequisites", ""])
        )
        odd = {
            "cost_per_use": amounts,
            "latency": amounts,
            "reliability": mostly(st.floats(0, 1)),
            "prerequisites": needs,
        }
        if field and draw(mostly(st.just(False), st.booleans())):
            tool[field] = draw(odd.get(field, values))
        tools[draw(mostly(st.just(name), mostly(st.just(name), texts)))] = tool
    task = {"task_id": "job", "task_type": "kind", "complexity": draw(mostly(st.sampled_from(TaskComplexity)))}
    task |= draw(mostly(st.just({}), st.fixed_dictionaries({"required_tools": needs, "value": amounts | st.none()})))
    told = st.fixed_dictionaries(
        {
            "tool_sequence": mostly(st.lists(st.sampled_from(IDS), min_size=1, max_size=3)),
            "success": mostly(st.booleans()),
        },
        optional={"metrics": mostly(st.just({"cost": 1.0, "quality_score": 0.5})), "tool_results": values},
    )
    return tools, task, draw(mostly(st.sampled_from(sorted(EXPLORERS)))), draw(mostly(told))


def plan_and_learn(case: tuple[dict[Any, Any], dict[str, Any], Any, Any]) -> None:
    """A plan whose chances are chances, before and after an execution."""
    tools, told_task, agent, told = case
    learner = ToolMetaLearner({name: ToolProfile(**tool) for name, tool in tools.items()}, agent)
    task = TaskProfile(**told_task)
    for _ in range(2):
        plan = learner.optimize_task_execution(task)
        assert 0 <= plan["expected_success"] <= 1
        learner.learn_from_execution(task, told)
    learner.pareto_front(task)


PLAIN = {"find": {"tool_id": "find", "tool_type": ToolType.SEARCH}}
SURFACES = [
    Surface(
        "tool profiles",
        cases(),
        plan_and_learn,
        (PLAIN, {"task_id": "job", "task_type": "kind"}, "greedy", {"tool_sequence": ["find"], "success": True}),
        (UserError,),
    )
]
