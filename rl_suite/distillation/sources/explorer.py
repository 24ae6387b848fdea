"""A structured explorer of grids: to the nearest cell not seen lately, and back to what paid.

It is no learning algorithm, and is not called one: it is a cheap demonstrator of exploring and exploiting. Its
actions are noisy while its labels say what it meant to do, so that a student learns to recover (Laskey et al. 2017,
"DART: Noise Injection for Robust Imitation Learning", arXiv:1703.09327).
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.grid_kernels import MOVES, N_ACTIONS, next_cells
from envs.kernel_cache import kernel

NEVER = -(2**30)
PLANS_TRIED = 32
STAY = MOVES.index((0, 0))


class Explorer:
    """Explores N grids at once.

    What is looked for may change within an episode: stage s begins with the s-th reward of the episode (Key-to-Door:
    0 looks for the key, 1 for the door). Places are remembered per stage. After the last stage it stays where it is.

    Args:
        n: number of grids.
        size: cells per side.
        n_stages: rewards to be found one after the other.
        stay_on_goal: the last reward is paid at every step on its cell (else once per episode).
        memory: steps for which it remembers having been on a cell.
        noise: probability of a uniformly random action instead of the intended one.
        forget: fraction of the visited cells that it forgets before each episode.
        rng: source of all randomness.
        detours: fraction of the episodes in which it goes on searching whatever it knows. The labels still say where it
            should go: they show the way from everywhere, not from the short way alone.
    """

    def __init__(
        self,
        n: int,
        size: int,
        n_stages: int,
        stay_on_goal: bool,
        memory: int,
        noise: float,
        forget: float,
        rng: np.random.Generator,
        detours: float = 0.0,
    ):
        self.n, self.size, self.n_stages, self.stay_on_goal = n, size, n_stages, stay_on_goal
        self.memory, self.noise, self.forget, self.rng = memory, noise, forget, rng
        self.known = np.full((n, n_stages), -1, dtype=np.int64)  # cell that paid in each stage
        self.seen_at = np.full((n, n_stages, size**2), NEVER, dtype=np.int64)  # last step spent on each cell
        self.stage = np.zeros(n, dtype=np.int64)
        self.detours, self.on_detour = detours, np.zeros(n, dtype=np.bool_)
        self.now = 0
        self._next_cell = next_cells(size)

    def begin_episode(self) -> None:
        """Forget a part of what was seen, and look for the first reward again."""
        self.stage[:] = 0
        self.seen_at[self.rng.random(self.seen_at.shape) < self.forget] = NEVER
        if self.detours:
            self.on_detour = self.rng.random(self.n) < self.detours

    def act(self, observations: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Actions (N,) at the present rows and columns (N, 2), and the probabilities (N, 5) of what was meant."""
        cells = self._cells(observations)
        meant = np.zeros((self.n, N_ACTIONS), dtype=np.float32)
        still_looking = np.minimum(self.stage, self.n_stages - 1)
        rows = np.arange(self.n)
        self.seen_at[rows, still_looking, cells] = self.now
        known = np.where(self.stage < self.n_stages, self.known[rows, still_looking], cells)
        search, seen_at = self._search(cells), self.seen_at[rows, still_looking]
        room = seen_at, self.now - self.memory, self.size, self._next_cell
        _intend(cells, np.where(known < 0, search, known), *room, meant)
        ways = meant
        if (detour := self.on_detour & (self.stage < self.n_stages)).any():
            ways = np.zeros_like(meant)
            _intend(cells, np.where(detour | (known < 0), search, known), *room, ways)
        drawn = self.rng.random((self.n, 1)) * ways.sum(axis=1, keepdims=True)
        actions = np.minimum((ways.cumsum(axis=1) <= drawn).sum(axis=1), N_ACTIONS - 1)
        random = self.rng.random(self.n) < self.noise
        actions[random] = self.rng.integers(N_ACTIONS, size=int(random.sum()))
        self.now += 1
        return actions, meant

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """Take note of the cells (N, 2) that the last step reached and the rewards (N,) it earned."""
        cells = self._cells(observations)
        paid = np.flatnonzero((rewards > 0) & (self.stage < self.n_stages))
        self.known[paid, self.stage[paid]] = cells[paid]
        last = self.stage[paid] == self.n_stages - 1
        self.stage[paid] += ~last if self.stay_on_goal else 1

    def _search(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where to look (N,) while nothing is known; -1 = the nearest cell not seen lately."""
        return np.full(self.n, -1, dtype=np.int64)

    def _cells(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        cells: NDArray[np.int64] = observations[:, 0].astype(np.int64) * self.size + observations[:, 1]
        return cells


class Sweeper(Explorer):
    """Searches by a fixed plan: episode e follows path e, and the paths together see every cell.

    What it does next follows from its last episode alone, however large the room, where the explorer's next step
    depends on hundreds of steps. It needs episodes that all start on the same cell. The plan is what an explorer
    without noise does in an empty room.

    Args:
        n, size, n_stages, stay_on_goal, noise, rng, detours: as for :class:`Explorer`.
        episode_steps: steps of each path, at most those of an episode; then it waits. One less lets the last cell's
            reward be seen where it was earned, before the next episode begins.
    """

    def __init__(
        self,
        n: int,
        size: int,
        n_stages: int,
        stay_on_goal: bool,
        noise: float,
        episode_steps: int,
        rng: np.random.Generator,
        detours: float = 0.0,
    ):
        super().__init__(n, size, n_stages, stay_on_goal, 1, noise, 0.0, rng, detours)
        self.episode_steps, self.episode, self.step = episode_steps, -1, 0
        self.plan: NDArray[np.int64] | None = None  # (paths, episode_steps + 1) cells

    def begin_episode(self) -> None:
        """Take the next path."""
        super().begin_episode()
        self.episode, self.step = self.episode + 1, 0

    def learn(self, observations: NDArray[Any], rewards: NDArray[np.float64]) -> None:
        """One step further on the path."""
        super().learn(observations, rewards)
        self.step += 1

    def _search(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """The path's next cell, or one a little ahead for those who strayed."""
        if self.plan is None:
            if (cells != cells[0]).any():
                raise ValueError("a sweep needs episodes that all start on the same cell; use the explorer")
            self.plan = sweep_plan(self.size, int(cells[0]), self.episode_steps)
        path = self.plan[self.episode % len(self.plan)]
        following, ahead = path[min(self.step + 1, self.episode_steps)], path[min(self.step + 3, self.episode_steps)]
        away = np.abs(cells // self.size - following // self.size) + np.abs(cells % self.size - following % self.size)
        target: NDArray[np.int64] = np.where(away <= 1, following, ahead)
        return target


@cache
def sweep_plan(size: int, start: int, episode_steps: int) -> NDArray[np.int64]:
    """Paths from ``start`` that together see every cell of a room, (paths, episode_steps + 1) cells.

    The shortest of several random plans.

    >>> plan = sweep_plan(9, 40, 20)
    >>> sorted(set(plan.ravel().tolist())) == list(range(81)), len(plan) < 10
    (True, True)
    """
    plans = (_random_plan(size, start, episode_steps, np.random.default_rng(seed)) for seed in range(PLANS_TRIED))
    return min(plans, key=len)


def _random_plan(size: int, start: int, episode_steps: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """What an explorer without noise does in an empty room until it has seen all of it."""
    explorer = Explorer(1, size, 1, True, 2**30, 0.0, 0.0, rng)
    paths: list[list[int]] = []
    while len({cell for path in paths for cell in path}) < size**2:
        explorer.begin_episode()
        path = [start] if paths else [start, start]  # a goal on the first cell is found by staying once
        while len(path) <= episode_steps:
            actions, _ = explorer.act(np.array([divmod(path[-1], size)]))
            path.append(int(explorer._next_cell[path[-1], actions[0]]))
        paths.append(path)
        if len(paths) > size**2:
            raise ValueError(f"episodes of {episode_steps} steps are too short to see all of a {size}x{size} room")
    return np.array(paths)


@kernel()
def _intend(
    cells: NDArray[np.int64],
    target: NDArray[np.int64],
    seen_at: NDArray[np.int64],
    oldest: int,
    size: int,
    next_cell: NDArray[np.int64],
    meant: NDArray[np.float32],
) -> None:
    """Write uniform probabilities over the first moves of all shortest ways to the target, or to the nearest cell
    that was not seen since ``oldest``; with neither, over all moves."""
    for i in range(len(cells)):
        row, column = divmod(cells[i], size)
        if target[i] == cells[i]:
            meant[i, STAY] = 1.0
            continue
        nearest = 2 * size
        if target[i] < 0:
            for cell in range(size * size):
                if seen_at[i, cell] <= oldest:
                    nearest = min(nearest, abs(cell // size - row) + abs(cell % size - column))
        for cell in range(size * size):
            away = abs(cell // size - row) + abs(cell % size - column)
            if cell == target[i] or (target[i] < 0 and away == nearest and seen_at[i, cell] <= oldest):
                for action in range(N_ACTIONS):
                    there = next_cell[cells[i], action]
                    if abs(cell // size - there // size) + abs(cell % size - there % size) < away:
                        meant[i, action] = 1.0
        total = meant[i].sum()
        for action in range(N_ACTIONS):
            meant[i, action] = meant[i, action] / total if total > 0 else 1.0 / N_ACTIONS
