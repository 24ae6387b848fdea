"""One population of programs that is bred for one target in one family of frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from envs.states import Bound, checked
from envs.symbolic.tokens import PAD, are_whole
from envs.world import require_arrays
from rl_suite.symbolic.evolution.breeding import Rates, Recipe, breed
from rl_suite.symbolic.evolution.frames import Target
from rl_suite.symbolic.evolution.genome import Alphabet, Programs, Tokens, Values
from rl_suite.symbolic.evolution.scoring import Scorer
from rl_suite.symbolic.laws.price import token_bits

MOST_PROGRAMS = 4  # populations: children, guests and the elite of the generation before
ANY: Bound = (-np.inf, np.inf)  # but NaN
TOURNAMENT = 5
ELITE_SHARE = 0.1
FRESH_SIZE = 12  # longest random tree
IMPROVEMENT = 0.9  # a program is finished if its error is below this share of the best of its length, ...
CLOSE_ESTIMATE, MAX_CLOSE = 25.0, 3  # bits; ... or if its estimated price is so near the best; so many per generation


@dataclass(frozen=True)
class Niche:
    """What an island is for: a transformed target, the frames allowed, and whether programs are cut into genes.

    ``scaled``: the target is divided by a product of powers of its unit, and programs are made of pure numbers.
    """

    transform: str
    frames: tuple[bool, bool, bool]
    split: bool
    scaled: bool = False


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
PURE_NICHES = tuple(Niche(name, _SUM, True, scaled=True) for name in ("identity", "square", "inverse"))


def parsimony(n: int) -> float:
    """What a token costs in log10 of the error: four bits at n points, but no more than 0.02."""
    return min(0.02, 2.4 / n)


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
        self,
        niche: Niche,
        targets: Sequence[Target],
        alphabet: Alphabet,
        population: int,
        max_length: int,
        stream: np.uint64,
        n_points: int,
    ):
        self.niche, self.targets, self.alphabet = niche, targets, alphabet
        self.max_length, self.size = max_length, population
        self.stream = np.array([stream], dtype=np.uint64)
        self.salt = stream  # what another island has tried may be worth trying here
        self.tokens = np.full((0, max_length), PAD, np.int16)
        self.values = np.zeros((0, max_length))
        self.lengths = np.zeros(0, np.int64)
        self.error = np.zeros(0)
        self.frame = np.zeros(0, np.int64)
        self.best = np.full(max_length + 1, np.inf)  # least error of any program of at most this length
        self.parsimony = parsimony(sum(len(target.t) for target in targets))
        self.n_points = n_points  # of all data, on which laws are chosen
        self.best_price = np.inf
        self.newcomers = slice(0, 0)  # where the guests of the last generation stand
        self._tried: set[float] = set()
        rates = Rates().cumulative(alphabet.constant_id >= 0)
        self._recipe = Recipe(rates, TOURNAMENT, max_length, FRESH_SIZE)

    @property
    def _programs(self) -> Programs:
        return Programs(self.tokens, self.values, self.lengths)

    @property
    def score(self) -> Values:
        """What tournaments compare; less is better."""
        return np.asarray(np.log10(self.error + 1e-30) + self.parsimony * self.lengths)

    def step(
        self, scorer: Scorer, table: NDArray[np.uint64], guests: tuple[Tokens, Values] | None, most: int
    ) -> tuple[int, list[Candidate]]:
        """One generation: (programs evaluated, at most ``most``; those worth finishing). ``guests`` join in."""
        guests = None if guests is None else (guests[0][:most], guests[1][:most])
        size = min(self.size, most - (0 if guests is None else len(guests[0])))
        children = np.full((size, self.max_length), PAD, np.int16)
        values = np.zeros((size, self.max_length))
        lengths = np.zeros(size, np.int64)
        offspring, symbols = Programs(children, values, lengths), self.alphabet.symbols
        made = breed(
            self._programs, self.score, offspring, self._recipe, symbols, scorer.dimensions, table, self.salt,
            self.stream,
        )  # fmt: skip
        children, values, lengths = children[:made], values[:made], lengths[:made]
        self.newcomers = slice(made, made + (0 if guests is None else len(guests[0])))
        if guests is not None and len(guests[0]):
            children = np.concatenate([children, guests[0]])
            values = np.concatenate([values, guests[1]])
            lengths = np.concatenate([lengths, (guests[0] != PAD).sum(1)])
        n = len(children)
        if n == 0:
            return 0, []
        programs = Programs(children, values, lengths)
        error, frame = scorer.score(programs, self.targets, self.niche.frames, self.niche.split)
        found = self._candidates(children, values, lengths, error, frame)
        keep = np.argsort(self.score, kind="stable")[: int(ELITE_SHARE * self.size)]
        self.tokens = np.concatenate([children, self.tokens[keep]])
        self.values = np.concatenate([values, self.values[keep]])
        self.lengths = np.concatenate([lengths, self.lengths[keep]])
        self.error = np.concatenate([error, self.error[keep]])
        self.frame = np.concatenate([frame, self.frame[keep]])
        return n, found

    def change_targets(self, targets: Sequence[Target], scorer: Scorer) -> None:
        """Measure the population anew on other rows."""
        self.targets = targets
        self.parsimony = parsimony(sum(len(target.t) for target in targets))
        self.best[:] = np.inf
        self.best_price = np.inf
        self._tried.clear()
        if len(self.lengths):
            found = scorer.score(self._programs, targets, self.niche.frames, self.niche.split)
            self.error, self.frame = found

    def _candidates(
        self, tokens: Tokens, values: Values, lengths: NDArray[np.int64], error: Values, frame: NDArray[np.int64]
    ) -> list[Candidate]:
        estimate = 0.5 * self.n_points * np.log2(error + 1e-26) + token_bits(self.n_points) * lengths
        found: list[Candidate] = []
        close = 0
        for i in np.argsort(estimate, kind="stable")[:64]:
            n = int(lengths[i])
            if not np.isfinite(error[i]):
                break
            key = round(float(np.log(error[i] + 1e-30)), 9) + 100.0 * float(frame[i])
            new = key not in self._tried  # the same error in the same frame is the same law written otherwise
            near = new and close < MAX_CLOSE and estimate[i] < self.best_price + CLOSE_ESTIMATE
            if near or error[i] < IMPROVEMENT * self.best[n]:
                close += near
                self._tried.add(key)
                self.best[n:] = np.minimum(self.best[n:], error[i])
                self.best_price = min(self.best_price, float(estimate[i]))
                found.append(Candidate(tokens[i, :n].copy(), values[i, :n].copy(), int(frame[i]), float(error[i])))
        return found

    def state(self) -> dict[str, NDArray]:
        """Everything that the next generation depends on."""
        names = ("tokens", "values", "lengths", "error", "frame", "best", "stream")
        arrays = {name: getattr(self, name).copy() for name in names}
        return {**arrays, "price": np.array([self.best_price]), "tried": np.array(sorted(self._tried))}

    def restore(self, state: dict[str, NDArray]) -> None:
        """Continue from :meth:`state`.

        Raises:
            ValueError: an array is missing, does not fit the others, or holds what no program is.
        """
        names = ("tokens", "values", "lengths", "error", "frame", "best", "stream", "price", "tried")
        require_arrays(state, names)
        n = len(np.atleast_1d(state["lengths"]))
        if n > MOST_PROGRAMS * self.size:
            raise ValueError(f"{n} programs are more than {MOST_PROGRAMS} populations")
        like: dict[str, tuple[DTypeLike, tuple[int, ...], Bound]] = {
            "tokens": (np.int16, (n, self.max_length), (PAD, len(self.alphabet.library) - 1)),
            "values": (np.float64, (n, self.max_length), ANY),
            "lengths": (np.int64, (n,), (1, self.max_length)),
            "error": (np.float64, (n,), ANY),
            "frame": (np.int64, (n,), (0, len(self.niche.frames) - 1)),
            "best": (np.float64, self.best.shape, ANY),
            "stream": (np.uint64, (1,), (0, 2**64)),
            "price": (np.float64, (1,), ANY),
            "tried": (np.float64, (np.size(state["tried"]),), ANY),
        }
        arrays = {
            name: checked(name, state[name], np.broadcast_to(np.zeros((), kind), shape), bound)
            for name, (kind, shape, bound) in like.items()
        }
        if not are_whole(arrays["tokens"], arrays["lengths"], self.alphabet.library.arity).all():
            raise ValueError("state 'tokens' holds what is no whole program")
        for name in names[:-2]:
            setattr(self, name, arrays[name].copy())
        self.best_price = float(arrays["price"][0])
        self._tried = set(arrays["tried"].tolist())
