"""How the next architecture is chosen: at random, by evolution, by local search, or by a surrogate."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from rl_suite.meta_learning.tuning.spaces import TRIES, Code, Space
from rl_suite.meta_learning.tuning.surrogate import ArchitectureProcess

TOURNAMENT = 0.2  # of the population that takes part (Real et al. 2019 had 25 of 100)
FIRST_DRAWS = 10  # random architectures before a search has something to go by
CANDIDATES = 1000  # random ones that the surrogate judges, beside the neighbours of the best
PARENTS = 10  # whose neighbours are candidates
TUNE_EVERY = 10  # evaluations between searches for the kernel's numbers

Fresh = Callable[[Code], bool]
"""Whether a code was not evaluated yet."""


class Strategy(Protocol):
    """Proposes codes and is told what they were worth; NaN: the evaluation failed."""

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """The next code to evaluate, fresh if one was found."""

    def learn(self, code: Code, value: float) -> None:
        """What a code is worth; higher is better."""


def draw_fresh(space: Space, rng: np.random.Generator, fresh: Fresh) -> Code:
    """A random code, fresh if a moderate number of draws finds one."""
    for _ in range(TRIES):
        code = space.draw(rng)
        if fresh(code):
            break
    return code


class RandomSearch:
    """All architectures equally likely, none twice (Li and Talwalkar 2019, arXiv:1902.07638)."""

    def __init__(self, space: Space):
        self.space = space

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """A random code."""
        return draw_fresh(self.space, rng, fresh)

    def learn(self, code: Code, value: float) -> None:
        """Nothing: random search does not learn."""


class AgingEvolution:
    """The best of a random sample of the living has one child; the oldest dies (Real et al. 2019, arXiv:1802.01548)."""

    def __init__(self, space: Space, population_size: int):
        self.space, self.size = space, population_size
        self.living: deque[tuple[float, Code]] = deque()
        self.born = 0

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """A random code while the population grows, then a changed winner."""
        if self.born < self.size or not self.living:
            return draw_fresh(self.space, rng, fresh)
        for _ in range(TRIES):
            entrants = rng.choice(len(self.living), max(1, round(TOURNAMENT * len(self.living))), replace=False)
            parent = max(self.living[int(i)] for i in entrants)[1]
            child = self.space.change(parent, rng)
            if fresh(child):
                return child
        return draw_fresh(self.space, rng, fresh)

    def learn(self, code: Code, value: float) -> None:
        """The child lives; a failed one does not."""
        self.born += 1
        if np.isfinite(value):
            self.living.append((value, code))
            if len(self.living) > self.size:
                self.living.popleft()


class LocalSearch:
    """From the best of some random architectures to better neighbours, until there are none; then anew (White et al.
    2021, arXiv:2005.02960)."""

    def __init__(self, space: Space):
        self.space = space
        self.start()

    def start(self) -> None:
        """Begin anew, without what was found."""
        self.drawn, self.value = 0, -np.inf
        self.best: Code | None = None
        self.waiting: list[Code] | None = None

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """A neighbour of the best that is not known yet."""
        if self.drawn >= FIRST_DRAWS and self.best is not None:
            if self.waiting is None:
                near = self.space.neighbours(self.best)
                self.waiting = [near[int(i)] for i in rng.permutation(len(near))]
            while self.waiting:
                code = self.waiting.pop()
                if fresh(code):
                    return code
            self.start()
        return draw_fresh(self.space, rng, fresh)

    def learn(self, code: Code, value: float) -> None:
        """Move to what is better."""
        self.drawn += 1
        if np.isfinite(value) and value > self.value:
            self.best, self.value, self.waiting = code, value, None


class SurrogateSearch:
    """What a Gaussian process expects most of, among random codes and the neighbours of the best."""

    def __init__(self, space: Space):
        self.space, self.process = space, ArchitectureProcess(space)
        self.codes: list[Code] = []
        self.values: list[float] = []
        self.tried: list[Code] = []
        self.worked: list[bool] = []
        self.tuned = 0

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """The code with the largest expected improvement."""
        if len(self.codes) < FIRST_DRAWS:
            return draw_fresh(self.space, rng, fresh)
        tune = len(self.codes) >= self.tuned + TUNE_EVERY or not self.tuned
        self.tuned = len(self.codes) if tune else self.tuned
        self.process.fit(self.codes, np.array(self.values), tune)
        best_first = np.argsort(self.values)[::-1][:PARENTS]
        drawn = [self.space.draw(rng) for _ in range(CANDIDATES)]
        near = [code for i in best_first for code in self.space.neighbours(self.codes[int(i)])]
        candidates = [code for code in dict.fromkeys([*near, *drawn]) if fresh(code)]
        if not candidates:
            return draw_fresh(self.space, rng, fresh)
        gain = self.process.expected_improvement(candidates)
        if not all(self.worked):
            gain = gain * self.process.chance(candidates, self.tried, np.array(self.worked, dtype=float))
        return candidates[int(np.argmax(gain))]

    def learn(self, code: Code, value: float) -> None:
        """One more observation; of failures only that they failed."""
        self.tried.append(code)
        self.worked.append(bool(np.isfinite(value)))
        if np.isfinite(value):
            self.codes.append(code)
            self.values.append(value)
