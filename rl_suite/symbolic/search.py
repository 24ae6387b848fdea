"""The search: islands of programs in frames, a policy that seeds them, finished laws in an archive.

One step breeds one generation on every island. Programs that beat all of their length are finished (their
frame is fitted, exponents and constants are recognised) and offered to the archive, which keeps the law of
least description length. Everything is drawn from one seed and computed in one order, so that the same
seed gives the same laws; the budget counts evaluations of programs on the data, not seconds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.states import checked
from envs.symbolic.tokens import Library
from rl_suite.symbolic.beginnings import Offer, angle_laws, group_openings, inner_openings, opening_laws
from rl_suite.symbolic.data import Data, Options, Values
from rl_suite.symbolic.evolution.genome import Alphabet
from rl_suite.symbolic.evolution.island import PURE_NICHES, Candidate, Island
from rl_suite.symbolic.findings import Findings, findings_of, findings_record, first_laws
from rl_suite.symbolic.forms.candidates import forms_of
from rl_suite.symbolic.forms.inputs import inputs_of, require_reachable
from rl_suite.symbolic.landscape import Landscape
from rl_suite.symbolic.law_book import LawBook
from rl_suite.symbolic.laws.archive import Archive
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import Piece, piece_of
from rl_suite.symbolic.laws.polish import Finished, Polisher
from rl_suite.symbolic.laws.records import archive_record, read_archive
from rl_suite.symbolic.robust import reweighed
from rl_suite.symbolic.scaling import scaling_of, unit_scaling
from rl_suite.symbolic.stopping import exact_long_enough, noise_long_enough

if TYPE_CHECKING:
    from rl_suite.symbolic.evolution.guidance import Guidance
    from rl_suite.symbolic.prior import Prior

MAX_FINISHED = 8  # candidates finished per island and generation, cheapest first
MIGRATION_EVERY = 10  # generations
MIGRANTS = 10
MOST_PLAIN = 1  # measured constants of an exact law for which no form with inner constants is looked for
INNER_AFTER, ANGLES_AFTER = 2, 8  # generations before laws with inner constants, or of angles, are looked for
WIDE_POINTS, WIDEN_AFTER, NOISY = 500, 20_000, 1e-6  # rows, evaluations, NMSE above which noise is suspected
MOST_LOOKS = 4  # for outliers
NOISE_EVERY = 5  # generations after which a search is asked whether only noise is left


class Search:
    """Search laws for data; call :meth:`step` until ``done``, or :meth:`run`.

    Args:
        data: the observations, of any size; ``self.data`` are the scaled ones that are searched.
        options: what to search with.
        seed: of every random choice.
        budget: evaluations.
    """

    @np.errstate(over="ignore", invalid="ignore")  # what is no number in double precision is worthless, no more
    def __init__(self, data: Data, options: Options, seed: int, budget: int):
        self.given, self.options, self.budget, self.seed = data, options, budget, seed
        self.scaling = scaling_of(data) if options.known is None else unit_scaling(data)
        self.data = data = self.scaling.apply(data)
        self.output = Library("full", data.variables, constant=True)
        self._inputs = inputs_of(data.X, data.variables, data.units, options.known, options.custom)
        names = self._inputs.names
        self.library = Library(options.functions, names, literals=options.literals, constant=options.constant)
        self.alphabet = Alphabet(self.library, None if self._inputs.varying.all() else self._inputs.varying)
        pure = np.isin(np.arange(len(names)), self._inputs.pure)
        self._pure_alphabet = Alphabet(self.library, pure) if pure.any() else self.alphabet
        self.evaluations = self.generation = 0
        self.reason = ""
        self._findings: tuple[int, Findings] | None = None
        self._looks = 0  # for outliers
        rng = np.random.default_rng(seed)
        self.land = Landscape(self._inputs, self.alphabet, options.max_length, rng.permutation(len(data.y)))
        allowed = options.constraints.on(data.X, data.variables)
        self.book = LawBook(data, self.output, self._inputs, self.land, allowed, options.max_length)
        self._wide = False
        if data.units is not None:
            require_reachable(data.units, data.variables)
        self.land.use(data, self.polisher.rows, options.search_points)
        self.islands: list[Island] = []
        for niche in (*options.niches, *(PURE_NICHES if self._inputs.scale else ())):
            stream = rng.integers(0, 2**64, dtype=np.uint64)
            targets = self.land.targets(niche)
            if targets is not None:
                alphabet = self._pure_alphabet if niche.scaled else self.alphabet
                size = options.population, options.max_length
                self.islands.append(Island(niche, targets, alphabet, *size, stream, sum(self.polisher.sizes)))
        self.guidance: Guidance | None = None
        if options.policy:
            from rl_suite.symbolic.evolution import guidance  # and torch, which a search without a policy does without

            self.guidance = guidance.Guidance(self.alphabet, options.max_length, seed)
        self._prior: Prior | None = None
        asked = options.prior_within(budget)
        if asked is not None:
            from rl_suite.symbolic import prior  # and torch

            self._prior = prior.prior_for(asked, data.X.shape[1], len(self.polisher.rows[0]))
        slots = 1 << max(14, min(22, math.ceil(math.log2(2 * budget + 1))))
        self._seen = np.zeros(slots, np.uint64)
        self._finished: set[bytes] = set()

    def _widen(self) -> None:
        """Where noise hides small differences, breed on more rows; all programs are measured again."""
        self._wide = True
        self._measure_again()

    def _measure_again(self) -> None:
        """Breed on the rows and weights that the data have now."""
        self.land.use(self.data, self.polisher.rows, WIDE_POINTS if self._wide else self.options.search_points)
        for island in self.islands:
            targets = self.land.targets(island.niche)
            if targets is not None:
                island.change_targets(targets, self.land.scorer)

    def _forgive_in_time(self) -> None:
        """Look for outliers early, at half of the budget and before the end; other losses follow the growing law."""
        early = self.generation == INNER_AFTER and not self.archive.solved and not len(self.outliers)
        half = self._looks == 0 and 2 * self.evaluations > self.budget and not self.archive.solved
        growing = self.options.loss != "squared" and self.generation.bit_count() == 1
        if half or (self.done and self._looks < MOST_LOOKS):
            self._looks += 1
        elif not (growing or early):
            return
        if self._forgive(early) and self.reason != "budget":
            self.reason = ""

    def _forgive(self, early: bool) -> bool:
        """Weigh the rows by what is known of the law, outliers by 0; whether that changes anything."""
        best, before = self.archive.best, self.data.weights
        if best is None:
            return False
        weights = reweighed(self.scaling.apply(self.given), self.options.loss, best, list(self.archive), early)
        if weights is before or (
            weights is not None and before is not None and np.allclose(weights, before, rtol=0.01)
        ):
            return False
        left_out = self.outliers
        self._weigh(weights)
        old, self.book.archive = list(self.archive), Archive(self.archive.allowed)
        self._offer_laws_of(old)
        if not np.array_equal(left_out, self.outliers):  # what was found too poor before may be the law now
            self._seen[:] = 0
            self._finished.clear()
            self._begin()
            self._try_inner_constants()
        return True

    def _offer_laws_of(self, archive: Iterable[Finished]) -> None:
        for finished in archive:
            self.offer([piece_of(law) for law in finished.laws])

    def take_in(self, archive: Archive, evaluations: int) -> None:
        """Judge the laws that another search of the same data has found with so many evaluations."""
        self.evaluations += evaluations
        self._offer_laws_of(archive)

    def _weigh(self, weights: Values | None) -> None:
        """Give the rows other weights; programs are measured again."""
        self.data = replace(self.data, weights=weights)
        self.book.weigh(self.data)
        self._findings = None
        self._measure_again()

    @property
    def archive(self) -> Archive:
        """The laws so far, of scaled data."""
        return self.book.archive

    @property
    def polisher(self) -> Polisher:
        """What laws are fitted and priced with."""
        return self.book.polisher

    @property
    def outliers(self) -> NDArray[np.int64]:
        """Rows that are left out because the law that the others follow does not give them."""
        given, weights = self.given.weights, self.data.weights
        none = np.zeros(0, np.int64)
        return none if weights is None else np.flatnonzero((weights == 0) & (True if given is None else given > 0))

    @property
    def done(self) -> bool:
        """Whether the budget is spent or the search has a reason to stop."""
        return bool(self.reason)

    @property
    def law(self) -> Law:
        """The law of least price so far; the mean of y before anything is found."""
        return self.findings().chosen.law

    @np.errstate(over="ignore", invalid="ignore")
    def findings(self) -> Findings:
        """The laws so far as they are handed over: in the numbers of the data, least squares, as they are printed."""
        if self._findings is None or self._findings[0] != self.evaluations:
            laws = self.archive.front()
            if self.archive.best is not None and self.archive.best not in laws:
                laws.append(self.archive.best)
            data = replace(self.given, weights=self.data.weights)
            found = findings_of(laws, data, self.scaling, self.options.constraints)
            self._findings = self.evaluations, replace(found, outliers=tuple(self.outliers.tolist()))
        return self._findings[1]

    def text(self) -> str:
        """How the best law so far reads, for a line that is written often."""
        best = self.archive.best
        if best is None or self.scaling.trivial:
            return "" if best is None else best.text
        return self.scaling.undo(piece_of(best.law), self.given.variables).law(self.output).infix()

    def run(self, report: Callable[["Search"], bool] | None = None) -> None:
        """Step until done; ``report`` is called after every step and ends the run by returning True."""
        while not self.done:
            self.step()
            if report is not None and report(self):
                return

    def continues(self, data: Data) -> bool:
        """Whether this search is of the same data."""
        mine = self.given
        same = (
            mine.variables == data.variables and mine.units is data.units is None and mine.set_names == data.set_names
        )
        pairs = [(mine.X, data.X), (mine.y, data.y), (mine.sets, data.sets), (mine.weights, data.weights)]
        return same and all(a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)

    def extend(self, budget: int) -> None:
        """Go on for so many evaluations more, unless the law is exact."""
        if self.reason != "exact":
            self.budget, self.reason = self.evaluations + budget, ""

    @np.errstate(over="ignore", invalid="ignore")  # rows that are no numbers make a program worthless, no more
    def step(self) -> None:
        """One generation on every island, then the stopping rules."""
        if self.generation == 0:
            self._begin()
            self._check_stop()
        for place, island in enumerate(self.islands):
            if self.done or self.evaluations >= self.budget:
                break
            guests = self._migrants(place) if self.generation % MIGRATION_EVERY == MIGRATION_EVERY - 1 else None
            guided = self.guidance is not None and guests is None and place == self.generation % len(self.islands)
            if guided and self.guidance is not None:
                guests = self.guidance.propose(self.land.dimensions)
            evaluated, candidates = island.step(self.land.scorer, self._seen, guests, self.budget - self.evaluations)
            self.evaluations += evaluated
            if guided and self.guidance is not None and guests is not None:
                last = island.newcomers
                self.guidance.learn(guests[0], island.error[last], island.tokens, island.error)
            for candidate in candidates[:MAX_FINISHED]:
                self._finish(island, candidate)
            if exact_long_enough(self.archive, self.evaluations):
                self.reason = "exact"
        self.generation += 1
        if self.generation == INNER_AFTER:
            self._try_inner_constants()
        if self.generation == ANGLES_AFTER:
            self._try_angles()
        best = self.archive.best
        more = len(self.data.y) > self.options.search_points
        if more and not self._wide and self.evaluations > WIDEN_AFTER and best is not None and best.nmse > NOISY:
            self._widen()
        self._check_stop()
        self._forgive_in_time()

    def _check_stop(self) -> None:
        if exact_long_enough(self.archive, self.evaluations):
            self.reason = "exact"
        elif self.evaluations >= self.budget:
            self.reason = "exact" if self.archive.solved else "budget"
        elif self.options.stop_at_noise and self.generation % NOISE_EVERY == 0:
            self.reason = "noise" if noise_long_enough(self.archive, self.evaluations, self.polisher) else ""

    def _begin(self) -> None:
        self._offer_all(first_laws(self.data, self.polisher.rows, self.options.custom))
        if self._prior is not None and not self.archive.solved:
            self._ask_prior(self._prior)
        if self.options.polynomials:
            self._offer_all(opening_laws(self._inputs, self.land, lambda: self.archive.solved))

    def _try_inner_constants(self) -> None:
        best = self.archive.best
        plain = best is not None and self.archive.solved and best.law.n_free <= MOST_PLAIN
        if self.options.inner_constants and not plain:
            functions = self.options.functions
            self._offer_all(group_openings(self._inputs, self.land, functions))
            self._offer_all(inner_openings(self.data, self.polisher.rows, functions, lambda: self.archive.solved))

    def _try_angles(self) -> None:
        if self.options.polynomials and not self.archive.solved:
            self._offer_all(angle_laws(self._inputs, self.land, self.options.functions))

    def _offer_all(self, offers: Iterable[Offer]) -> None:
        for form, tried in offers:
            if self.evaluations + tried > self.budget:  # what was not paid for is not used
                break
            self.evaluations += tried
            self.offer(form)

    def _ask_prior(self, prior: "Prior") -> None:
        """Offer what a learned prior proposes for the first dataset, in its own order."""
        from rl_suite.symbolic.forms.proposals import proposals

        data, rows = self.data, self.polisher.rows[0]
        n = min(self.options.proposals, max(0, self.budget - self.evaluations))
        tried = proposals(prior, data.X[rows], data.y[rows], data.variables, n, self.seed)
        self._offer_all(([piece], count) for piece, count in tried)

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
        targets = self.land.full[island.niche.transform, island.niche.scaled]
        datasets = [columns for columns, *_ in self.land.whole]
        forms = forms_of(candidate, island.niche.split, self.alphabet, self._inputs, datasets, targets)
        scaled = island.niche.scaled
        better = [self.offer([self._inputs.scaled(p) if scaled else p for p in form]) for form in forms]
        return any(better)

    def offer(self, pieces: Sequence[Piece]) -> bool:
        """Judge a form: the laws of each dataset, or one for all; True if it has the least price so far."""
        return self.book.offer(pieces, self.evaluations)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as arrays and plain values."""
        return {
            "evaluations": self.evaluations,
            "generation": self.generation,
            "reason": self.reason,
            "wide": self._wide,
            "looks": self._looks,
            "weights": self.data.weights,
            "islands": [island.state() for island in self.islands],
            "seen": self._seen[self._seen != 0],
            "slots": np.flatnonzero(self._seen),
            "finished": sorted(key.hex() for key in self._finished),
            "archive": archive_record(self.archive),
            "found": findings_record(self.findings()) if self.archive.best is not None else None,
            "guidance": None if self.guidance is None else self.guidance.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state`, with the same bits as if there had been no stop."""
        self.evaluations, self.generation = state["evaluations"], state["generation"]
        self.reason, self._looks = state["reason"], int(state["looks"])
        if self.reason == "budget" and self.evaluations < self.budget:  # which has grown
            self.reason = ""
        if state["weights"] is not None:
            weights = checked("weights", np.asarray(state["weights"]), np.ones(len(self.data.y)), (0.0, np.inf))
            if not weights.any():
                raise ValueError("state 'weights' leaves no row")
            self._weigh(weights)
        if state["wide"]:
            self._widen()
        for island, part in zip(self.islands, state["islands"], strict=True):
            island.restore(part)
        slots, seen = np.asarray(state["slots"]), np.asarray(state["seen"])
        if slots.dtype != np.int64 or seen.dtype != np.uint64 or slots.shape != seen.shape:
            raise ValueError("state 'slots' and 'seen' must be whole numbers, one for each")
        if slots.size and not 0 <= slots.min() <= slots.max() < len(self._seen):
            raise ValueError(f"state 'slots' holds places outside 0..{len(self._seen) - 1}")
        self._seen[:] = 0
        self._seen[slots] = seen
        self._finished = {bytes.fromhex(key) for key in state["finished"]}
        self.book.archive = read_archive(state["archive"], self.output, self.archive.allowed)
        if self.guidance is not None:
            self.guidance.restore(state["guidance"])
