"""Dark rooms: grids whose goal is invisible, so that only memory over episodes can find it fast.

A task is a number: the goal's cell (row * size + column), or for Key-to-Door ``key * cells + door``.
With permuted actions, the number of the permutation times the number of goals is added to it.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import permutations
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import whole
from envs.drawing import AGENT, FLOOR, GOLD, PAPER, ROSE, TRAIL, Canvas, Colour
from envs.grid_kernels import (
    N_ACTIONS,
    TRAIL_LENGTH,
    coordinates,
    next_cells,
    step_key_to_door,
    step_room,
)
from envs.spaces import WholeNumbers
from envs.states import COUNT, Bound
from envs.streams import Rows, Streams, integers
from envs.tasks import TaskSet, TaskSplit, TaskWorld
from envs.world import Info, State, check_choices, discrete_actions

Cell = Sequence[int]  # row, column
Start = Literal["centre", "random"] | Cell

PERMUTATIONS = np.array(list(permutations(range(N_ACTIONS))))  # (120, 5); the first one changes nothing

# The eight test goals of the published 9x9 experiments; the other 73 goals are for training.
DARK_ROOM_TEST_GOALS = ((4, 2), (5, 6), (6, 8), (7, 2), (3, 6), (0, 5), (5, 8), (5, 4))
SPLIT_SEED = 0  # decides which tasks are for training, validation and test
HELD_OUT = 0.1  # fraction of the tasks in each of validation and test, where no published split says otherwise
PIXELS = 24  # of one cell, in pictures
LARGEST_ROOM, LARGEST_ROOM_OF_TWO = 1024, 64  # cells of a side; a task is a cell, or a pair of cells


class GridWorld(TaskWorld):
    """What the dark rooms share: a square grid with walls, five moves, and rewards for reaching cells."""

    state_arrays: ClassVar[tuple[str, ...]] = ("task", "cell", "steps", "collected", "arrivals", "trail")

    def __init__(
        self,
        num_envs: int,
        size: int,
        start: Start,
        goals: TaskSplit,
        permute_actions: bool,
        n_landmarks: int,
        shown: Sequence[int],
        split: str,
        tasks: Sequence[int] | None,
    ):
        self.n_goals = sum(len(part) for part in (goals.train, goals.validation, goals.test))
        if permute_actions:
            goals = _random_split(self.n_goals * len(PERMUTATIONS))
        super().__init__(num_envs, goals, split, tasks)
        self.size, self.permute_actions = size, permute_actions
        self._start = start if isinstance(start, str) else _cell_number(start, size)
        if self._start == "centre":
            self._start = _cell_number((size // 2, size // 2), size)
        elif isinstance(self._start, str) and self._start != "random":
            raise ValueError(f"start must be 'centre', 'random' or a (row, column), not {start!r}")
        shown = [*shown, *[N_ACTIONS] * (N_ACTIONS if permute_actions and shown else 0)]
        self.observation_space = WholeNumbers([size, size, *shown])
        self.action_space = spaces.Discrete(N_ACTIONS)
        self._next_cell, self._coordinates = next_cells(size), coordinates(size)
        self.cell = np.zeros(num_envs, dtype=np.int64)  # (B,) row * size + column
        self.steps = np.zeros(num_envs, dtype=np.int64)  # (B,) steps of the episode so far
        self.collected = np.zeros(num_envs, dtype=np.int64)  # (B,) rewards of the episode so far
        self.arrivals = np.zeros((num_envs, n_landmarks), dtype=np.int64)  # (B, n) steps of the shortest ways
        self.trail = np.zeros((TRAIL_LENGTH, num_envs), dtype=np.int16)  # cell at step t of the episode, at t % length
        # the move that each action makes: (B, 5) if permuted, else (1, 5)
        self.move_of = np.tile(np.arange(N_ACTIONS), (num_envs if permute_actions else 1, 1))

    @abstractmethod
    def read_goals(self, rows: Rows, goals: NDArray[np.int64]) -> None:
        """Fill the arrays that follow from the goal numbers (n,) of ``rows``."""

    @abstractmethod
    def shortest_ways(self, rows: Rows) -> NDArray[np.int64]:
        """Steps that an agent who knows the room needs from its cell to each landmark in turn: (n, landmarks)."""

    @abstractmethod
    def landmarks(self, row: int) -> list[tuple[str, Colour, int]]:
        """Letter, colour and cell of what is hidden in the room of one copy."""

    def read_tasks(self, rows: Rows) -> None:
        """Decode permutations and goals."""
        task = self.at(self.task, rows)
        if self.permute_actions:
            self.move_of[rows] = PERMUTATIONS[task // self.n_goals]
            task = task % self.n_goals
        self.read_goals(rows, task)

    def start_episodes(self, rows: Rows, streams: Streams) -> None:
        """Put the agents of ``rows`` on their first cells."""
        first = integers(streams, rows, self.size**2) if self._start == "random" else self._start
        index = self.index(rows)
        self.cell[index] = first
        self.steps[index] = self.collected[index] = 0
        self.arrivals[index] = self.shortest_ways(rows)

    def optimal_returns(self, rows: Rows) -> NDArray[np.float64]:
        """The most that ``rows`` could have earned in the steps of their episodes so far (n,)."""
        earned: NDArray[np.float64] = (self.at(self.steps, rows)[:, None] >= self.at(self.arrivals, rows)).sum(
            axis=1, dtype=np.float64
        )
        return earned

    def info(self, rows: Rows) -> Info:
        """``task`` and ``optimal_return``: the most that could have been earned in as many steps."""
        return {"task": self.at(self.task, rows).copy(), "optimal_return": self.optimal_returns(rows)}

    def state_bounds(self) -> Mapping[str, Bound]:
        """Cells of the room, and counts."""
        cells = (0, self.size**2 - 1)
        counts = dict.fromkeys(("steps", "collected", "arrivals"), COUNT)
        return {"task": (0, 2**62), "cell": cells, "trail": cells, **counts}

    def set_state(self, state: State) -> None:
        """Continue from what ``get_state`` returned."""
        super().set_state(state)
        self.read_tasks(self.all_rows)

    def render(self, row: int, mode: str) -> str | NDArray[np.uint8]:
        """Draw one room: letters for "ansi", a picture with the agent's fading trail for "rgb_array"."""
        return self._text(row) if mode == "ansi" else self._picture(row)

    def _cells(self, rows: Rows, *cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Coordinates of several cells of each row, side by side: (n, 2 * len(cells))."""
        return np.concatenate([self._coordinates.take(self.at(numbers, rows), axis=0) for numbers in cells], axis=1)

    def _distance(self, rows: Rows, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of moves between two cells of each row (Manhattan)."""
        a, b = self.at(a, rows), self.at(b, rows)
        row, column = self._coordinates.T
        moves: NDArray[np.int64] = np.abs(row.take(a) - row.take(b)) + np.abs(column.take(a) - column.take(b))
        return moves

    def _with_moves(self, seen: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
        """Where goals are shown and actions permuted, the moves of the actions are shown too: (n, ... + 5)."""
        return np.concatenate([seen, self.move_of[rows]], axis=1) if self.permute_actions else seen

    def _text(self, row: int) -> str:
        letters = np.full(self.size**2, ".")
        letters[self._recent_cells(row)] = "o"
        for letter, _, cell in self.landmarks(row):
            letters[cell] = letter
        letters[self.cell[row]] = "@"
        lines = [" ".join(line) for line in letters.reshape(self.size, self.size)]
        return "\n".join([*lines, f"step {self.steps[row]}, return {self.collected[row]}", ""])

    def _picture(self, row: int) -> NDArray[np.uint8]:
        side = self.size * PIXELS + 8
        canvas = Canvas(side, side)
        opacity = np.zeros(self.size**2)
        recent = self._recent_cells(row)
        opacity[recent] = np.maximum(0.15, 0.8 * 0.85 ** np.arange(len(recent), 0, -1))
        for cell in range(self.size**2):
            top, left = (4 + PIXELS * part for part in divmod(cell, self.size))
            corners = (top + 1, left + 1, top + PIXELS - 1, left + PIXELS - 1)
            canvas.box(*corners, FLOOR, radius=4)
            canvas.box(*corners, TRAIL, alpha=opacity[cell], radius=4)
        for _, colour, cell in self.landmarks(row):
            y, x = self._centre(cell)
            canvas.glow(y, x, PIXELS, colour)
            canvas.disc(y, x, 0.3 * PIXELS, colour)
        y, x = self._centre(int(self.cell[row]))
        canvas.disc(y, x, 0.40 * PIXELS, PAPER if self.collected[row] else FLOOR)
        canvas.disc(y, x, 0.32 * PIXELS, AGENT)
        return canvas.image()

    def _recent_cells(self, row: int) -> NDArray[np.int16]:
        """Cells of the last steps, oldest first, without the present one."""
        steps = int(self.steps[row])
        recent: NDArray[np.int16] = self.trail[np.arange(max(0, steps - TRAIL_LENGTH), steps) % TRAIL_LENGTH, row]
        return recent

    def _centre(self, cell: int) -> tuple[float, float]:
        row, column = divmod(cell, self.size)
        return 4 + PIXELS * (row + 0.5), 4 + PIXELS * (column + 0.5)


class DarkRoom(GridWorld):
    """A room with an invisible goal, from Algorithm Distillation.

    ## Description
    The agent walks on a square grid and sees where it stands but not where the goal is. A task is a goal;
    it changes with every ``reset``. Made for trials (``DarkRoomTrial-v0``), in which it stays for several episodes.

    ## Action Space
    ``Discrete(5)``: 0 next row, 1 previous row, 2 next column, 3 previous column, 4 stay. Walls stop a move.

    ## Observation Space
    ``MultiDiscrete([size, size])``: row and column. With ``show_goal`` the goal's row and column follow,
    and with ``permute_actions`` besides, the move that each of the five actions makes.

    ## Rewards
    1 at every step that ends on the goal; with ``reward_once`` only at the first such step of an episode.

    ## Starting State
    The centre of the room, unless ``start`` says otherwise. The goal is uniform over the tasks of ``split``.

    ## Episode End
    Truncated after 20 steps; it never terminates.

    ## Information
    ``task``: the number of the task. ``optimal_return``: the most that could have been earned
    in the episode's steps so far.

    ## Arguments
    ``size``: cells per side. ``reward_once``: reward only the first arrival. ``permute_actions``: the task also
    shuffles the actions. ``show_goal``: the goal is part of the observation. ``start``: "centre", "random" or
    (row, column). ``goal``: the same goal in every task. ``split``: "all", "train", "validation", "test", or some of
    them joined by "+"; for 9x9 rooms the test goals are the published eight. ``tasks``: draw from these task
    numbers only.

    ## References
    Laskin et al. 2022, "In-context Reinforcement Learning with Algorithm Distillation", arXiv:2210.14215.

    ## Version History
    v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 9,
        reward_once: bool = False,
        permute_actions: bool = False,
        show_goal: bool = False,
        start: Start = "centre",
        goal: Cell | None = None,
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        size = whole("size", size, 1, LARGEST_ROOM)
        self.reward_once, self.show_goal = reward_once, show_goal
        self._only_goal = None if goal is None else _cell_number(goal, size)
        if goal is not None:
            goals = TaskSplit(TaskSet(range(1)), TaskSet(range(0)), TaskSet(range(0)))
        else:
            goals = _published_split() if size == 9 else _random_split(size**2)
        shown = [size, size] if show_goal else []
        super().__init__(num_envs, size, start, goals, permute_actions, 1, shown, split, tasks)
        self.goal = np.zeros(num_envs, dtype=np.int64)  # (B,) cell number

    def read_goals(self, rows: Rows, goals: NDArray[np.int64]) -> None:
        """The goal's number is its cell."""
        self.goal[self.index(rows)] = goals if self._only_goal is None else self._only_goal

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Move, then reward every agent that stands on its goal."""
        rewards = np.empty(self.num_envs)
        actions = discrete_actions(actions)
        position = (self.cell, self.steps, self.collected, self.trail)
        wrong = step_room(actions, self.move_of, self._next_cell, self.goal, self.reward_once, *position, rewards)
        check_choices(actions, wrong, N_ACTIONS)
        return rewards, np.zeros(self.num_envs, dtype=np.bool_)

    def observe(self, rows: Rows) -> NDArray[np.int64]:
        """Row and column, and those of the goal where it is shown: (n, 2 or more)."""
        if not self.show_goal:
            return self._coordinates.take(self.at(self.cell, rows), axis=0)
        return self._with_moves(self._cells(rows, self.cell, self.goal), rows)

    def shortest_ways(self, rows: Rows) -> NDArray[np.int64]:
        """To the goal; the reward comes with a step, so that being there already costs one."""
        return np.maximum(self._distance(rows, self.cell, self.goal), 1)[:, None]

    def optimal_returns(self, rows: Rows) -> NDArray[np.float64]:
        """Walk straight to the goal and stay: every step from the arrival on is rewarded."""
        if self.reward_once:
            return super().optimal_returns(rows)
        rewarded: NDArray[np.int64] = self.at(self.steps, rows) + 1 - self.at(self.arrivals, rows)[:, 0]
        return np.maximum(rewarded, 0).astype(np.float64)

    def landmarks(self, row: int) -> list[tuple[str, Colour, int]]:
        """The goal."""
        return [("G", GOLD, int(self.goal[row]))]


class DarkKeyToDoor(GridWorld):
    """A room with an invisible key and an invisible door, from Algorithm Distillation.

    ## Description
    As ``DarkRoom``, but the agent must first reach the key and then the door. A task is a pair of cells.

    ## Action Space
    ``Discrete(5)``: 0 next row, 1 previous row, 2 next column, 3 previous column, 4 stay. Walls stop a move.

    ## Observation Space
    ``MultiDiscrete([size, size])``: row and column. With ``show_goal`` the rows and columns of key and door follow and
    how many of them were reached (0, 1 or 2); with ``permute_actions`` besides, the move that each action makes.

    ## Rewards
    1 at the first step that ends on the key, and 1 at the first later step that ends on the door.

    ## Starting State
    A uniform random cell, unless ``start`` says otherwise. Key and door are uniform over the tasks of ``split``.

    ## Episode End
    Truncated after 50 steps; it never terminates.

    ## Information
    ``task``: the number of the task. ``optimal_return``: the most that could have been earned
    in the episode's steps so far.

    ## Arguments
    As ``DarkRoom``, without ``reward_once`` and ``goal``.

    ## References
    Laskin et al. 2022, "In-context Reinforcement Learning with Algorithm Distillation", arXiv:2210.14215.

    ## Version History
    v0: first version.
    """

    def __init__(
        self,
        num_envs: int = 1,
        size: int = 9,
        permute_actions: bool = False,
        show_goal: bool = False,
        start: Start = "random",
        split: str = "all",
        tasks: Sequence[int] | None = None,
    ):
        self.show_goal = show_goal
        size = whole("size", size, 1, LARGEST_ROOM_OF_TWO)
        shown = [size, size, size, size, 3] if show_goal else []
        super().__init__(num_envs, size, start, _random_split(size**4), permute_actions, 2, shown, split, tasks)
        self.key = np.zeros(num_envs, dtype=np.int64)  # (B,) cell number
        self.door = np.zeros(num_envs, dtype=np.int64)  # (B,) cell number

    def read_goals(self, rows: Rows, goals: NDArray[np.int64]) -> None:
        """The goal's number is ``key * cells + door``."""
        self.key[rows], self.door[rows] = np.divmod(goals, self.size**2)

    def step(self, actions: NDArray[Any], streams: Streams) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Move, then reward the first arrival at the key and, with the key, at the door."""
        rewards = np.empty(self.num_envs)
        actions = discrete_actions(actions)
        position = (self.cell, self.steps, self.collected, self.trail)
        wrong = step_key_to_door(actions, self.move_of, self._next_cell, self.key, self.door, *position, rewards)
        check_choices(actions, wrong, N_ACTIONS)
        return rewards, np.zeros(self.num_envs, dtype=np.bool_)

    def observe(self, rows: Rows) -> NDArray[np.int64]:
        """Row and column, and where shown those of key and door and the progress: (n, 2 or more)."""
        if not self.show_goal:
            return self._coordinates.take(self.at(self.cell, rows), axis=0)
        seen = self._cells(rows, self.cell, self.key, self.door)
        return self._with_moves(np.column_stack([seen, self.collected[rows]]), rows)

    def shortest_ways(self, rows: Rows) -> NDArray[np.int64]:
        """To the key, and through the key to the door."""
        to_key = np.maximum(self._distance(rows, self.cell, self.key), 1)
        to_door = np.maximum(self._distance(rows, self.key, self.door), 1)
        return np.stack([to_key, to_key + to_door], axis=1)

    def landmarks(self, row: int) -> list[tuple[str, Colour, int]]:
        """The door, and the key until it is taken."""
        door = ("D", ROSE, int(self.door[row]))
        return [door] if self.collected[row] else [door, ("K", GOLD, int(self.key[row]))]


def _cell_number(cell: Cell, size: int) -> int:
    row, column = cell
    if not (0 <= row < size and 0 <= column < size):
        raise ValueError(f"cell {tuple(cell)} lies outside a {size}x{size} room")
    return int(row) * size + int(column)


@cache
def _random_split(n_tasks: int) -> TaskSplit:
    return TaskSet(range(n_tasks)).shuffle(SPLIT_SEED).split(validation=HELD_OUT, test=HELD_OUT)


@cache
def _published_split() -> TaskSplit:
    test = [_cell_number(goal, 9) for goal in DARK_ROOM_TEST_GOALS]
    rest = TaskSet([goal for goal in range(81) if goal not in test]).shuffle(SPLIT_SEED)
    return TaskSplit(rest[: -len(test)], rest[-len(test) :], TaskSet(test))
