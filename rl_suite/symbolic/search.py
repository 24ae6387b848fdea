"""The search: islands of programs in frames, a policy that seeds them, finished laws in an archive.

One step breeds one generation on every island. Programs that beat all of their length are finished (their
frame is fitted, exponents and constants are recognised) and offered to the archive, which keeps the law of
least description length. Everything is drawn from one seed and computed in one order, so that the same
seed gives the same laws; the budget counts evaluations of programs on the data, not seconds.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.symbolic.program import evaluate_programs
from envs.symbolic.tokens import CONSTANT, Library
from envs.symbolic.units import Units, format_unit
from rl_suite.symbolic.archive import Archive, noise_is_left
from rl_suite.symbolic.assembly import assemble
from rl_suite.symbolic.frames import ADDITIVE, MAX_GENES, POWER, SINGLE, TRANSFORMS, Target, cut_genes, make_target
from rl_suite.symbolic.genome import Alphabet
from rl_suite.symbolic.inputs import inputs_of
from rl_suite.symbolic.island import NICHES, PURE_NICHES, Candidate, Island, Niche
from rl_suite.symbolic.law import Law
from rl_suite.symbolic.openings import openings, peeled_openings
from rl_suite.symbolic.pieces import Piece, from_program, number
from rl_suite.symbolic.polish import Polisher
from rl_suite.symbolic.records import archive_record, read_archive
from rl_suite.symbolic.scoring import Scorer
from rl_suite.symbolic.unit_check import RULES, RULES_FREE_CONSTANTS, infer

if TYPE_CHECKING:
    from rl_suite.symbolic.guidance import Guidance

Values = NDArray[np.float64]
MAX_FINISHED = 8  # candidates finished per island and generation, cheapest first
MIGRATION_EVERY = 10  # generations
MIGRANTS = 10
CLOSE_BITS = 20.0  # a law whose unfinished price is further behind the best is kept as it is
GRACE = 4_000  # evaluations after an exact law
WIDE_POINTS, WIDEN_AFTER, NOISY = 500, 20_000, 1e-6  # rows, evaluations, NMSE above which noise is suspected
PATIENCE = 40_000  # evaluations without a better law before noise may end the search
FEW_ROWS, FEW_ROWS_FACTOR = 50, 2  # below so many rows the tests for noise are weak: wait longer


@dataclass(frozen=True)
class Options:
    """What to search with; the defaults suit data of physics."""

    functions: tuple[str, ...] = ("add", "sub", "mul", "div", "sq", "sqrt", "exp", "log", "sin", "cos", "tanh")
    literals: tuple[str, ...] = ("1", "2", "pi")
    constant: bool = False
    max_length: int = 32
    population: int = 400
    search_points: int = 200
    niches: tuple[Niche, ...] = NICHES
    polynomials: bool = True
    policy: bool = False
    stop_at_noise: bool = True
    known: str | None = None


@dataclass(frozen=True)
class Data:
    """Points X (n, d), target y (n,), names, and units if they are known."""

    X: Values
    y: Values
    variables: tuple[str, ...]
    units: Units | None = None
    target: str = field(default="y")


class Search:
    """Search laws for data; call :meth:`step` until ``done``, or :meth:`run`.

    Args:
        data: the observations.
        options: what to search with.
        seed: of every random choice.
        budget: evaluations.
    """

    def __init__(self, data: Data, options: Options, seed: int, budget: int):
        self.data, self.options, self.budget, self.seed = data, options, budget, seed
        self.output = Library("full", data.variables, constant=True)
        self._inputs = inputs_of(data.X, data.variables, data.units, options.known)
        names = self._inputs.names
        self.library = Library(options.functions, names, literals=options.literals, constant=options.constant)
        self.alphabet = Alphabet(self.library)
        pure = np.isin(np.arange(len(names)), self._inputs.pure)
        self._pure_alphabet = Alphabet(self.library, pure) if pure.any() else self.alphabet
        self.archive = Archive()
        self.polisher = Polisher(data.X, data.y)
        self._all_columns = Polisher(self._inputs.columns, data.y).X
        self.evaluations = self.generation = 0
        self.reason = ""
        rng = np.random.default_rng(seed)
        self._order = rng.permutation(len(data.y))
        self._wide = False
        self._units, self._target_units = self._unit_arrays()
        free = data.units is not None and data.units.free_constant
        self._rules = RULES_FREE_CONSTANTS if free else RULES
        if data.units is not None:
            require_reachable(data.units, data.variables)
        X, y = self._use_points(options.search_points)
        self.islands: list[Island] = []
        self._full: dict[tuple[str, bool], Target] = {}
        for niche in (*options.niches, *(PURE_NICHES if self._inputs.scale else ())):
            target = self._target(niche, X, y)
            full = self._target(niche, self._all_columns, self.polisher.y)
            stream = rng.integers(0, 2**64, dtype=np.uint64)
            if target is None or full is None or not (niche.scaled or self._fits_units(niche.transform)):
                continue
            self._full[niche.transform, niche.scaled] = full
            self.islands.append(
                Island(
                    niche,
                    target,
                    self._pure_alphabet if niche.scaled else self.alphabet,
                    options.population,
                    options.max_length,
                    stream,
                    len(self.polisher.y),
                )
            )
        self.guidance: Guidance | None = None
        if options.policy:
            from rl_suite.symbolic import guidance  # and torch, which a search without a policy does without

            self.guidance = guidance.Guidance(self.alphabet, options.max_length, seed)
        slots = 1 << max(14, min(22, math.ceil(math.log2(2 * budget + 1))))
        self._seen = np.zeros(slots, np.uint64)
        self._finished: set[bytes] = set()

    def _use_points(self, count: int) -> tuple[Values, Values]:
        """Breed on ``count`` random rows from now on; returns them."""
        rows = np.sort(self._order[:count])
        X, y = self._inputs.columns[rows], self.data.y[rows]
        length = self.options.max_length
        self._scorer = Scorer(self.alphabet, X, self._units, self._rules, self._target_units, length)
        return X, y

    def _factors(self, columns: Values) -> Values:
        """The rows (d, n) of columns (n, ...) that may be factors of a power law."""
        return np.ascontiguousarray(columns[:, : len(self._inputs.factors)].T)

    def _target(self, niche: Niche, columns: Values, y: Values) -> Target | None:
        scale = self._inputs.scale_of(columns) if niche.scaled else None
        return make_target(niche.transform, self._factors(columns), y, scale)

    def _widen(self) -> None:
        """Where noise hides small differences, breed on more rows; all programs are measured again."""
        self._wide = True
        X, y = self._use_points(WIDE_POINTS)
        for island in self.islands:
            target = self._target(island.niche, X, y)
            if target is not None:
                island.change_target(target, self._scorer)

    def _unit_arrays(self) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        given = self._inputs.units
        if given is None:
            nothing = np.zeros(0, np.int64)
            return np.zeros((len(self.library), 0), np.int64), dict.fromkeys(TRANSFORMS, nothing)
        target = given.target
        nothing = np.zeros_like(target)
        by_transform = {"identity": target, "square": 2 * target, "inverse": -target, "exp": nothing, "sin": nothing}
        return given.of_tokens(self.library), by_transform

    def _fits_units(self, transform: str) -> bool:
        """exp(y) and sin(y) need a pure number."""
        return transform not in ("exp", "sin") or not self._target_units["identity"].any()

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the search has a reason to stop."""
        return bool(self.reason)

    @property
    def law(self) -> Law:
        """The law of least price so far; the mean of y before anything is found."""
        if self.archive.best is not None:
            return self.archive.best.law
        return number(float(np.mean(self.data.y))).law(self.output)

    def run(self, report: Callable[["Search"], bool] | None = None) -> None:
        """Step until done; ``report`` is called after every step and ends the run by returning True."""
        while not self.done:
            self.step()
            if report is not None and report(self):
                return

    def step(self) -> None:
        """One generation on every island, then the stopping rules."""
        if self.generation == 0 and self.options.polynomials:
            self._begin_with_openings()
            self._check_stop()
        for place, island in enumerate(self.islands):
            if self.done:
                return
            guests = self._migrants(place) if self.generation % MIGRATION_EVERY == MIGRATION_EVERY - 1 else None
            guided = self.guidance is not None and guests is None and place == self.generation % len(self.islands)
            if guided and self.guidance is not None:
                guests = self.guidance.propose(self._units, self._rules)
            evaluated, candidates = island.step(self._scorer, self._seen, guests)
            self.evaluations += evaluated
            if guided and self.guidance is not None and guests is not None:
                last = island.newcomers
                self.guidance.learn(guests[0], island.error[last], island.tokens, island.error)
            for candidate in candidates[:MAX_FINISHED]:
                self._finish(island, candidate)
            self._check_exact()
        self.generation += 1
        best = self.archive.best
        more = len(self.data.y) > self.options.search_points
        if more and not self._wide and self.evaluations > WIDEN_AFTER and best is not None and best.nmse > NOISY:
            self._widen()
        self._check_stop()

    def _check_exact(self) -> None:
        """An exact law ends the search after a while in which a shorter form of it may turn up."""
        if self.archive.solved and self.evaluations - self.archive.found_at >= GRACE:
            self.reason = "exact"

    def _check_stop(self) -> None:
        self._check_exact()
        if self.done:
            return
        if self.evaluations >= self.budget:
            self.reason = "budget"
        elif self.options.stop_at_noise and self.archive.best is not None and self.generation % 5 == 0:
            waited = self.evaluations - self.archive.found_at
            patience = PATIENCE * (FEW_ROWS_FACTOR if len(self.data.y) < FEW_ROWS else 1)
            if waited > max(patience, 2 * self.archive.found_at) and noise_is_left(self.archive.best, self.polisher):
                self.reason = "noise"

    def _begin_with_openings(self) -> None:
        inputs = self._inputs
        for target in self._full.values():
            which = inputs.pure if target.scaled else np.arange(len(inputs.factors))
            if len(which) == 0:
                continue
            X = np.ascontiguousarray(self._all_columns[:, which].T)
            for piece, tried in openings(target, X, inputs.pieces(which)):
                self.evaluations += tried
                self._offer(inputs.scaled(piece) if target.scaled else piece)
        if not self.archive.solved:
            for piece, tried in peeled_openings(
                self._factors(self._all_columns), self.polisher.y, list(inputs.factors)
            ):
                self.evaluations += tried
                self._offer(piece)

    def _migrants(self, number: int) -> tuple[NDArray[np.int16], Values] | None:
        """The best programs of the island before this one; their worth is measured anew by the new frame."""
        other = self.islands[number - 1]
        if other is self.islands[number] or len(other.error) == 0:
            return None
        rows = np.argsort(other.score, kind="stable")[:MIGRANTS]
        return other.tokens[rows], other.values[rows]

    def _finish(self, island: Island, candidate: Candidate) -> bool:
        """Turn a program into laws and offer them; True if one has the least price so far."""
        key = bytes([island.niche.split, island.niche.scaled, candidate.frame]) + island.niche.transform.encode()
        key += candidate.tokens.tobytes() + np.round(candidate.values, 3).tobytes()
        if key in self._finished:
            return False
        self._finished.add(key)
        target = self._full[island.niche.transform, island.niche.scaled]
        pieces, G = self._genes(candidate, island.niche.split)
        if not np.isfinite(G).all():
            return False
        X = self._factors(self._all_columns)
        laws = assemble(target, candidate.frame, list(self._inputs.factors), X, pieces, G)
        better = [self._offer(self._inputs.scaled(piece) if target.scaled else piece) for piece in laws]
        return any(better)

    def _genes(self, candidate: Candidate, split: bool) -> tuple[list[Piece], Values]:
        """The genes of a program in its frame, as pieces and as values on all data (K, n)."""
        size = self.options.max_length
        tokens = np.zeros((1, size), np.int16)
        values = np.zeros((1, size))
        length = len(candidate.tokens)
        tokens[0, :length], values[0, :length] = candidate.tokens, candidate.values
        genes, constants = np.zeros((MAX_GENES, size), np.int16), np.ones((MAX_GENES, size))
        lengths, sign = np.zeros(MAX_GENES, np.int64), np.ones(MAX_GENES)
        first, kind = np.zeros(2, np.int64), np.zeros(1, np.int64)
        n = cut_genes(
            tokens,
            values,
            np.array([length]),
            1,
            self.alphabet.arity,
            self.alphabet.opcode,
            genes,
            constants,
            lengths,
            first,
            kind,
            sign,
        )
        if whole_program(int(kind[0]), candidate.frame, split):
            n = 1
            genes[0, :length] = candidate.tokens
            lengths[0] = length
            numbers = candidate.values[self.alphabet.opcode[candidate.tokens] == CONSTANT]
            constants[0, : len(numbers)] = numbers
        G = evaluate_programs(genes[:n], lengths[:n], self._all_columns, self.library, constants[:n])
        pieces = [from_program(genes[k, : lengths[k]], constants[k].tolist(), self.library) for k in range(n)]
        pieces = [self._inputs.spelled_out(piece) for piece in pieces]
        return pieces, G

    def _offer(self, piece: Piece) -> bool:
        law = piece.law(self.output)
        if len(law.program) > 4 * self.options.max_length or not self._units_agree(law.program):
            return False
        draft = self.polisher.priced(law)
        if not math.isfinite(draft.nmse):
            return False
        best = self.archive.best
        if best is None or draft.bits < best.bits + CLOSE_BITS:
            draft = self.polisher.finish(law)
        return self.archive.add(draft, self.evaluations)

    def _units_agree(self, program: NDArray[np.int16]) -> bool:
        """Whether a law has the unit of the target; its constants are pure numbers."""
        if self.data.units is None:
            return True
        unit = np.zeros(len(self.data.units.base), np.int64)
        units = self.data.units.of_tokens(self.output)
        known = infer(program, len(program), self.output.opcode, units, self._rules, unit)
        return known == 0 or (known == 1 and bool((unit == self._target_units["identity"]).all()))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as arrays and plain values."""
        return {
            "evaluations": self.evaluations,
            "generation": self.generation,
            "reason": self.reason,
            "wide": self._wide,
            "islands": [island.state() for island in self.islands],
            "seen": self._seen[self._seen != 0],
            "slots": np.flatnonzero(self._seen),
            "finished": sorted(key.hex() for key in self._finished),
            "archive": archive_record(self.archive),
            "guidance": None if self.guidance is None else self.guidance.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`, with the same bits as if there had been no stop."""
        self.evaluations, self.generation = state["evaluations"], state["generation"]
        self.reason = state["reason"]
        if state["wide"]:
            self._widen()
        for island, part in zip(self.islands, state["islands"], strict=True):
            island.restore(part)
        self._seen[:] = 0
        self._seen[state["slots"]] = state["seen"]
        self._finished = {bytes.fromhex(key) for key in state["finished"]}
        self.archive = read_archive(state["archive"], self.output)
        if self.guidance is not None:
            self.guidance.restore(state["guidance"])


def whole_program(kind: int, frame: int, split: bool) -> bool:
    """Whether a frame takes a program as one gene: a sum as a factor, a product as a term, or everything unsplit."""
    return kind != SINGLE and (not split or (kind == ADDITIVE) == (frame == POWER))


def require_reachable(units: Units, variables: tuple[str, ...]) -> None:
    """ValueError that names the units if no product of powers of the variables has the target's unit."""
    if units.free_constant or not units.target.any():
        return
    if np.linalg.matrix_rank(np.vstack([units.variables, units.target])) > np.linalg.matrix_rank(units.variables):
        rows = (f"{name}: {format_unit(u, units.base)}" for name, u in zip(variables, units.variables, strict=True))
        have = ", ".join(rows)
        raise ValueError(
            "no product of powers of the variables has the unit of the target,"
            f" {format_unit(units.target, units.base)}; they have {have}; mend the units or allow free_constants"
        )
