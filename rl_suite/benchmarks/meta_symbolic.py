"""Does a prior that saw random laws find laws that it never saw? Success against programs, beside its controls."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.checkpoint import write_atomically
from rl_suite.meta_rl.comparison import (
    ROWS,
    TRAINED,
    Job,
    Outcome,
    measure_all,
    median_programs,
    records,
    solved_share,
    train_all,
)
from rl_suite.meta_rl.pretraining import Pretraining

SUMMARY = "a prior over forms of laws on families it never saw, beside no context, scratch and the genetic search"
SECONDS, BUDGET, SEEDS = 850.0, 1000, 5
POINTS = (1, 10, 100, 1000, 10_000)
QUICK_LAWS = 2048
SHARES = 4  # parts of the laws that a row is measured on at a time, so that workers stay busy


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks meta_symbolic", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="processor time to train each prior")
    parser.add_argument("--laws", type=int, default=10**9, help="most laws that a prior is trained on")
    parser.add_argument("--budget", type=int, default=BUDGET, help="programs per law")
    parser.add_argument("--priors", type=Path, default=None, help="folder of priors; those missing are trained into it")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--kinds", nargs="*", choices=TRAINED, default=list(TRAINED), help="priors to train")
    parser.add_argument("--laws-of", nargs="*", choices=("held_out", "fresh"), default=["held_out", "fresh"])
    parser.add_argument("--rows", nargs="*", default=[row.name for row in ROWS], help="rows to measure")
    parsed = parser.parse_args(list(arguments))
    unknown = set(parsed.rows) - {row.name for row in ROWS}
    if unknown or parsed.budget < 1 or parsed.jobs < 1:
        parser.error(f"no such row, or a number below 1: {', '.join(sorted(unknown))}")
    return parsed


def run(options: Options) -> BenchmarkResult:
    """Train what is missing, then measure every row on both sets of laws."""
    a = parse(options.extra)
    settings = Pretraining(laws=QUICK_LAWS if options.quick else a.laws, seconds=a.seconds)
    seeds = a.seeds[:1] if options.quick else a.seeds
    budget = 3 if options.quick else a.budget
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if a.priors is None else a.priors
        train_all(folder, seeds, settings, a.jobs, a.kinds)
        chosen = [row for row in ROWS if row.name in a.rows and (row.kind in (None, "untrained", *a.kinds))]
        shares = 20 if options.quick else SHARES
        parts = 1 if options.quick else shares
        jobs: list[Job] = [
            (row, folder, laws, seed, budget, (part, shares))
            for row in chosen
            for laws in a.laws_of
            for seed in seeds
            for part in range(parts)
        ]
        outcomes = measure_all(jobs, a.jobs, lambda found: _keep(folder, found))
    return summary(outcomes, budget, len(seeds))


def _keep(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """What is measured so far, beside the priors: a run that is cut off loses nothing."""
    write_atomically(folder / "outcomes.json", json.dumps(records(outcomes)).encode())


def summary(outcomes: Sequence[Outcome], budget: int, seeds: int) -> BenchmarkResult:
    """Shares of laws solved within 1, 10, ... programs, by row and set of laws."""
    rows, notes = [], [f"{seeds} seeds; intervals by bootstrap over families; a program is counted once per law"]
    for laws in ("held_out", "fresh"):
        names = dict.fromkeys(o.row for o in outcomes if o.laws == laws)
        for name in names:
            own = [o for o in outcomes if o.laws == laws and o.row == name]
            for n in (p for p in POINTS if p <= budget):
                share = solved_share(own, n)
                rows.append(Row(f"{laws}: {name}, {n} programs", share.estimate, None, "%"))
                notes.append(f"{laws}: {name}, {n}: {share}")
            hard = [o for o in own if not o.monomial]
            notes.append(f"{laws}: {name}, monomials apart: {solved_share(hard, budget) if hard else 'none'}")
            notes.append(f"{laws}: {name}, median programs to a solution: {median_programs(own):g}")
    return BenchmarkResult(tuple(rows), tuple(notes), tuple(records(outcomes)))
