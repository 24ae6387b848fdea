"""A system of laws: one for each state, what it leaves, and the trajectories that it makes when it is integrated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from rl_suite.symbolic.data import Options
from rl_suite.symbolic.dynamics.identify import Identifier, StateLaw
from rl_suite.symbolic.dynamics.weak import Trajectory, WeakForm
from rl_suite.symbolic.laws.law import Law

Values = NDArray[np.float64]
FOLLOWED = 0.3  # of the spread of the states: the distance up to which a simulation follows the data
FIRST_SAMPLES, FIRST_SHARE, STARTS, FAR = 15, 0.08, 8, 10.0  # that a first state is fitted to; steps; clipped there
ESCAPED = 1e3  # times the largest value measured, where a simulation is stopped
TOLERANCE, MOST_STEPS = 1e-8, 200_000  # of the integration: relative, and evaluations of the laws
DEGREE, BUDGET = 3, 50_000  # of the terms, and programs per state where they do not reach the noise; as in config.yaml


@dataclass(frozen=True)
class Followed:
    """A trajectory beside its simulation from the first (smoothed) state.

    Attributes:
        simulated: (n, d) states at the times of the data; NaN where the integration did not get.
        error: (d,) root mean square of the difference over the standard deviation of each state.
        until: how long the simulation stays within ``FOLLOWED`` of the data, in units of time, of ``length`` in all.
    """

    simulated: Values
    error: Values
    until: float
    length: float


@dataclass(frozen=True)
class System:
    """dx/dt = f(x): a law for each state, found in trajectories."""

    states: tuple[StateLaw, ...]
    noise: Values
    """(d,) standard deviation of the noise of each state, as it was estimated."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the states."""
        return tuple(state.state for state in self.states)

    @property
    def laws(self) -> tuple[Law, ...]:
        """Of the states' derivatives."""
        return tuple(state.chosen.law for state in self.states)

    def follow(self, trajectory: Trajectory) -> Followed:
        """The simulation from a trajectory's first state, and how far it follows the data."""
        t, X = trajectory.t, trajectory.X
        escaped = ESCAPED * float(np.abs(X).max())
        simulated = simulate(self.laws, self._start(trajectory, escaped), t, escaped)
        spread = np.maximum(X.std(axis=0), 1e-300)
        off = (simulated - X) / spread
        far = np.flatnonzero(~(np.sqrt((off**2).mean(axis=1)) <= FOLLOWED))
        until = float(t[far[0]] - t[0]) if len(far) else float(t[-1] - t[0])
        error = np.sqrt(np.nan_to_num(off**2, nan=np.inf).mean(axis=0))
        return Followed(simulated, error, until, float(t[-1] - t[0]))

    def _start(self, trajectory: Trajectory, escaped: float) -> Values:
        """The first state, such that the laws follow the first samples best; a spline's end alone is half as sure."""
        n = min(len(trajectory.t), max(FIRST_SAMPLES, int(FIRST_SHARE * len(trajectory.t))))
        t, X, spread = trajectory.t[:n], trajectory.X[:n], np.maximum(trajectory.X.std(axis=0), 1e-300)
        smooth = WeakForm.of(trajectory).smooth[0]

        def off(start: Values) -> Values:
            distance = (simulate(self.laws, start, t, escaped) - X) / spread
            bounded: Values = np.clip(np.nan_to_num(distance, nan=FAR), -FAR, FAR).ravel()
            return bounded

        found: Values = least_squares(off, smooth, x_scale=spread, max_nfev=STARTS).x
        return found


def discover(
    trajectories: Sequence[Trajectory],
    names: Sequence[str],
    degree: int = DEGREE,
    budget: int = BUDGET,
    options: Options | None = None,
    seed: int = 0,
) -> System:
    """The system of laws behind trajectories of the same states.

    Args:
        trajectories: samples with noise, of the states called ``names``.
        names: of the states.
        degree: of the polynomial terms that are tried first.
        budget: programs that a search may evaluate for a state whose law is no sum of few of them; 0: no search.
        options: of that search.
        seed: of that search.

    Raises:
        ValueError: trajectories that do not fit together, or of states that never change.
    """
    if not trajectories or any(own.X.shape[1] != len(names) for own in trajectories):
        raise ValueError(f"every trajectory needs the {len(names)} states {', '.join(names)}")
    forms = [WeakForm.of(own) for own in trajectories]
    identifier = Identifier(forms, names, degree, options or Options(), seed)
    states = tuple(identifier.law_of(state, budget) for state in range(len(names)))
    return System(states, np.sqrt(np.mean([form.noise**2 for form in forms], axis=0)))


def derivatives(laws: Sequence[Law], X: Values) -> Values:
    """dx/dt (n, d) at the states X (n, d)."""
    return np.column_stack([law.predict(X) for law in laws])


def simulate(laws: Sequence[Law], start: Values, t: Values, escaped: float = math.inf) -> Values:
    """States (n, d) at times t (n,) from ``start`` (d,) at t[0]; NaN from where they cannot be followed."""
    evaluations = 0

    def f(_: float, x: Values) -> Values:
        nonlocal evaluations
        evaluations += 1
        slope = derivatives(laws, x[None])[0]
        return slope if np.isfinite(slope).all() and evaluations <= MOST_STEPS else np.zeros_like(x)

    def left(_: float, x: Values) -> float:
        return float(np.abs(x).max() - escaped) if math.isfinite(escaped) else -1.0

    left.terminal = True  # type: ignore[attr-defined]
    spread = np.maximum(np.abs(start), 1e-3)
    found = solve_ivp(
        f, (t[0], t[-1]), start, "LSODA", t, rtol=TOLERANCE, atol=TOLERANCE * spread, events=left
    )  # fmt: skip
    states = np.full((len(t), len(start)), np.nan)
    reached = min(found.y.shape[1], len(t)) if evaluations <= MOST_STEPS else 1
    states[:reached] = found.y.T[:reached]
    return states


def sentences(system: System, followed: Sequence[Followed]) -> list[str]:
    """What speaks for the laws, and what does not."""
    lines = []
    for state, noise in zip(system.states, system.noise.tolist(), strict=True):
        left = "no more than its noise" if state.reaches_noise else "more than its noise: this is an approximation"
        lines.append(
            f"The law of d{state.state}/dt leaves {left} (chi square {state.misfit:.2f} per row, {state.rows} rows;"
            f" noise of {state.state} {noise:.2g})"
        )
        lines += [f"Constant of d{state.state}/dt: {constant}" for constant in state.constants]
    for number, own in enumerate(followed, start=1):
        which = f"Trajectory {number}: " if len(followed) > 1 else ""
        whole = own.until >= own.length
        lines.append(
            f"{which}Integrated from the first state, the laws follow the data "
            + ("to the end" if whole else f"for {own.until:.3g} of {own.length:.3g} units of time")
            + f", with an error of {', '.join(f'{e:.2g}' for e in own.error)} of each state's spread"
        )
    return lines


def as_plain(values: Values) -> list[Any]:
    """Numbers as JSON has them; None where they are not finite."""
    return [None if not math.isfinite(v) else v for v in np.asarray(values).tolist()]
