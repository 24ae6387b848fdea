"""Laws of motion from one noisy trajectory, beside sparse regression on differences of the same data."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from rl_suite.benchmarks.harness import BenchmarkResult, Options, Row
from rl_suite.progress import ProgressBar
from rl_suite.symbolic.dynamics.identify import monomials
from rl_suite.symbolic.dynamics.system import discover
from rl_suite.symbolic.dynamics.weak import Trajectory
from rl_suite.symbolic.laws.law import Law

SUMMARY = "laws of motion recovered by the weak form, against sparse regression on differences (SINDy)"
Values = NDArray[np.float64]
Terms = dict[tuple[int, ...], float]  # powers of the states -> coefficient

SEEDS, NOISES = 10, (0.0, 0.01, 0.03)
QUICK_SEEDS = 1
NEAR = 0.05  # relative error up to which a coefficient is right
THRESHOLDS = (0.01, 0.03, 0.1, 0.3)  # of SINDy; the one that does best on the truth is reported
ROUNDS = 10  # of thresholding
ACCURATE = 1e-9


@dataclass(frozen=True)
class System:
    """A system with known laws, and how it is sampled."""

    name: str
    laws: tuple[Terms, ...]
    start: tuple[float, ...]
    end: float
    samples: int


SYSTEMS = (
    System("Lotka-Volterra", ({(1, 0): 1, (1, 1): -0.1}, {(1, 1): 0.075, (0, 1): -1.5}), (10, 5), 20, 400),
    System("Van der Pol", ({(0, 1): 1}, {(0, 1): 2, (2, 1): -2, (1, 0): -1}), (2, 0), 20, 400),
    System(
        "Lorenz",
        (
            {(1, 0, 0): -10, (0, 1, 0): 10},
            {(1, 0, 0): 28, (1, 0, 1): -1, (0, 1, 0): -1},
            {(1, 1, 0): 1, (0, 0, 1): -8 / 3},
        ),
        (-8, 8, 27),
        10,
        1000,
    ),
    System("SIR", ({(1, 1, 0): -0.5}, {(1, 1, 0): 0.5, (0, 1, 0): -0.1}, {(0, 1, 0): 0.1}), (0.99, 0.01, 0), 60, 300),
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments after the benchmark's name."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.benchmarks symbolic_ode", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trajectories of each system and noise")
    parsed = parser.parse_args(list(arguments))
    if parsed.seeds < 1:
        parser.error("--seeds must be at least 1")
    return parsed


def run(options: Options) -> BenchmarkResult:
    """Systems of which every law is recovered, by noise."""
    seeds = QUICK_SEEDS if options.quick else parse(options.extra).seeds
    systems, noises = (SYSTEMS[:2], NOISES[1:2]) if options.quick else (SYSTEMS, NOISES)
    trials: list[dict[str, Any]] = []
    with ProgressBar("systems", len(systems) * len(noises)) as progress:
        for system in systems:
            for noise in noises:
                for seed in range(options.seed, options.seed + seeds):
                    trials.append(_trial(system, noise, seed))
                progress.update(len(trials) // seeds, last=system.name)
    return summary(trials, noises)


def _trial(system: System, noise: float, seed: int) -> dict[str, Any]:
    t, X = sample(system, noise, seed)
    begin = time.process_time()
    names = [f"x{i}" for i in range(X.shape[1])]
    found = discover([Trajectory(t, X)], names, budget=0)
    seconds = time.process_time() - begin
    ours = [terms_of(law, names) for law in found.laws]
    peers = [sindy(t, X, threshold) for threshold in THRESHOLDS]
    return {
        "system": system.name,
        "noise": noise,
        "seed": seed,
        "recovered": is_recovered(ours, system.laws),
        "sindy": [is_recovered(peer, system.laws) for peer in peers],
        "seconds": round(seconds, 3),
        "laws": [state.chosen.text for state in found.states],
    }


def summary(trials: Sequence[dict[str, Any]], noises: Sequence[float]) -> BenchmarkResult:
    """Shares of the systems that are recovered whole; the peer's best threshold for each noise."""
    rows = []
    for noise in noises:
        own = [trial for trial in trials if trial["noise"] == noise]
        peer = np.array([trial["sindy"] for trial in own]).mean(axis=0).max()
        ours = float(np.mean([trial["recovered"] for trial in own]))
        rows.append(Row(f"recovered, noise {noise:g}", 100 * ours, 100 * float(peer), "%", "SINDy on differences"))
    rows.append(Row("processor time", float(np.mean([trial["seconds"] for trial in trials])), None, "s a system"))
    missed = [f"{t['system']} {t['noise']:g} seed {t['seed']}" for t in trials if not t["recovered"]]
    systems, seeds = len({t["system"] for t in trials}), len({t["seed"] for t in trials})
    notes = (
        f"{systems} systems, {seeds} trajectories of each and noise;"
        f" recovered: the terms of every law, no other, each coefficient within {NEAR:.0%}",
        "noise: Gaussian, as a share of each state's standard deviation; the peer has the same terms up to degree 3,"
        f" central differences, and the best of the thresholds {', '.join(map(str, THRESHOLDS))} for each noise",
        f"not recovered by ours: {', '.join(missed) or 'none'}",
    )
    return BenchmarkResult(tuple(rows), notes, tuple(trials))


def sample(system: System, noise: float, seed: int) -> tuple[Values, Values]:
    """Times (n,) and states (n, d) of a trajectory with noise."""
    t = np.linspace(0, system.end, system.samples)
    field: Callable[[float, Values], list[float]] = lambda _, x: [_value(law, x) for law in system.laws]  # noqa: E731
    X = solve_ivp(field, (0, system.end), system.start, t_eval=t, rtol=ACCURATE, atol=ACCURATE).y.T
    return t, X + noise * X.std(axis=0) * np.random.default_rng(seed).standard_normal(X.shape)


def _value(law: Terms, x: Values) -> float:
    return float(sum(number * np.prod(x ** np.array(powers)) for powers, number in law.items()))


def terms_of(law: Law, names: Sequence[str]) -> Terms:
    """The polynomial that a law is; empty where it is none."""
    expression = law.sympy()
    symbols = [sympy.Symbol(name, real=True) for name in names]
    polynomial = sympy.expand(expression).as_poly(*symbols)
    if polynomial is None:
        return {}
    return {tuple(int(p) for p in powers): float(number) for powers, number in polynomial.terms() if number != 0}


def is_recovered(found: Sequence[Terms], truth: Sequence[Terms]) -> bool:
    """Whether every law has the terms of the truth, no other, and coefficients near its."""
    return all(
        own.keys() == true.keys() and all(abs(own[k] / true[k] - 1) <= NEAR for k in true)
        for own, true in zip(found, truth, strict=True)
    )


def sindy(t: Values, X: Values, threshold: float, degree: int = 3) -> list[Terms]:
    """Sequentially thresholded least squares on central differences (Brunton, Proctor and Kutz, PNAS 2016)."""
    terms = monomials(X.shape[1], degree)
    A = np.column_stack([np.prod(X ** np.array(powers), axis=1) for powers in terms])
    slopes = np.gradient(X, t, axis=0)
    found = []
    for slope in slopes.T:
        kept = np.full(len(terms), True)
        coefficients = np.zeros(len(terms))
        for _ in range(ROUNDS):
            coefficients[:] = 0.0
            coefficients[kept] = np.linalg.lstsq(A[:, kept], slope, rcond=None)[0]
            kept = np.abs(coefficients) >= threshold
            if not kept.any():
                break
        found.append({terms[i]: float(coefficients[i]) for i in np.flatnonzero(kept)})
    return found
