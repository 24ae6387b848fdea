"""How the next architecture is chosen: at random, by evolution, by local search, or by a surrogate."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from rl_suite.meta_learning.tuning.objectives import Values, judge
from rl_suite.meta_learning.tuning.spaces import TRIES, Code, Space
from rl_suite.meta_learning.tuning.surrogate import (
    NOISE,
    ArchitectureProcess,
    Candidates,
    expected_improvement,
    normal_scores,
)

TOURNAMENT = 0.2  # of the population that takes part (Real et al. 2019 had 25 of 100)
FIRST_DRAWS = 10  # random architectures before a search has something to go by
ALL_BELOW = 100_000  # architectures that the surrogate judges all
KEPT_NUMBERS = 40_000_000  # observations times architectures, that are kept for that
CANDIDATES = 1000  # random ones in larger spaces, beside the neighbours of the best
PARENTS = 10  # whose neighbours are candidates

Fresh = Callable[[Code], bool]
"""Whether a code was not evaluated yet."""


class Strategy:
    """Proposes codes and is told what they were worth."""

    def __init__(self, space: Space):
        self.space = space

    def prepare(self, evaluate: Callable[..., Any], rng: np.random.Generator) -> None:
        """What has to be done before the first proposal."""

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """The next code to evaluate, fresh if one was found."""
        raise NotImplementedError

    def wait(self, code: Code) -> None:
        """A code is being evaluated while others are proposed."""

    def learn(self, code: Code, values: Values | None) -> None:
        """What a code is worth, higher being better in every objective; None: the evaluation failed."""

    def summary(self) -> dict[str, Any]:
        """What else there is to say about the search."""
        return {}


def draw_fresh(space: Space, rng: np.random.Generator, fresh: Fresh) -> Code:
    """A random code, fresh if a moderate number of draws finds one."""
    for _ in range(TRIES):
        code = space.draw(rng)
        if fresh(code):
            break
    return code


class RandomSearch(Strategy):
    """All architectures equally likely, none twice (Li and Talwalkar 2019, arXiv:1902.07638)."""

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """A random code."""
        return draw_fresh(self.space, rng, fresh)


class AgingEvolution(Strategy):
    """The best of a random sample of the living has one child; the oldest dies (Real et al. 2019, arXiv:1802.01548)."""

    def __init__(self, space: Space, population_size: int):
        super().__init__(space)
        self.size = population_size
        self.living: deque[tuple[Values, Code]] = deque()
        self.born = 0

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """A random code while the population grows, then a changed winner."""
        if self.born < self.size or not self.living:
            return draw_fresh(self.space, rng, fresh)
        for _ in range(TRIES):
            entrants = rng.choice(len(self.living), max(1, round(TOURNAMENT * len(self.living))), replace=False)
            scores = judge([self.living[int(i)][0] for i in entrants], rng)
            parent = max((float(score), self.living[int(i)][1]) for score, i in zip(scores, entrants, strict=True))[1]
            child = self.space.change(parent, rng)
            if fresh(child):
                return child
        return draw_fresh(self.space, rng, fresh)

    def learn(self, code: Code, values: Values | None) -> None:
        """The child lives; a failed one does not."""
        self.born += 1
        if values is not None:
            self.living.append((values, code))
            if len(self.living) > self.size:
                self.living.popleft()


class LocalSearch(Strategy):
    """From the best of some random architectures to better neighbours, until there are none; then anew (White et al.
    2021, arXiv:2005.02960). For one objective."""

    def __init__(self, space: Space):
        super().__init__(space)
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

    def learn(self, code: Code, values: Values | None) -> None:
        """Move to what is better."""
        self.drawn += 1
        if values is not None and values[0] > self.value:
            self.best, self.value, self.waiting = code, values[0], None


class SurrogateSearch(Strategy):
    """What a Gaussian process expects most of: among all codes of the space, or in a large one among random codes and
    the neighbours of the best.

    Expected improvement of a noisy evaluation: what is measured is ranked, and not what lies behind it. Codes that are
    being evaluated count as observed, with the value that is expected of them.
    """

    def __init__(self, space: Space):
        super().__init__(space)
        self.process = ArchitectureProcess(space)
        self.codes: list[Code] = []
        self.values: list[Values] = []
        self.tried: list[tuple[Code, bool]] = []
        self.waiting: list[Code] = []
        self.everything: Candidates | None = None
        self.told = 0  # of ``tried``, to ``everything``

    def propose(self, rng: np.random.Generator, fresh: Fresh) -> Code:
        """The code with the largest expected improvement."""
        if len(self.codes) < FIRST_DRAWS:
            return draw_fresh(self.space, rng, fresh)
        pool = self._pool(rng)
        self.process.see([*self.codes, *self.waiting], pool)
        scores = normal_scores(judge(self.values, rng))
        gain = expected_improvement(self.process.mean(pool, scores), pool.variance + np.float32(NOISE), scores.max())
        if not all(worked for _, worked in self.tried):
            gain *= pool.chance(len(self.codes) / len(self.tried))
        for place in np.argsort(-gain, kind="stable"):
            code = tuple(map(int, pool.codes[place]))
            if fresh(code):
                return code
        return draw_fresh(self.space, rng, fresh)

    def _pool(self, rng: np.random.Generator) -> Candidates:
        """All codes, with what is known of them, or some of a large space."""
        if self.space.size <= ALL_BELOW and self.space.size * (len(self.tried) + 1) <= KEPT_NUMBERS:
            if self.everything is None:
                self.everything = Candidates(self.space, list(self.space.all()))
            for code, worked in self.tried[self.told :]:
                self.everything.tell(self.space, code, worked)
            self.told = len(self.tried)
            return self.everything
        self.everything = None
        self.told = 0
        best_first = np.argsort(-judge(self.values, rng), kind="stable")[:PARENTS]
        near = [code for i in best_first for code in self.space.neighbours(self.codes[int(i)])]
        drawn = [self.space.draw(rng) for _ in range(CANDIDATES)]
        pool = Candidates(self.space, list(dict.fromkeys([*near, *drawn])))
        for code, worked in self.tried:
            pool.tell(self.space, code, worked)
        return pool

    def wait(self, code: Code) -> None:
        """One more that is as good as observed."""
        self.waiting.append(code)

    def learn(self, code: Code, values: Values | None) -> None:
        """One more observation; of failures only that they failed."""
        if code in self.waiting:
            self.waiting.remove(code)
        self.tried.append((code, values is not None))
        if values is not None:
            self.codes.append(code)
            self.values.append(values)
