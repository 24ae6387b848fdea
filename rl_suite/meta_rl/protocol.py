"""How a prior is measured on laws that it was never trained on: one way of counting for every row.

A row is a way of proposing programs. A program is counted once per task, when it is first evaluated, however
many passes over the data its constants take; equal programs in another order are one. A task is solved by
the first program whose fitted law leaves at most ``EXACT`` of the variance on fresh points, both inside the
ranges of the table and beyond them.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from agents.meta.expression_encoder import FormPolicy
from envs.symbolic.fitted_forms import scaled
from envs.symbolic.form_programs import FormIndex, compact, signatures
from envs.symbolic.law_forms import Form, form_library, form_of
from envs.symbolic.laws import PhysicsTask, PhysicsTaskDistribution
from envs.symbolic.program import evaluate_programs
from rl_suite.meta_rl.sights import ManyTargets, OneTarget, Sight
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.prior import (
    Values,
    context_of,
    fitted,
    propose_together,
)
from rl_suite.symbolic.search import Search

EXACT = 1e-9  # share of the variance
ROWS, TEST_ROWS = 64, 100  # of the table, and of the fresh points inside and beyond
STRETCH = 1.5  # how much wider the ranges beyond are
GENETIC_POPULATION = 40
ELITE, ADAPTATION_RATE, ADAPTATION_UPDATES = 10, 3e-4, 3  # programs learnt from after each hundred; Adam
PER_STEP = 100  # programs evaluated between adaptation steps
PART = 0.75  # of the rows, in a context of some of them


@dataclass(frozen=True)
class Trial:
    """One law to be found."""

    name: str
    family: str
    form: Form
    X: Values  # (n, d)
    y: Values
    X_test: Values  # inside, then beyond
    y_test: Values

    @property
    def monomial(self) -> bool:
        """Whether the law is a product of powers of its columns, or one column."""
        kind = self.form[0]
        return kind == "x" or (kind == "product" and all(base[0] == "x" for base, _ in self.form[1]))


def trials(tasks: Sequence[PhysicsTask], seed: int) -> list[Trial]:
    """One trial for each form of the tasks that can be said as a form; tables without noise, columns permuted."""
    chosen: list[tuple[PhysicsTask, Form]] = []
    rows: list[Values] = []
    for task in tasks:
        try:
            form = compact(form_of(task.expression(), task.problem.library))
            row = signatures([form])[0]
        except ValueError:
            continue
        if not any(np.allclose(row, other, rtol=1e-7, equal_nan=True) for other in rows if np.isfinite(row).all()):
            chosen.append((task, form))
            rows.append(row)
    return [_trial(task, form, np.random.default_rng([seed, i])) for i, (task, form) in enumerate(chosen)]


def _trial(task: PhysicsTask, form: Form, rng: np.random.Generator) -> Trial:
    order = rng.permutation(len(task.variables))
    table = task.generate_data(ROWS, rng, noise=False)
    inside = task.generate_data(TEST_ROWS, rng, noise=False)
    parts = [inside]
    try:
        X, y = task.problem.draw(rng, TEST_ROWS, STRETCH)
        extra = [rng.uniform(*task.variable_ranges[name], size=TEST_ROWS) for name in task.dummies]
        parts.append(np.column_stack([X, *extra, y]))
    except ValueError:  # nowhere finite outside: inside only
        pass
    test = np.concatenate(parts)
    return Trial(task.name, task.family, form, table[:, order], table[:, -1], test[:, order], test[:, -1])


def held_out_trials(split_seed: int, seed: int) -> list[Trial]:
    """Validation and test families of one split of the large collection."""
    parts = [PhysicsTaskDistribution(False, part=part, seed=split_seed) for part in ("validation", "test")]
    return trials([task for part in parts for task in part.tasks], seed)


def fresh_trials(seed: int) -> list[Trial]:
    """Forms of the collection that no choice was made on: those of the training families of split 0.

    They are fresh because the prior's training stream leaves all of the collection out.
    """
    looked_at = FormIndex([trial.form for trial in held_out_trials(0, 0)])
    rest = trials(PhysicsTaskDistribution(False, part="train", seed=0).tasks, seed)
    known = looked_at.contains([trial.form for trial in rest])
    return [trial for trial, seen in zip(rest, known, strict=True) if not seen]


def exact_on(trial: Trial, predict: Callable[[Values], Values]) -> bool:
    """Whether values of a law agree with the truth inside and beyond the table's ranges."""
    n = min(TEST_ROWS, len(trial.y_test))
    for part in (slice(0, n), slice(n, None)):
        X, y = trial.X_test[part], trial.y_test[part]
        if len(y) == 0:
            continue
        left = float(((predict(X) - y) ** 2).mean())
        if not left <= EXACT * float(y.var()):
            return False
    return True


class Judge:
    """Evaluates programs on one trial and remembers which were counted.

    Attributes:
        solved_at: programs evaluated when the first exact one was found; 0: none yet.
    """

    def __init__(self, trial: Trial, seed: int):
        self.trial, self.seed = trial, seed
        self.evaluated = self.solved_at = 0
        self._seen: set[bytes] = set()
        self._scale = scaled(trial.X, trial.y)
        self._library = form_library(trial.X.shape[1])
        self.programs: list[NDArray[np.int16]] = []
        self.nmse: list[float] = []

    def evaluate(self, programs: NDArray[np.int16], log_prob: Values, most: int) -> None:
        """Evaluate those programs (P, L) over the table's columns, in normal order, that were not; at most ``most``."""
        first = {row.tobytes(): i for i, row in reversed(list(enumerate(programs))) if row.tobytes() not in self._seen}
        new = sorted(first.values())[:most]
        for part in fitted(programs[new], log_prob[new], self.trial.X, self.trial.y, self.seed):
            for i, program in enumerate(part.programs):
                self._seen.add(program.tobytes())
                self.evaluated += 1
                self.programs.append(program)
                self.nmse.append(float(part.nmse[i]))
                if (
                    part.nmse[i] <= EXACT
                    and not self.solved_at
                    and self._holds(part.dressed[i], part.sizes[i], part.constants[i])
                ):
                    self.solved_at = self.evaluated
            if self.solved_at:
                return

    def _holds(self, dressed: NDArray[np.int16], size: int, constants: Values) -> bool:
        def predict(X: Values) -> Values:
            own = X / self._scale.sizes
            value: Values = evaluate_programs(dressed[None], np.array([size]), own, self._library, constants[None])[0]
            return value * self._scale.size

        return exact_on(self.trial, predict)


def run_policy(
    policy: FormPolicy,
    trial: Trial,
    budget: int,
    steps: int,
    seed: int,
    context_from: Trial | None = None,
    views: bool = False,
) -> int:
    """Programs until the trial is solved (0: not within the budget).

    After each of the first ``steps`` hundreds of programs a copy of the policy learns from the best of all so far.
    ``context_from``: the table that the policy is shown instead of the trial's own. ``views``: it is seen through many
    targets.
    """
    shown = trial if context_from is None else context_from
    own = trial.X.shape[1]
    names = np.arange(shown.X.shape[1])
    if context_from is not None:  # columns of the other table stand for those of this one, at random
        names = np.random.default_rng(seed).permutation(own)[: shown.X.shape[1]]
    make: type[Sight] = ManyTargets if views else OneTarget
    sight = make(shown.X[:, : len(names)], shown.y, names)
    judge = Judge(trial, seed)
    adapted = policy
    optimizer: torch.optim.Adam | None = None
    for round_ in range(steps + 1):
        until = budget if round_ == steps else min(budget, (round_ + 1) * PER_STEP)
        if round_ > 0 and judge.evaluated < budget:
            if optimizer is None:
                adapted = copy_of(policy)
                optimizer = torch.optim.Adam(adapted.parameters(), ADAPTATION_RATE)
            learn_from_best(adapted, optimizer, sight, judge)
        need = until - judge.evaluated
        if need <= 0:
            break
        judge.evaluate(*sight.propose(adapted, judge.evaluated + need), need)
        if judge.solved_at:
            return judge.solved_at
    return 0


def run_together(members: Sequence[FormPolicy], trial: Trial, budget: int, seed: int, parts: int = 0) -> int:
    """Programs until the trial is solved, out of one list that several policies and contexts agree on (0: never).

    ``parts``: beside that of the whole table, so many contexts of some of its rows.
    """
    rng = np.random.default_rng([seed, len(trial.y)])
    rows = [np.sort(rng.permutation(len(trial.y))[: int(PART * len(trial.y))]) for _ in range(parts)]
    contexts = [context_of(trial.X, trial.y), *(context_of(trial.X[r], trial.y[r]) for r in rows)]
    programs, log_prob = propose_together([(m, c) for m in members for c in contexts], budget)
    judge = Judge(trial, seed)
    judge.evaluate(programs, log_prob, budget)
    return judge.solved_at


def adapted_policy(policy: FormPolicy, trial: Trial, steps: int, seed: int) -> FormPolicy:
    """A copy of a policy that has learnt from the best of ``steps`` hundreds of programs on a trial."""
    sight, judge, adapted = (
        OneTarget(trial.X, trial.y, np.arange(trial.X.shape[1])),
        Judge(trial, seed),
        copy_of(policy),
    )
    optimizer = torch.optim.Adam(adapted.parameters(), ADAPTATION_RATE)
    for step in range(1, steps + 1):
        judge.evaluate(*sight.propose(adapted, step * PER_STEP), step * PER_STEP - judge.evaluated)
        learn_from_best(adapted, optimizer, sight, judge)
    return adapted


def copy_of(policy: FormPolicy) -> FormPolicy:
    """The same network with weights of its own."""
    return copy.deepcopy(policy)


def learn_from_best(policy: FormPolicy, optimizer: torch.optim.Optimizer, sight: Sight, judge: Judge) -> None:
    """Raise the probability of the programs with the least error so far (elite cross-entropy)."""
    best = np.argsort(judge.nmse, kind="stable")[:ELITE]
    best = best[np.isfinite(np.array(judge.nmse)[best])]
    if len(best) == 0:
        return
    programs = np.stack([judge.programs[i] for i in best])
    for _ in range(ADAPTATION_UPDATES):
        loss = sight.loss(policy, programs)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def run_genetic(trial: Trial, budget: int, seed: int, options: Options | None = None) -> int:
    """Programs until the genetic search holds the law (0: not within the budget); checked after every generation."""
    options = options or Options(population=GENETIC_POPULATION, polynomials=False, stop_at_noise=False, prior=None)
    names = tuple(f"x{i}" for i in range(trial.X.shape[1]))
    search = Search(Data(trial.X, trial.y, names), options, seed, budget)
    last: Law | None = None
    while not search.done:
        search.step()
        best = search.archive.best
        if best is not None and best.law is not last:
            last = best.law
            if exact_on(trial, last.predict):
                return max(1, min(search.evaluations, budget))
    return 0
