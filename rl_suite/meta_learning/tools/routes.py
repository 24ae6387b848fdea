"""Ways through a set of tools: which can be called when, the best way, and all ways that no other beats.

An execution calls the tools of a route one after the other; a failure ends it. A route is therefore a path in a lossy
network: what arrives at the end is multiplied by the chance of each tool, and each tool costs only where it is reached.
Bellman's recursion over the sets of tools that have succeeded finds the best path exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl_suite.errors import UserError
from rl_suite.meta_learning.tools.profiles import Need, ToolProfile, alternatives

MOST_STATES = 50_000  # sets of tools that may have succeeded
MOST_LABELS = 2_000  # ways kept per set
GOAL = -1
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Route:
    """Tools in the order in which they are called."""

    tools: tuple[int, ...]
    success: float
    """Chance that all of them succeed."""
    cost: float
    """Expected cost, which a failure cuts short."""
    quality: float
    """Expected quality: chance of success times quality of the last tool."""


@dataclass(frozen=True)
class RouteGraph:
    """States (sets of tools that have succeeded) and the calls between them; state 0 is the empty set."""

    calls: tuple[tuple[tuple[int, int], ...], ...]
    """Of each state: (tool, next state), ``GOAL`` where the task is done. Next states come later in the order."""

    def best(self, chance: Floats, cost: Floats, worth: Floats) -> tuple[int, ...]:
        """The route of the highest expected worth less cost.

        Args:
            chance: of success of each tool (K,).
            cost: of a call of each tool (K,).
            worth: of a success that each tool delivers last (K,).
        """
        values = np.full(len(self.calls), -np.inf)
        choices = [(-1, GOAL)] * len(self.calls)
        for state in range(len(self.calls) - 1, -1, -1):
            for tool, after in self.calls[state]:
                value = chance[tool] * (worth[tool] if after == GOAL else values[after]) - cost[tool]
                if value > values[state]:
                    values[state], choices[state] = value, (tool, after)
        route, state = [], 0
        while state != GOAL:
            tool, state = choices[state]
            route.append(tool)
        return tuple(route)

    def random(self, rng: np.random.Generator) -> tuple[int, ...]:
        """A route whose every call is drawn among the possible ones."""
        route, state = [], 0
        while state != GOAL:
            tool, state = self.calls[state][rng.integers(len(self.calls[state]))]
            route.append(tool)
        return tuple(route)

    def front(self, chance: Floats, cost: Floats, quality: Floats) -> list[Route]:
        """All routes that no other route beats in cost and quality at once, the cheapest first."""
        labels: list[list[tuple[float, float, tuple[int, ...]]]] = [[] for _ in self.calls]
        for state in range(len(self.calls) - 1, -1, -1):
            found = []
            for tool, after in self.calls[state]:
                rests = [(0.0, quality[tool], ())] if after == GOAL else labels[after]
                for spent, got, rest in rests:
                    found.append((cost[tool] + chance[tool] * spent, chance[tool] * got, (tool, *rest)))
            labels[state] = undominated(found)
            if len(labels[state]) > MOST_LABELS:
                raise UserError(f"more than {MOST_LABELS} routes differ in cost and quality: give the task fewer tools")
        return [measured(route, chance, cost, quality) for _, _, route in labels[0]]


def undominated(
    labels: Sequence[tuple[float, float, tuple[int, ...]]],
) -> list[tuple[float, float, tuple[int, ...]]]:
    """Those (cost, quality, route) that cost less or bring more than every other, the cheapest first.

    >>> [route for _, _, route in undominated([(2.0, 0.5, (0,)), (1.0, 0.6, (1,)), (3.0, 0.9, (2,))])]
    [(1,), (2,)]
    """
    kept: list[tuple[float, float, tuple[int, ...]]] = []
    for label in sorted(labels, key=lambda each: (each[0], -each[1])):
        if not kept or label[1] > kept[-1][1]:
            kept.append(label)
    return kept


def measured(route: tuple[int, ...], chance: Floats, cost: Floats, quality: Floats) -> Route:
    """What a route is expected to bring and to cost.

    >>> route = measured((0, 1), np.array([0.5, 0.8]), np.array([1.0, 2.0]), np.array([1.0, 0.9]))
    >>> round(route.success, 3), route.cost, round(route.quality, 3)
    (0.4, 2.0, 0.36)
    """
    reached = np.cumprod([1.0, *chance[list(route)]])
    spent = float((reached[:-1] * cost[list(route)]).sum())
    return Route(route, float(reached[-1]), spent, float(reached[-1] * quality[route[-1]]))


def build_routes(tools: Sequence[ToolProfile], required: Sequence[Need], who: str) -> RouteGraph:
    """All ways to meet ``required``; without it, to call any tool that no other needs by its id.

    Raises:
        UserError: a required tool is not there, or there are too many ways.
    """
    needs = [[alternatives(tools, need, who) for need in tool.prerequisites] for tool in tools]
    named = {need for tool in tools for need in tool.prerequisites}
    last = frozenset(i for i, tool in enumerate(tools) if tool.tool_id not in named and tool.tool_type not in named)
    goal = [alternatives(tools, need, who) for need in required] or [last or frozenset(range(len(tools)))]
    places: dict[frozenset[int], int] = {frozenset(): 0}
    waiting, calls = [frozenset[int]()], []
    for done in waiting:  # grows: sets of one more tool are appended
        steps = []
        for tool in _useful(done, goal, needs):
            after = done | {tool}
            if all(each & after for each in goal):
                steps.append((tool, GOAL))
                continue
            if after not in places:
                places[after] = len(places)
                waiting.append(after)
            steps.append((tool, places[after]))
        calls.append(tuple(steps))
        if len(places) > MOST_STATES:
            raise UserError(f"{who}: more than {MOST_STATES} sets of tools could be called; give it fewer tools")
    return RouteGraph(tuple(calls))


def _useful(
    done: frozenset[int], goal: Sequence[frozenset[int]], needs: Sequence[Sequence[frozenset[int]]]
) -> list[int]:
    """Tools that can be called now and meet something that is still needed, for the goal or for such a tool."""
    open_needs, seen, useful = [each for each in goal if not each & done], set[frozenset[int]](), set[int]()
    while open_needs:
        for tool in open_needs.pop() - done:
            useful.add(tool)
            missing = [each for each in needs[tool] if not each & done and each not in seen]
            seen.update(missing)
            open_needs += missing
    return sorted(tool for tool in useful if all(each & done for each in needs[tool]))
