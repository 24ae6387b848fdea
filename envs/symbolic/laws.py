"""Physics tasks: laws with data, in a distribution that can be sampled, ordered by difficulty and split by family."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.benchmarks import Problem, add_noise, problems
from envs.symbolic.classic_laws import CLASSIC_LAWS
from envs.symbolic.law_families import FEYNMAN_FAMILIES, TEMPLATES, fill
from envs.symbolic.text import Expression

Values = NDArray[np.float64]
Collection = Literal["classic", "large"]
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

TASKS_PER_TEMPLATE = 10
NOISE_LEVELS = (0.0, 0.001, 0.01, 0.1)  # of the large collection, drawn per task
CLASSIC_NOISE = 0.01
DUMMY_SHARE = 0.5  # of the tasks of the large collection have one or two inputs that do not matter
VALIDATION_SHARE, TEST_SHARE = 0.15, 0.25  # of the families
RELATED_DIFFICULTY = 0.3
CURRICULUM_LOW, CURRICULUM_HIGH, CURRICULUM_WIDTH = 0.2, 0.8, 0.15


@dataclass(frozen=True)
class PhysicsTask:
    """One law and how its data are drawn.

    ``variables`` are the inputs in the order of the columns: those of the law, then dummies. ``noise_level``
    is the standard deviation of the noise on the target over the target's root mean square.
    """

    name: str
    true_law: str
    variables: tuple[str, ...]
    variable_ranges: Mapping[str, tuple[float, float]]
    symmetries: tuple[str, ...]
    conserved_quantities: tuple[str, ...]
    difficulty: float
    domain: str
    family: str
    physical_parameters: tuple[str, ...]
    noise_level: float
    description: str
    problem: Problem

    @property
    def dummies(self) -> tuple[str, ...]:
        """Inputs that the law does not use."""
        return self.variables[len(self.problem.variables) :]

    def expression(self) -> Expression:
        """The law as a program of ``problem.library``."""
        return self.problem.expression()

    def generate_data(self, n: int, rng: np.random.Generator, noise: bool = True) -> Values:
        """n rows of inputs and, as the last column, the target; (n, d + 1).

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        classic = {law.name: law for law in CLASSIC_LAWS}.get(self.name)
        if classic is not None:
            X = classic.states(rng, n)
            y = self.problem.value(X)
        else:
            X, y = self.problem.draw(rng, n)
        extra = [rng.uniform(*self.variable_ranges[name], size=n) for name in self.dummies]
        target = add_noise(y, self.noise_level if noise else 0.0, rng)
        return np.column_stack([X, *extra, target])


class PhysicsTaskDistribution:
    """A distribution over physics tasks.

    Args:
        include_noise: False sets the noise of every task to 0.
        collection: "classic", nine laws of school physics; "large", these and more than 240 others.
        part: only the tasks of one part of the split by family; None: all.
        seed: of the split, of the large collection's random choices, and of sampling.

    >>> tasks = PhysicsTaskDistribution(seed=0)
    >>> len(tasks) >= 200, tasks.get_task_by_name("coulomb_law").variables
    (True, ('q1', 'q2', 'r'))
    >>> parts = [set(PhysicsTaskDistribution(part=part).families) for part in ("train", "validation", "test")]
    >>> parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2]
    set()
    """

    def __init__(
        self,
        include_noise: bool = True,
        collection: Collection = "large",
        part: Part | None = None,
        seed: int = 0,
    ):
        if collection not in ("classic", "large") or part not in (None, *PARTS):
            raise ValueError(f"collection must be 'classic' or 'large', and part one of {', '.join(PARTS)} or None")
        everything = _classic_tasks() if collection == "classic" else _large_collection(seed)
        if part is not None:
            families = split_families(tuple(dict.fromkeys(t.family for t in everything)), seed)[part]
            everything = tuple(t for t in everything if t.family in families)
        self.tasks = everything if include_noise else tuple(replace(t, noise_level=0.0) for t in everything)
        self._by_name = {task.name: task for task in self.tasks}
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families, in order of appearance."""
        return tuple(dict.fromkeys(task.family for task in self.tasks))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, in order of appearance."""
        return tuple(dict.fromkeys(task.domain for task in self.tasks))

    def sample_task(
        self,
        difficulty_range: tuple[float, float] | None = None,
        domain: str | None = None,
        require_symmetry: str | None = None,
    ) -> PhysicsTask:
        """One task at random out of those that fit.

        Raises:
            ValueError: no task fits.
        """
        fitting = [
            task
            for task in self.tasks
            if (difficulty_range is None or difficulty_range[0] <= task.difficulty <= difficulty_range[1])
            and domain in (None, task.domain)
            and (require_symmetry is None or require_symmetry in task.symmetries)
        ]
        if not fitting:
            raise ValueError(f"no task has difficulty {difficulty_range}, domain {domain}, symmetry {require_symmetry}")
        return fitting[int(self._rng.integers(len(fitting)))]

    def sample_task_batch(self, n: int, curriculum: bool = False, balanced_domains: bool = False) -> list[PhysicsTask]:
        """n tasks; with ``curriculum`` from easy to hard, with ``balanced_domains`` the domains in turn."""
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        batch = []
        order = self._rng.permutation(len(self.domains))
        for i, centre in enumerate(np.linspace(CURRICULUM_LOW, CURRICULUM_HIGH, n)):
            domain = self.domains[int(order[i % len(order)])] if balanced_domains else None
            near = None
            if curriculum:
                present = [t.difficulty for t in self.tasks if domain in (None, t.domain)]
                nearest = min(present, key=lambda d: abs(d - centre))
                width = max(CURRICULUM_WIDTH, abs(nearest - centre))  # a domain may have no task of this difficulty
                near = (float(centre - width - 1e-9), float(centre + width + 1e-9))
            batch.append(self.sample_task(near, domain))
        return batch

    def get_task_by_name(self, name: str) -> PhysicsTask:
        """The task of this name; ValueError that shows near names."""
        if name not in self._by_name:
            near = [known for known in self._by_name if name.lower() in known.lower()][:5]
            hint = f"did you mean {', '.join(near)}?" if near else "names are in .tasks"
            raise ValueError(f"no task is called {name!r}; {hint}")
        return self._by_name[name]

    def get_related_tasks(self, task: PhysicsTask | str, n: int | None = None) -> list[PhysicsTask]:
        """Other tasks of the same domain and similar difficulty, nearest difficulty first."""
        given = self.get_task_by_name(task) if isinstance(task, str) else task
        related = [
            other
            for other in self.tasks
            if other.name != given.name
            and other.domain == given.domain
            and abs(other.difficulty - given.difficulty) < RELATED_DIFFICULTY
        ]
        return sorted(related, key=lambda other: abs(other.difficulty - given.difficulty))[:n]

    def describe_task_distribution(self) -> dict[str, Any]:
        """Counts by domain and family, and the spread of difficulty, variables and noise."""
        difficulty = np.array([task.difficulty for task in self.tasks])
        return {
            "n_tasks": len(self),
            "domains": dict(Counter(task.domain for task in self.tasks)),
            "families": dict(Counter(task.family for task in self.tasks)),
            "difficulty": {"min": difficulty.min(), "mean": difficulty.mean(), "max": difficulty.max()},
            "variables": dict(Counter(len(task.variables) for task in self.tasks)),
            "noise": dict(Counter(task.noise_level for task in self.tasks)),
            "with_dummies": sum(bool(task.dummies) for task in self.tasks),
        }


def split_families(families: Sequence[str], seed: int) -> dict[Part, frozenset[str]]:
    """Whole families into train, validation and test, so that no structure is in two parts."""
    order = np.random.default_rng([seed, 1]).permutation(len(families))
    shuffled = [families[int(i)] for i in order]
    n_test = round(TEST_SHARE * len(families))
    n_validation = round(VALIDATION_SHARE * len(families))
    return {
        "test": frozenset(shuffled[:n_test]),
        "validation": frozenset(shuffled[n_test : n_test + n_validation]),
        "train": frozenset(shuffled[n_test + n_validation :]),
    }


@lru_cache(maxsize=1)
def _classic_tasks() -> tuple[PhysicsTask, ...]:
    tasks = []
    for law in CLASSIC_LAWS:
        low, high = tuple(r[0] for r in law.ranges), tuple(r[1] for r in law.ranges)
        tasks.append(
            PhysicsTask(
                law.name,
                law.formula,
                law.variables,
                dict(zip(law.variables, law.ranges, strict=True)),
                law.symmetries,
                law.conserved,
                law.difficulty,
                law.domain,
                law.name,
                law.parameters,
                CLASSIC_NOISE,
                law.description,
                Problem(law.name, "classic", law.formula, law.variables, low, high, 200),
            )
        )
    return tuple(tasks)


@lru_cache(maxsize=4)
def _large_collection(seed: int) -> tuple[PhysicsTask, ...]:
    rng = np.random.default_rng([seed, 2])
    tasks = list(_classic_tasks())
    for source in problems("feynman"):
        volume, chapter = source.name.split(".")[:2]
        family = FEYNMAN_FAMILIES[f"{volume}.{chapter}"]
        domain = {"I": "mechanics", "II": "electromagnetism", "III": "quantum"}[volume]
        difficulty = min(0.9, 0.1 + 0.05 * len(source.expression().program) / 2)
        tasks.append(_vary(source, source.name, family, domain, round(difficulty, 3), f"Feynman {source.name}", rng))
    for template in TEMPLATES:
        for i in range(TASKS_PER_TEMPLATE):
            formula, names, ranges = fill(template, rng)
            low, high = tuple(r[0] for r in ranges), tuple(r[1] for r in ranges)
            name = f"{template.name}_{i}"
            source = Problem(name, "sampled", formula, names, low, high, 200)
            text = f"a law of the form {template.name}"
            tasks.append(_vary(source, name, template.name, template.domain, template.difficulty, text, rng))
    return tuple(tasks)


def _vary(
    source: Problem, name: str, family: str, domain: str, difficulty: float, text: str, rng: np.random.Generator
) -> PhysicsTask:
    """A task with random noise and, often, dummy variables."""
    n_dummies = int(rng.integers(1, 3)) if rng.random() < DUMMY_SHARE else 0
    dummies = tuple(f"dummy{i}" for i in range(n_dummies))
    ranges = dict(zip(source.variables, zip(source.low, source.high, strict=True), strict=True))
    ranges |= dict.fromkeys(dummies, (1.0, 5.0))
    noise = NOISE_LEVELS[int(rng.integers(len(NOISE_LEVELS)))]
    return PhysicsTask(
        name,
        source.formula,
        (*source.variables, *dummies),
        ranges,
        (),
        (),
        difficulty,
        domain,
        family,
        (),
        noise,
        text,
        source,
    )
