"""Eight tools in three steps and three kinds of task, to try agents on."""

from rl_suite.meta_learning.tools.profiles import TaskComplexity, TaskProfile, ToolProfile, ToolType

SEARCH, ANALYSIS, WRITING = ToolType.SEARCH, ToolType.ANALYSIS, ToolType.CONTENT_GENERATION
_TOOLS = (
    ToolProfile("web", SEARCH, cost_per_use=0.5, reliability=0.7),
    ToolProfile("library", SEARCH, cost_per_use=1.5, reliability=0.85),
    ToolProfile("index", SEARCH, cost_per_use=0.2, reliability=0.6),
    ToolProfile("statistics", ANALYSIS, cost_per_use=1.0, reliability=0.8, prerequisites=(SEARCH,)),
    ToolProfile("model", ANALYSIS, cost_per_use=2.0, reliability=0.85, prerequisites=(SEARCH,)),
    ToolProfile("template", WRITING, cost_per_use=0.3, reliability=0.7, prerequisites=(ANALYSIS,)),
    ToolProfile("writer", WRITING, cost_per_use=2.5, reliability=0.9, prerequisites=(ANALYSIS,)),
    ToolProfile("all_in_one", WRITING, cost_per_use=3.0, reliability=0.5),
)
TOOLS = {tool.tool_id: tool for tool in _TOOLS}
TASKS = (
    TaskProfile("report", "report", complexity=TaskComplexity.SIMPLE),
    TaskProfile("research", "research"),
    TaskProfile("audit", "audit", complexity=TaskComplexity.COMPLEX),
)
