"""Task sets: which tasks a world may draw, and splits of them that cannot leak into each other.

A task is a whole number (a goal cell, a bandit's seed); its world knows what the number means. A
``TaskSet`` is an ordered collection of distinct tasks, a ``TaskSplit`` is three disjoint ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from reprlib import repr as brief
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from envs.states import checked
from envs.streams import Rows, Streams, integers
from envs.world import State, World, require_arrays

PARTS = ("train", "validation", "test")
LARGEST_SHUFFLE = 2**24  # tasks; a longer range is not worth listing one by one


class TaskSet(Sequence[int]):
    """Distinct tasks in a fixed order: a ``range`` (a space of seeds, which costs nothing) or a list.

    >>> tasks = TaskSet(range(10)).shuffle(seed=0)
    >>> len(tasks), sorted(tasks) == list(range(10)), 3 in tasks, 10 in tasks
    (10, True, True, False)
    >>> split = tasks.split(validation=0.2, test=0.2)
    >>> len(split.train), len(split.validation), len(split.test)
    (6, 2, 2)
    >>> sorted(split.select("train+validation+test")) == sorted(tasks)
    True
    """

    def __init__(self, tasks: range | Sequence[int] | NDArray[np.int64]):
        self._tasks: range | NDArray[np.int64]
        if isinstance(tasks, range) and tasks.step == 1:
            self._tasks = tasks
        else:
            told = np.asarray(tasks)
            if told.ndim != 1 or (told.dtype.kind not in "iu" and told.size) or len(np.unique(told)) != len(told):
                raise ValueError("a task set is a flat list of distinct whole numbers below 2^63")
            self._tasks = told.astype(np.int64)
            self._tasks.flags.writeable = False

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "TaskSet": ...
    def __getitem__(self, index: int | slice) -> "int | TaskSet":
        return TaskSet(self._tasks[index]) if isinstance(index, slice) else int(self._tasks[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self._tasks if isinstance(self._tasks, range) else self._tasks.tolist())

    def __contains__(self, task: object) -> bool:
        return task in self._tasks

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskSet) or len(self) != len(other):
            return False
        if isinstance(self._tasks, range) and isinstance(other._tasks, range):
            return self._tasks == other._tasks
        return len(self) <= LARGEST_SHUFFLE and bool(np.array_equal(self._tasks, other._tasks))

    __hash__ = None  # type: ignore[assignment]  # equal by content, and nothing needs it as a key

    def __repr__(self) -> str:
        return f"TaskSet({self._tasks!r})" if isinstance(self._tasks, range) else f"TaskSet({len(self)} tasks)"

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tasks that stand at ``indices`` (n,)."""
        if isinstance(self._tasks, range):
            return self._tasks.start + indices
        return self._tasks[indices]

    def has(self, tasks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of ``tasks`` (n,) is a member."""
        if isinstance(self._tasks, range):
            return (tasks >= self._tasks.start) & (tasks < self._tasks.stop)
        return np.isin(tasks, self._tasks)

    def sample(self, streams: Streams, rows: Rows) -> NDArray[np.int64]:
        """Draw one task for each of ``rows`` from its own random stream, all tasks equally likely."""
        return self.take(integers(streams, rows, len(self)))

    def choose(self, rng: np.random.Generator, size: int, replace: bool = True) -> NDArray[np.int64]:
        """Draw ``size`` tasks from a numpy generator; without ``replace`` they are distinct."""
        if not replace and size > len(self):
            raise ValueError(f"cannot choose {size} distinct tasks of {len(self)}")
        if replace:
            return self.take(rng.integers(len(self), size=size))
        return self.take(rng.choice(len(self), size=size, replace=False))

    def shuffle(self, seed: int) -> "TaskSet":
        """The same tasks in another order, which ``seed`` decides."""
        if len(self) > LARGEST_SHUFFLE:
            raise ValueError(f"{len(self)} tasks are too many to shuffle; a range of seeds needs no shuffling")
        return TaskSet(self.take(np.random.default_rng(seed).permutation(len(self))))

    def split(self, validation: float, test: float) -> "TaskSplit":
        """Cut the order into train, validation and test; the two arguments are fractions of the whole."""
        if validation < 0 or test < 0 or validation + test >= 1:
            raise ValueError(f"fractions must be >= 0 with a sum below 1, not {validation} and {test}")
        n_validation, n_test = round(validation * len(self)), round(test * len(self))
        n_train = len(self) - n_validation - n_test
        return TaskSplit(self[:n_train], self[n_train : n_train + n_validation], self[n_train + n_validation :])


@dataclass(frozen=True)
class TaskSplit:
    """Three task sets without a common member; building one with overlap is an error."""

    train: TaskSet
    validation: TaskSet
    test: TaskSet

    def __post_init__(self) -> None:
        for first, second in ((0, 1), (0, 2), (1, 2)):
            if _overlap(getattr(self, PARTS[first]), getattr(self, PARTS[second])):
                raise ValueError(f"the {PARTS[first]} and {PARTS[second]} tasks overlap")

    def select(self, split: str) -> TaskSet:
        """The tasks of one part, of several joined by "+" (as "train+validation"), or of "all"."""
        names = list(PARTS) if split == "all" else str(split).split("+")
        if not set(names) <= set(PARTS) or len(set(names)) != len(names):
            raise ValueError(f"split must be 'all', or of {PARTS} joined by '+', not {brief(split)}")
        parts = [getattr(self, name)._tasks for name in names if len(getattr(self, name))]
        if not parts:
            raise ValueError(f"the {split} split of this world has no tasks")
        if len(parts) == 1:
            return TaskSet(parts[0])
        if all(isinstance(part, range) for part in parts):
            return TaskSet(_join_ranges(parts))
        return TaskSet(np.concatenate([np.asarray(part) for part in parts]))


class TaskWorld(World):
    """A world whose tasks are numbered: it keeps each row's task and draws new ones from its task set.

    Args:
        num_envs: number of copies.
        splits: all tasks of the world, in three parts.
        split: the part to draw from: "all", "train", "validation", "test", or several joined by "+".
        tasks: draw from exactly these tasks instead of a part.
    """

    def __init__(self, num_envs: int, splits: TaskSplit, split: str = "all", tasks: Sequence[int] | None = None):
        super().__init__(num_envs)
        self.reset_options = ("task",)
        self.tasks = splits.select(split)
        self._splits = splits
        if tasks is not None:
            everything = splits.select("all")
            self.tasks = TaskSet(tasks)
            if not len(self.tasks) or not everything.has(self.tasks.take(np.arange(len(self.tasks)))).all():
                raise ValueError(f"tasks must be a non-empty list of this world's {len(everything)} tasks")
        self.task = np.zeros(num_envs, dtype=np.int64)  # (B,)

    def sample_tasks(self, rows: Rows, streams: Streams, options: Mapping[str, Any]) -> None:
        """Draw a task for each of ``rows``, or take those of ``options["task"]`` (one, or one per copy)."""
        given = options.get("task")
        tasks = self.tasks.sample(streams, rows) if given is None else self._given_tasks(given, rows)
        self.task[self.index(rows)] = tasks
        self.read_tasks(rows)

    def read_tasks(self, rows: Rows) -> None:
        """Fill the arrays that follow from ``self.task[rows]``."""
        raise NotImplementedError

    def set_state(self, state: State) -> None:
        """Continue from what ``get_state`` returned; a task that this world does not have is refused."""
        require_arrays(state, ("task",))
        task = checked("task", state["task"], self.task, (0, 2**62))
        if not self._splits.select("all").has(task).all():
            raise ValueError("state 'task' holds tasks that this world does not have")
        super().set_state(state)

    def _given_tasks(self, given: Any, rows: Rows) -> NDArray[np.int64]:
        tasks = np.asarray(given)
        if tasks.dtype.kind not in "iu" or tasks.shape not in ((), (self.num_envs,)):
            raise ValueError(f"options['task'] must be one task or {self.num_envs} tasks (whole numbers)")
        tasks = np.broadcast_to(tasks, self.num_envs)[rows].astype(np.int64)
        if not self.tasks.has(tasks).all():
            raise ValueError(f"options['task'] must lie in the tasks of this world's split, {self.tasks!r}")
        return tasks


def _overlap(first: TaskSet, second: TaskSet) -> bool:
    a, b = first._tasks, second._tasks
    if isinstance(a, range) and isinstance(b, range):
        return max(a.start, b.start) < min(a.stop, b.stop)
    return bool(second.has(np.asarray(a)).any() if isinstance(b, range) else first.has(b).any())


def _join_ranges(parts: list[range]) -> range:
    ordered = sorted(parts, key=lambda part: part.start)
    for left, right in pairwise(ordered):
        if left.stop != right.start:
            raise ValueError("these parts do not touch; join 'train+validation' or 'validation+test', or use 'all'")
    return range(ordered[0].start, ordered[-1].stop)
