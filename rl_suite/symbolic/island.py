"""One population of programs that is bred for one target in one family of frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.tokens import PAD
from rl_suite.symbolic.breeding import Rates, breed
from rl_suite.symbolic.frames import Target
from rl_suite.symbolic.genome import FAMILY, Alphabet, Tokens, Values
from rl_suite.symbolic.scoring import Scorer

TOURNAMENT = 5
ELITE_SHARE = 0.1
FRESH_SIZE = 12  # longest random tree
IMPROVEMENT = 0.98  # a program is worth finishing if its error is below this share of the best of its length


@dataclass(frozen=True)
class Niche:
    """What an island is for: a transformed target, the frames allowed, and whether programs are cut into genes."""

    transform: str
    frames: tuple[bool, bool, bool]
    split: bool


_SUM, _POWER, _EXPONENTIAL = (True, False, False), (False, True, False), (False, False, True)
NICHES = (
    Niche("identity", _SUM, True),
    Niche("identity", _POWER, True),
    Niche("identity", _POWER, False),
    Niche("identity", _EXPONENTIAL, False),
    Niche("identity", (True, True, True), True),
    Niche("square", _SUM, True),
    Niche("inverse", _SUM, True),
    Niche("exp", (True, True, False), True),
    Niche("sin", (True, True, False), False),
)


@dataclass
class Candidate:
    """A program that beat everything of its length on its island."""

    tokens: Tokens
    values: Values
    frame: int
    error: float


class Island:
    """A population; ``step`` breeds, scores and replaces it."""

    def __init__(
        self, niche: Niche, target: Target, alphabet: Alphabet, population: int, max_length: int, stream: np.uint64
    ):
        self.niche, self.target, self.alphabet = niche, target, alphabet
        self.max_length, self.size = max_length, population
        self.stream = np.array([stream], dtype=np.uint64)
        self.tokens = np.full((0, max_length), PAD, np.int16)
        self.values = np.zeros((0, max_length))
        self.lengths = np.zeros(0, np.int64)
        self.error = np.zeros(0)
        self.frame = np.zeros(0, np.int64)
        self.best = np.full(max_length + 1, np.inf)  # least error of any program of at most this length
        n = len(target.t)
        self.parsimony = min(0.02, 2.4 / n)  # of log10 error per token: 4 bits at n points
        self._rates = Rates().cumulative(alphabet.constant_id >= 0)

    @property
    def score(self) -> Values:
        """What tournaments compare; less is better."""
        return np.asarray(np.log10(self.error + 1e-30) + self.parsimony * self.lengths)

    def step(
        self, scorer: Scorer, table: NDArray[np.uint64], guests: tuple[Tokens, Values] | None = None
    ) -> tuple[int, list[Candidate]]:
        """One generation: (programs evaluated, those worth finishing). ``guests`` join the children."""
        children = np.full((self.size, self.max_length), PAD, np.int16)
        values = np.zeros((self.size, self.max_length))
        lengths = np.zeros(self.size, np.int64)
        alphabet = self.alphabet
        made = breed(
            self.tokens,
            self.values,
            self.lengths,
            self.score,
            children,
            values,
            lengths,
            self._rates,
            TOURNAMENT,
            self.max_length,
            FRESH_SIZE,
            self.stream,
            table,
            alphabet.arity,
            alphabet.opcode,
            alphabet.leaves,
            alphabet.leaf_cdf,
            alphabet.unary,
            alphabet.binary,
            FAMILY,
            scorer.units,
            scorer.rules,
        )
        children, values, lengths = children[:made], values[:made], lengths[:made]
        if guests is not None and len(guests[0]):
            children = np.concatenate([children, guests[0]])
            values = np.concatenate([values, guests[1]])
            lengths = np.concatenate([lengths, (guests[0] != PAD).sum(1)])
        n = len(children)
        if n == 0:
            return 0, []
        error, frame = scorer.score(children, values, lengths, n, self.target, self.niche.frames, self.niche.split)
        found = self._candidates(children, values, lengths, error, frame)
        keep = np.argsort(self.score, kind="stable")[: int(ELITE_SHARE * self.size)]
        self.tokens = np.concatenate([children, self.tokens[keep]])
        self.values = np.concatenate([values, self.values[keep]])
        self.lengths = np.concatenate([lengths, self.lengths[keep]])
        self.error = np.concatenate([error, self.error[keep]])
        self.frame = np.concatenate([frame, self.frame[keep]])
        return n, found

    def _candidates(
        self, tokens: Tokens, values: Values, lengths: NDArray[np.int64], error: Values, frame: NDArray[np.int64]
    ) -> list[Candidate]:
        found = []
        for i in np.lexsort((lengths, error))[:64]:
            if error[i] < IMPROVEMENT * self.best[lengths[i]]:
                self.best[lengths[i] :] = np.minimum(self.best[lengths[i] :], error[i])
                n = int(lengths[i])
                found.append(Candidate(tokens[i, :n].copy(), values[i, :n].copy(), int(frame[i]), float(error[i])))
        return found

    def state(self) -> dict[str, NDArray]:
        """Everything that the next generation depends on."""
        names = ("tokens", "values", "lengths", "error", "frame", "best", "stream")
        return {name: getattr(self, name).copy() for name in names}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Continue from :meth:`state`."""
        for name, value in state.items():
            setattr(self, name, value.copy())
