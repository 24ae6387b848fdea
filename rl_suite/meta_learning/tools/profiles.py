"""What is known of tools and tasks before anything was executed, checked where it enters."""

import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, require_known


class ToolType(Enum):
    """What a tool does."""

    SEARCH = "search"
    ANALYSIS = "analysis"
    CONTENT_GENERATION = "content_generation"
    CODE_EXECUTION = "code_execution"
    DATA_PROCESSING = "data_processing"
    COMMUNICATION = "communication"
    VALIDATION = "validation"
    OTHER = "other"


class TaskComplexity(Enum):
    """How hard a task is."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"
    EXPERT = "expert"


Need = str | ToolType
"""A tool by its id, or any tool of a type."""


@dataclass(frozen=True)
class ToolProfile:
    """One tool.

    Raises:
        UserError: a cost or latency is negative or not finite, or ``reliability`` does not lie between 0 and 1.
    """

    tool_id: str
    tool_type: ToolType
    input_schema: Any = None
    output_schema: Any = None
    cost_per_use: float = 1.0
    reliability: float = 0.9
    """Chance of success that is believed at first; executions correct it."""
    latency: float = 0.0
    """Seconds of one call."""
    prerequisites: Sequence[Need] = ()
    """What must have succeeded before: tools by id, or any tool of a type."""

    def __post_init__(self) -> None:
        if not isinstance(self.tool_id, str):
            raise UserError(f"tool_id must be text, not {BRIEF.repr(self.tool_id)}")
        tool = f"tool {BRIEF.repr(self.tool_id)}"
        for name in ("cost_per_use", "latency"):
            require_amount(getattr(self, name), f"{name} of {tool}")
        if not _is_number(self.reliability) or not 0.0 < self.reliability < 1.0:
            raise UserError(f"reliability of {tool} must lie between 0 and 1, not {BRIEF.repr(self.reliability)}")
        _require_enum(self.tool_type, ToolType, f"tool_type of {tool}")
        _require_needs(self.prerequisites, f"prerequisites of {tool}")


@dataclass(frozen=True)
class TaskProfile:
    """One task."""

    task_id: str
    task_type: str
    input_data: Any = None
    expected_output: Any = None
    complexity: TaskComplexity = TaskComplexity.MODERATE
    required_tools: Sequence[Need] = ()
    """What must succeed. Without it one tool is enough, any that no other tool needs."""
    value: float | None = None
    """What a success of full quality is worth, in units of cost; None: the learner's ``success_value``."""

    def __post_init__(self) -> None:
        if not isinstance(self.task_type, str):
            raise UserError(
                f"task_type of task {BRIEF.repr(self.task_id)} must be text, not {BRIEF.repr(self.task_type)}"
            )
        _require_enum(self.complexity, TaskComplexity, f"complexity of task {BRIEF.repr(self.task_id)}")
        _require_needs(self.required_tools, f"required_tools of task {BRIEF.repr(self.task_id)}")
        if self.value is not None:
            require_amount(self.value, f"value of task {BRIEF.repr(self.task_id)}")


def require_amount(value: Any, what: str) -> float:
    """A finite number that is not negative; ``UserError`` otherwise."""
    if not _is_number(value) or not 0 <= value <= sys.float_info.max:
        raise UserError(f"{what} must be a finite number of at least 0, not {BRIEF.repr(value)}")
    return float(value)


def check_tools(tools: Mapping[str, ToolProfile]) -> tuple[ToolProfile, ...]:
    """The tools in their order, if each of them can be called one day.

    Raises:
        UserError: there is no tool, a key is not its tool's id, a prerequisite is not there, or tools wait for each
            other in a circle.
    """
    if not isinstance(tools, Mapping) or not tools:
        raise UserError("tools must be a mapping of ids to ToolProfile with at least one entry")
    for key, tool in tools.items():
        if not isinstance(tool, ToolProfile):
            raise UserError(f"tool {key!r} must be a ToolProfile, not {type(tool).__name__}")
        if key != tool.tool_id:
            raise UserError(f"tool {key!r} calls itself {tool.tool_id!r}: the key must be its tool_id")
    listed = tuple(tools.values())
    needs = [[alternatives(listed, need, f"tool {tool.tool_id!r}") for need in tool.prerequisites] for tool in listed]
    able: set[int] = set()
    while fresh := {i for i, wanted in enumerate(needs) if i not in able and all(able & each for each in wanted)}:
        able |= fresh
    if len(able) < len(listed):
        raise UserError(f"prerequisites go in a circle: {' needs '.join(_circle(listed, needs, able))}")
    return listed


def alternatives(tools: Sequence[ToolProfile], need: Need, who: str) -> frozenset[int]:
    """Places of the tools that meet a need; ``UserError`` where no tool does."""
    if isinstance(need, ToolType):
        found = frozenset(i for i, tool in enumerate(tools) if tool.tool_type is need)
        if not found:
            raise UserError(f"{who} needs a tool of type {need.value}, and there is none")
        return found
    ids = [tool.tool_id for tool in tools]
    require_known(need, ids, f"tool (needed by {who})")
    return frozenset([ids.index(need)])


def _circle(tools: Sequence[ToolProfile], needs: Sequence[Sequence[frozenset[int]]], able: set[int]) -> list[str]:
    """Follow what is missing until a tool comes again."""
    path = [min(set(range(len(tools))) - able)]
    while path[-1] not in path[:-1]:
        missing = next(each for each in needs[path[-1]] if not able & each)
        path.append(min(missing))
    return [tools[i].tool_id for i in path[path.index(path[-1]) :]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_enum(value: Any, kind: type[Enum], what: str) -> None:
    if not isinstance(value, kind):
        raise UserError(f"{what} must be one of {', '.join(str(each) for each in kind)}, not {BRIEF.repr(value)}")


def _require_needs(needs: Any, what: str) -> None:
    listed = isinstance(needs, Sequence | Set) and not isinstance(needs, str)
    if not listed or not all(isinstance(need, str | ToolType) for need in needs):
        raise UserError(f"{what} must be a list of tool ids and ToolTypes, not {BRIEF.repr(needs)}")
