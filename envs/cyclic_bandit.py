"""A contextual bandit with a hidden structure: one secret number says which arm pays in many contexts."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import whole
from envs.drawing import AGENT, FLOOR, GOLD, Canvas
from envs.states import COUNT, FINITE, Bound
from envs.streams import Rows, Streams, integers, uniform
from envs.tasks import TaskSet, TaskWorld
from envs.world import Info, State, check_choices, discrete_actions

VALIDATION, TEST = 1 / 8, 1 / 4  # shares of the tasks
MOST_TASKS = 2**20
SPLIT_SEED = 0
CELL = 24  # pixels


class CyclicBandit(TaskWorld):
    """In every context one arm pays; the contexts of a group share the number by which it is shifted.

    ## Description
    The contexts fall into ``groups`` (context c belongs to group ``c % groups``), each with ``arms`` contexts. In the
    context of place ``p = c // groups`` the arm ``(p + shift) % arms`` pays, where ``shift`` is the secret of the
    group. A task is one shift for each group, so that every pull tells something of a whole group, to whom has learnt
    the structure; the tasks of validation and test combine shifts as no training task does.

    ## Action Space
    ``Discrete(arms)``: the arm to pull.

    ## Observation Space
    ``Discrete(groups * arms)``: the context of the next pull, uniform at random.

    ## Rewards
    1 with probability ``pays`` for the arm that pays, with probability ``1 - pays`` for the others, else 0.

    ## Starting State
    The task is uniform over those of ``split``; the context is uniform.

    ## Episode End
    Truncated after 10 pulls; it never terminates.

    ## Information
    ``task``; ``regret``: expected loss of the last pull against the arm that pays; ``oracle_arm``: the arm that paid in
    the context of the last pull; ``optimal_return``: what it would have earned on average in as many pulls.

    ## Arguments
    ``arms``; ``groups``; ``pays``; ``split``: "all", "train", "validation", "test", or some of them joined by "+";
    ``tasks``: draw from these task numbers only; task n has the digits of n in base ``arms`` as shifts.

    ## Version History
    v0: first version.
    """

    state_arrays: ClassVar[tuple[str, ...]] = ("task", "context", "steps", "regret", "oracle_arm")

    def __init__(
        self,
        num_envs: int = 1,
        arms: int = 6,
        groups: int = 2,
        pays: float = 0.9,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        arms, groups = whole("arms", arms, 2, MOST_TASKS), whole("groups", groups, 1, 20)
        if arms**groups > MOST_TASKS:
            raise ValueError(
                f"arms**groups, which is how many tasks there are, must be at most 2**20: {arms}**{groups}"
            )
        if not 0.5 < pays <= 1.0:
            raise ValueError(f"pays must be above 0.5 and at most 1, not {pays}")
        splits = TaskSet(range(arms**groups)).shuffle(SPLIT_SEED).split(VALIDATION, TEST)
        super().__init__(num_envs, splits, split, tasks)
        self.arms, self.groups, self.pays = arms, groups, float(pays)
        self.n_contexts = groups * arms
        self.action_space = spaces.Discrete(arms)
        self.observation_space = spaces.Discrete(self.n_contexts)
        self.shifts = np.zeros((num_envs, groups), dtype=np.int64)  # (B, G)
        self.context = np.zeros(num_envs, dtype=np.int64)  # (B,) of the next pull
        self.steps = np.zeros(num_envs, dtype=np.int64)  # (B,) pulls of this episode
        self.regret = np.zeros(num_envs)  # (B,) of the last pull
        self.oracle_arm = np.zeros(num_envs, dtype=np.int64)  # (B,) of the last pull's context

    def read_tasks(self, rows: Rows) -> None:
        """The digits of the task's number are the shifts of the groups."""
        self.shifts[rows] = self.task[rows, None] // self.arms ** np.arange(self.groups) % self.arms

    def best_arm(self, rows: Rows) -> NDArray[np.int64]:
        """The arm that pays in the present context of each of ``rows``."""
        place, group = np.divmod(self.context[rows], self.groups)
        best: NDArray[np.int64] = (place + self.shifts[rows, group]) % self.arms
        return best

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Draw the first context."""
        self.steps[rows], self.regret[rows] = 0, 0.0
        self.context[rows] = integers(streams, rows, self.n_contexts)
        self.oracle_arm[rows] = self.best_arm(rows)

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Pull one arm of every copy and draw the next context."""
        actions = discrete_actions(actions)
        wrong = np.flatnonzero((actions < 0) | (actions >= self.arms))
        check_choices(actions, int(wrong[0]) if len(wrong) else -1, self.arms)
        self.oracle_arm = self.best_arm(self.all_rows)
        right = actions == self.oracle_arm
        chance = np.where(right, self.pays, 1.0 - self.pays)
        rewards = (uniform(streams, self.all_rows) < chance).astype(np.float64)
        self.regret = self.pays - chance
        self.steps += 1
        self.context = integers(streams, self.all_rows, self.n_contexts)
        return rewards, np.zeros(self.num_envs, dtype=np.bool_)

    def observe(self, rows: Rows) -> NDArray[np.int64]:
        """The contexts, (n,)."""
        return self.context[rows].copy()

    def info(self, rows: Rows) -> Info:
        """Task, regret and oracle of the last pull, and the oracle's expected return."""
        return {
            "task": self.task[rows].copy(),
            "regret": self.regret[rows].copy(),
            "oracle_arm": self.oracle_arm[rows].copy(),
            "optimal_return": self.pays * self.steps[rows],
        }

    def state_bounds(self) -> Mapping[str, Bound]:
        """Contexts and arms that are there."""
        return {
            "task": (0, self.arms**self.groups - 1),
            "context": (0, self.n_contexts - 1),
            "steps": COUNT,
            "regret": FINITE,
            "oracle_arm": (0, self.arms - 1),
        }

    def set_state(self, state: State) -> None:
        """Continue from what ``get_state`` returned."""
        super().set_state(state)
        self.read_tasks(self.all_rows)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Contexts down, arms across: which arm pays where, and the context of the next pull."""
        if mode == "ansi":
            lines = []
            for context in range(self.n_contexts):
                cells = "".join("$" if arm == self._pays_in(row, context) else "." for arm in range(self.arms))
                lines.append(f"{context:3d} {cells}{' <' if context == self.context[row] else ''}")
            return "\n".join([*lines, ""])
        canvas = Canvas(8 + CELL * self.n_contexts, 8 + CELL * self.arms)
        for context in range(self.n_contexts):
            for arm in range(self.arms):
                top, left = 4 + CELL * context, 4 + CELL * arm
                canvas.box(top + 2, left + 2, top + CELL - 2, left + CELL - 2, FLOOR, radius=4)
                if arm == self._pays_in(row, context):
                    canvas.box(top + 6, left + 6, top + CELL - 6, left + CELL - 6, GOLD, radius=6)
            if context == self.context[row]:
                canvas.box(4 + CELL * context, 0, 4 + CELL * (context + 1), 3, AGENT)
        return canvas.image()

    def _pays_in(self, row: int, context: int) -> int:
        return int(context // self.groups + self.shifts[row, context % self.groups]) % self.arms
