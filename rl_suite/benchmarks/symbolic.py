"""Recovery of known laws: ours beside gplearn and Operon, by one judge, on the same data.

    python -m rl_suite.benchmarks symbolic --set nguyen --seeds 10
    python -m rl_suite.benchmarks symbolic --set feynman --noise 0.1 --units --seeds 1

A problem counts as recovered only if the law is symbolically equivalent to the truth, and its error is
small on held-out points and in extrapolation (``rl_suite.symbolic.laws.judge``).
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from rich.console import Console

from envs.symbolic.benchmarks import SETS, WIDE, Problem, add_noise, problems
from rl_suite.benchmarks import symbolic_real
from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.benchmarks.symbolic_peers import available_peers
from rl_suite.symbolic.data import Data
from rl_suite.symbolic.data import Options as SearchOptions
from rl_suite.symbolic.laws.judge import judge
from rl_suite.symbolic.nature import Constant, as_numbers, beside
from rl_suite.symbolic.search import Search

SUMMARY = "recovery of laws (Nguyen, Livermore, Feynman, Strogatz, ...) beside gplearn and pyoperon"
DEFAULT_BUDGET = {"nguyen": 2_000_000, "livermore": 2_000_000, "feynman": 1_000_000, WIDE: 1_000_000}
OTHER_BUDGET = 500_000
QUICK_BUDGET = 5_000
REAL = "real"  # measured tables, whose true laws nobody knows
KOZA = ("add", "sub", "mul", "div", "sin", "cos", "exp", "log")
PLANCK = 6.626e-34
CONSTANTS_OF_WIDE = (  # as FastSRB's formulas have them, which is not to today's digits
    Constant("c", 2.99792458e8, "m/s"),
    Constant("h", PLANCK, "J*s"),
    Constant("hbar", PLANCK / (2 * math.pi), "J*s"),
    Constant("k_B", 1.380649e-23, "J/K"),
    Constant("epsilon_0", 8.854e-12, "F/m"),
    Constant("G", 6.6743e-11, "m^3/(kg*s^2)"),
    Constant("m_e", 9.10938356e-31, "kg"),
    Constant("mu_B", 9.2740100783e-24, "J/T"),
)
NOISY_POINTS = 1000  # training points of the Feynman and FastSRB problems with noise; 200 without


@dataclass(frozen=True)
class Trial:
    """One problem, one seed, one solver."""

    problem: str
    solver: str
    seed: int
    recovered: bool
    symbolic: bool
    held_out: float
    extrapolation: float
    evaluations: int
    seconds: float
    stopped: str
    law: str
    verdict: str


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks symbolic", description=__doc__)
    parser.add_argument("--set", dest="group", choices=(*SETS, WIDE, REAL), default="nguyen")
    parser.add_argument("--seeds", type=int, default=1, help="runs per problem")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation over the rms of the target")
    parser.add_argument(
        "--units", action="store_true", help="tell the units (Feynman, FastSRB), and constants of nature (FastSRB)"
    )
    parser.add_argument("--budget", type=int, help="evaluations per run")
    parser.add_argument("--only", help="one problem by name")
    parser.add_argument("--every", type=int, default=1, help="every n-th problem of the set only")
    parser.add_argument("--smallest", type=int, help="so many tables of the fewest rows only (--set real)")
    parser.add_argument("--policy", action="store_true", help="let the recurrent policy seed the search")
    parser.add_argument("--peer-seeds", type=int, default=1, help="runs per problem of the peers; 0: none")
    parser.add_argument("--jobs", type=int, default=1, help="processes (--set real)")
    parsed = parser.parse_args(list(arguments))
    if parsed.smallest is not None and (parsed.group != REAL or parsed.smallest < 1):
        parser.error("--smallest must be at least 1, and only with --set real")
    if (
        parsed.seeds < 1
        or parsed.every < 1
        or parsed.jobs < 1
        or parsed.noise < 0
        or (parsed.units and parsed.group not in ("feynman", WIDE))
    ):
        parser.error("--seeds, --every, --jobs from 1 on, --noise not negative, --units only with feynman or fastsrb")
    return parsed


def stored_as(options: Options) -> str:
    """File name of the stored result."""
    a = parse(options.extra)
    parts = [f"symbolic_{a.group}", f"noise{a.noise:g}" if a.noise else "", "units" if a.units else ""]
    parts += ["policy" if a.policy else "", f"every{a.every}" if a.every > 1 else ""]
    return "_".join(part for part in parts if part)


def training_data(problem: Problem, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """X (n, d), y (n,) of one run: the table's recipe, and the noise."""
    rng = np.random.default_rng([seed, 7])
    points = NOISY_POINTS if noise > 0 and problem.group in ("feynman", WIDE) else None
    X, y = problem.sample(rng, points)
    return X, add_noise(y, noise, rng)


def solve(
    problem: Problem,
    seed: int,
    noise: float = 0.0,
    units: bool = False,
    budget: int = OTHER_BUDGET,
    policy: bool = False,
) -> Trial:
    """Search the law of one problem and judge it."""
    X, y = training_data(problem, seed, noise)
    started = time.process_time()
    known = problem.dimensions() if units else None
    nature: tuple[Constant, ...] = ()
    if known is not None and problem.group == WIDE:  # not all of its constants are known, and others have units as well
        known = replace(known, free_constant=True)
        nature = tuple(constant for constant in CONSTANTS_OF_WIDE if constant.name not in problem.variables)
    columns, variables, known = beside(X, problem.variables, known, nature)
    data = Data(columns, y, variables, known)
    search = Search(data, SearchOptions(policy=policy), seed, budget)
    search.run()
    seconds = time.process_time() - started
    verdict = judge(as_numbers(search.law, nature), problem, noise, seed)
    return Trial(
        problem.name,
        "ours",
        seed,
        verdict.recovered,
        verdict.symbolic,
        verdict.held_out,
        verdict.extrapolation,
        search.evaluations,
        seconds,
        search.reason,
        search.law.infix(),
        verdict.reason,
    )


def run(options: Options) -> BenchmarkResult:
    """Ours on every problem and seed, then each peer that is installed."""
    a = parse(options.extra)
    if a.group == REAL:
        chosen_tables = symbolic_real.choose(options.quick, a.every, a.smallest)
        return symbolic_real.run(chosen_tables, options.seed, a.budget, options.quick, a.peer_seeds > 0, a.jobs)
    budget = QUICK_BUDGET if options.quick else a.budget or DEFAULT_BUDGET.get(a.group, OTHER_BUDGET)
    chosen = [p for p in problems(a.group) if a.only in (None, p.name)][:: a.every]
    chosen = chosen[:2] if options.quick else chosen
    solvers: dict[str, tuple[int, Callable[[Problem, int], Trial]]] = {
        "ours": (a.seeds, lambda p, seed: solve(p, seed, a.noise, a.units, budget, a.policy))
    }
    for name, fit in available_peers().items():
        solvers[name] = (0 if options.quick else a.peer_seeds, _peer(name, fit, a.noise))
    trials: list[Trial] = []
    console = Console(stderr=True)
    for solver, (seeds, attempt) in solvers.items():
        for problem in chosen:
            done = [attempt(problem, options.seed + seed) for seed in range(seeds)]
            trials += done
            if done and not options.quick:
                share = np.mean([t.recovered for t in done])
                spent = np.mean([t.seconds for t in done])
                line = f"{solver} {problem.name}: {share:.0%} in {spent:.1f} s  {done[0].law[:90]}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    return summary(trials, a.group, budget)


def _peer(name: str, fit: Callable[[np.ndarray, np.ndarray, Problem, int], tuple], noise: float) -> Callable:
    def attempt(problem: Problem, seed: int) -> Trial:
        X, y = training_data(problem, seed, noise)
        started = time.process_time()
        law, evaluations = fit(X, y, problem, seed)
        seconds = time.process_time() - started
        verdict = judge(law, problem, noise, seed)
        return Trial(
            problem.name,
            name,
            seed,
            verdict.recovered,
            verdict.symbolic,
            verdict.held_out,
            verdict.extrapolation,
            evaluations,
            seconds,
            "",
            law.infix()[:500],
            verdict.reason,
        )

    return attempt


def summary(trials: list[Trial], group: str, budget: int) -> BenchmarkResult:
    """Rates, times and evaluations as rows; every trial in the notes' company."""
    ours = [t for t in trials if t.solver == "ours"]
    rows = [
        Row(f"{group}: recovered", 100 * float(np.mean([t.recovered for t in ours])), None, "%"),
        Row(f"{group}: median time", float(np.median([t.seconds for t in ours])), None, "s", higher_is_better=False),
        Row(f"{group}: longest time", max(t.seconds for t in ours), None, "s", higher_is_better=False),
        Row(f"{group}: median evaluations", float(np.median([t.evaluations for t in ours])), None, "programs"),
    ]
    for peer in dict.fromkeys(t.solver for t in trials if t.solver != "ours"):
        theirs = [t for t in trials if t.solver == peer]
        known = {t.problem for t in theirs}
        same = [t for t in ours if t.problem in known]
        rate = 100 * float(np.mean([t.recovered for t in theirs]))
        rows.append(Row(f"{group}: recovered", 100 * float(np.mean([t.recovered for t in same])), rate, "%", peer))
        ours_time, peer_time = (float(np.median([t.seconds for t in some])) for some in (same, theirs))
        rows.append(Row(f"{group}: median time", ours_time, peer_time, "s", peer, higher_is_better=False))
    return BenchmarkResult(
        tuple(rows),
        (f"at most {budget} programs per run", "seconds are processor time"),
        tuple(asdict(t) for t in trials),
    )
