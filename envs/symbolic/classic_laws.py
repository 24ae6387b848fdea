"""Nine laws of school physics as (formula, ranges), with states that a simulation of each system would visit.

Every row of a dataset has parameters of its own, so that no parameter can hide as a constant. Quantities
are in SI units except where a column says otherwise, which keeps numbers between 1e-3 and 1e3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Generator = np.random.Generator

GRAVITY = 9.81  # m/s^2
G_EARTH_UNITS = 66.743  # constant of gravitation for masses in 1e24 kg, distances in 1e6 m, results in m/s^2
COULOMB = 8.98755e-3  # N m^2 / microcoulomb^2
GAS = 8.314462618  # J/(mol K)


@dataclass(frozen=True)
class ClassicLaw:
    """One system: the law that holds in it, and how its states are drawn."""

    name: str
    formula: str
    variables: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    states: Callable[[Generator, int], Values]  # (rng, n) -> (n, d), columns in the order of ``variables``
    domain: str
    difficulty: float
    symmetries: tuple[str, ...]
    conserved: tuple[str, ...]
    parameters: tuple[str, ...]
    description: str


def _uniform(rng: Generator, n: int, *ranges: tuple[float, float]) -> list[Values]:
    return [rng.uniform(low, high, n) for low, high in ranges]


def _oscillator(rng: Generator, n: int) -> Values:
    """An undamped oscillator at a random time after a random start."""
    x0, v0, k, m, t = _uniform(rng, n, (-2, 2), (-2, 2), (0.5, 3), (0.5, 2), (0, 10))
    w = np.sqrt(k / m)
    x = x0 * np.cos(w * t) + v0 / w * np.sin(w * t)
    v = v0 * np.cos(w * t) - x0 * w * np.sin(w * t)
    return np.column_stack([x, v, k, m])


def _small_pendulum(rng: Generator, n: int) -> Values:
    """A pendulum of small swing at a random time."""
    theta0, omega0, length, t = _uniform(rng, n, (-0.3, 0.3), (-0.3, 0.3), (0.5, 2), (0, 10))
    w = np.sqrt(GRAVITY / length)
    return np.column_stack([theta0 * np.cos(w * t) + omega0 / w * np.sin(w * t), length])


def _pendulum(rng: Generator, n: int) -> Values:
    """States within a large swing with friction."""
    return np.column_stack(_uniform(rng, n, (-math.pi / 2, math.pi / 2), (-3, 3), (0.5, 2), (0, 0.5)))


def _orbit(rng: Generator, n: int) -> Values:
    """Distances all along elliptic orbits of random size and eccentricity, around planets of random mass."""
    mass, semi_axis, eccentricity, anomaly = _uniform(rng, n, (0.5, 20), (10, 40), (0, 0.6), (0, 2 * math.pi))
    r = semi_axis * (1 - eccentricity**2) / (1 + eccentricity * np.cos(anomaly))
    return np.column_stack([mass, r])


def _damped(rng: Generator, n: int) -> Values:
    """States of a damped oscillator; its mass is observed."""
    return np.column_stack(_uniform(rng, n, (-2, 2), (-2, 2), (1, 3), (0.1, 1), (0.5, 2)))


def _gas(rng: Generator, n: int) -> Values:
    """Amounts (mol), temperatures (K) and volumes (litres) around room conditions."""
    return np.column_stack(_uniform(rng, n, (0.1, 2), (250, 400), (10, 100)))


def _charges(rng: Generator, n: int) -> Values:
    """Two charges of either sign (microcoulomb) at distances of 0.1 to 1 m."""
    return np.column_stack(_uniform(rng, n, (-1, 1), (-1, 1), (0.1, 1)))


def _collision(rng: Generator, n: int) -> Values:
    """Two bodies after an elastic collision on a line."""
    m1, m2, u1, u2 = _uniform(rng, n, (0.5, 2), (0.5, 2), (-2, 2), (-2, 2))
    v1 = ((m1 - m2) * u1 + 2 * m2 * u2) / (m1 + m2)
    v2 = ((m2 - m1) * u2 + 2 * m1 * u1) / (m1 + m2)
    return np.column_stack([m1, v1, m2, v2])


def _double_pendulum(rng: Generator, n: int) -> Values:
    """States of double pendulums on several planets."""
    angle, speed, mass, length = (-math.pi, math.pi), (-3, 3), (0.5, 2), (0.5, 2)
    ranges = (angle, angle, speed, speed, mass, mass, length, length, (1.6, 25.0))
    return np.column_stack(_uniform(rng, n, *ranges))


CLASSIC_LAWS: tuple[ClassicLaw, ...] = (
    ClassicLaw(
        "harmonic_oscillator_energy",
        "m*v**2/2 + k*x**2/2",
        ("x", "v", "k", "m"),
        ((-3, 3), (-5, 5), (0.5, 3), (0.5, 2)),
        _oscillator,
        "mechanics",
        0.2,
        ("time translation", "reflection"),
        ("energy",),
        ("k", "m"),
        "energy of a mass on a spring",
    ),
    ClassicLaw(
        "pendulum_small_angle",
        f"-{GRAVITY}*theta/L",
        ("theta", "L"),
        ((-0.4, 0.4), (0.5, 2)),
        _small_pendulum,
        "mechanics",
        0.3,
        ("time translation", "reflection"),
        ("energy",),
        ("L",),
        "angular acceleration of a pendulum that swings little",
    ),
    ClassicLaw(
        "pendulum_nonlinear",
        f"-{GRAVITY}*sin(theta)/L - b*omega",
        ("theta", "omega", "L", "b"),
        ((-math.pi / 2, math.pi / 2), (-3, 3), (0.5, 2), (0, 0.5)),
        _pendulum,
        "mechanics",
        0.5,
        ("time translation", "reflection"),
        (),
        ("L", "b"),
        "angular acceleration of a pendulum with friction",
    ),
    ClassicLaw(
        "kepler_orbit",
        f"{G_EARTH_UNITS}*M/r**2",
        ("M", "r"),
        ((0.5, 20), (4, 64)),
        _orbit,
        "gravitation",
        0.6,
        ("rotation", "time translation"),
        ("energy", "angular momentum"),
        ("M",),
        "acceleration of a satellite; M in 1e24 kg, r in 1e6 m",
    ),
    ClassicLaw(
        "damped_oscillator",
        "-(k*x + b*v)/m",
        ("x", "v", "k", "b", "m"),
        ((-2, 2), (-2, 2), (1, 3), (0.1, 1), (0.5, 2)),
        _damped,
        "mechanics",
        0.5,
        ("time translation", "reflection"),
        (),
        ("k", "b", "m"),
        "acceleration of a mass on a spring with friction",
    ),
    ClassicLaw(
        "ideal_gas",
        f"{GAS}*n*T/V",
        ("n", "T", "V"),
        ((0.1, 2), (250, 400), (10, 100)),
        _gas,
        "thermodynamics",
        0.3,
        ("scaling",),
        (),
        (),
        "pressure (kPa) of n mol at T kelvin in V litres",
    ),
    ClassicLaw(
        "coulomb_law",
        f"{COULOMB}*q1*q2/r**2",
        ("q1", "q2", "r"),
        ((-1, 1), (-1, 1), (0.1, 1)),
        _charges,
        "electromagnetism",
        0.4,
        ("rotation", "charge exchange"),
        (),
        (),
        "force between two charges in microcoulomb; like charges repel (positive)",
    ),
    ClassicLaw(
        "elastic_collision",
        "m1*v1**2/2 + m2*v2**2/2",
        ("m1", "v1", "m2", "v2"),
        ((0.5, 2), (-6, 6), (0.5, 2), (-6, 6)),
        _collision,
        "mechanics",
        0.7,
        ("exchange", "reflection"),
        ("energy", "momentum"),
        ("m1", "m2"),
        "kinetic energy of two bodies after they collided",
    ),
    ClassicLaw(
        "double_pendulum_energy",
        "(m1 + m2)*(L1*omega1)**2/2 + m2*(L2*omega2)**2/2 + m2*L1*L2*omega1*omega2*cos(theta1 - theta2)"
        " - (m1 + m2)*g*L1*cos(theta1) - m2*g*L2*cos(theta2)",
        ("theta1", "theta2", "omega1", "omega2", "m1", "m2", "L1", "L2", "g"),
        (*2 * ((-math.pi, math.pi),), *2 * ((-3.0, 3.0),), *2 * ((0.5, 2.0),), *2 * ((0.5, 2.0),), (1.6, 25.0)),
        _double_pendulum,
        "mechanics",
        0.9,
        ("time translation",),
        ("energy",),
        ("m1", "m2", "L1", "L2", "g"),
        "energy of a double pendulum",
    ),
)
