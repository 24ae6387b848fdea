"""A large family of laws: templates of how physics looks, filled at random, in groups that splits respect.

A family is one structure (a damped wave, a saturation, ...). Tasks of one family differ in exponents,
factors, names and ranges; a test on unseen families therefore asks for more than a memory of structures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Generator = np.random.Generator
NAMES = ("a", "b", "d", "f", "h", "k", "m", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z")
FACTORS = ("2", "3", "4", "5", "0.5", "1.5", "0.25")
POWERS = ("", "", "", "**2", "**3")


@dataclass(frozen=True)
class Template:
    """A family of laws: ``write(rng, names)`` gives one formula that uses the names."""

    name: str
    domain: str
    n_variables: int
    difficulty: float
    write: Callable[[Generator, Sequence[str]], str]


def _pick(rng: Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _power_law(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*{n[0]}{_pick(rng, POWERS)}*{n[1]}/{n[2]}{_pick(rng, POWERS)}"


def _root_law(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*sqrt({n[0]}*{n[1]}{_pick(rng, POWERS)}/{n[2]})"


def _energy(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]}*{n[1]}**2/2 + {_pick(rng, FACTORS)}*{n[2]}*{n[3]}{_pick(rng, POWERS)}"


def _difference(rng: Generator, n: Sequence[str]) -> str:
    power = _pick(rng, ("", "**2"))
    return f"{_pick(rng, FACTORS)}*{n[0]}*({n[1]}{power} - {n[2]}{power})/{n[3]}"


def _parallel(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[2]}*{n[0]}*{n[1]}/({n[0]} + {_pick(rng, ('1', '2', '3'))}*{n[1]})"


def _saturation(rng: Generator, n: Sequence[str]) -> str:
    power = _pick(rng, ("", "**2"))
    return f"{n[0]}*{n[1]}{power}/({n[2]}{power} + {n[1]}{power})"


def _decay(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]}*exp(-{n[1]}*{n[2]}{_pick(rng, ('', '**2'))}/{_pick(rng, ('10', '20', '40'))})"


def _charging(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*{n[0]}*(1 - exp(-{n[1]}/{n[2]}))"


def _wave(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]}*{_pick(rng, ('sin', 'cos'))}({_pick(rng, FACTORS)}*{n[1]}*{n[2]})"


def _damped_wave(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]}*exp(-{n[1]}*{n[2]})*{_pick(rng, ('sin', 'cos'))}({_pick(rng, FACTORS)}*{n[2]})"


def _interference(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]} + {n[1]} + {_pick(rng, FACTORS)}*sqrt({n[0]}*{n[1]})*cos({n[2]})"


def _gaussian(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*exp(-({n[0]} - {n[1]})**2/(4*{n[2]}**2))"


def _distance(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*{n[2]}/sqrt({n[0]}**2 + {n[1]}**2)"


def _entropy(rng: Generator, n: Sequence[str]) -> str:
    return f"{_pick(rng, FACTORS)}*{n[0]}*{n[1]}{_pick(rng, POWERS)}*log({n[2]}/{n[3]})"


def _angle(rng: Generator, n: Sequence[str]) -> str:
    return f"{n[0]}*({n[1]} + {_pick(rng, FACTORS)}*{n[2]}*cos({n[3]}))"


def _mixing(rng: Generator, n: Sequence[str]) -> str:
    return f"({n[0]}*{n[1]} + {n[2]}*{n[3]})/({n[0]} + {n[2]})"


TEMPLATES: tuple[Template, ...] = (
    Template("power_law", "mechanics", 3, 0.2, _power_law),
    Template("root_law", "waves", 3, 0.3, _root_law),
    Template("energy", "mechanics", 4, 0.4, _energy),
    Template("difference", "thermodynamics", 4, 0.4, _difference),
    Template("parallel", "electromagnetism", 3, 0.5, _parallel),
    Template("saturation", "chemistry", 3, 0.5, _saturation),
    Template("decay", "quantum", 3, 0.4, _decay),
    Template("charging", "electromagnetism", 3, 0.5, _charging),
    Template("wave", "waves", 3, 0.3, _wave),
    Template("damped_wave", "waves", 3, 0.6, _damped_wave),
    Template("interference", "waves", 3, 0.7, _interference),
    Template("gaussian", "statistics", 3, 0.6, _gaussian),
    Template("distance", "gravitation", 3, 0.5, _distance),
    Template("entropy", "thermodynamics", 4, 0.5, _entropy),
    Template("angle", "electromagnetism", 4, 0.5, _angle),
    Template("mixing", "thermodynamics", 4, 0.7, _mixing),
)


def fill(template: Template, rng: Generator) -> tuple[str, tuple[str, ...], tuple[tuple[float, float], ...]]:
    """One law of a family: formula, variable names, ranges (all positive, at most a decade wide)."""
    chosen = rng.choice(len(NAMES), template.n_variables, replace=False)
    names = tuple(NAMES[int(i)] for i in chosen)
    ranges = []
    for _ in names:
        low = float(np.round(rng.uniform(0.2, 2.0), 2))
        ranges.append((low, float(np.round(low + rng.uniform(1.0, 4.0), 2))))
    return template.write(rng, names), names, tuple(ranges)


FEYNMAN_FAMILIES: dict[str, str] = {
    "I.6": "statistics",
    "I.8": "geometry",
    "I.9": "gravitation",
    "I.10": "relativity",
    "I.11": "geometry",
    "I.12": "fields",
    "I.13": "gravitation",
    "I.14": "energy",
    "I.15": "relativity",
    "I.16": "relativity",
    "I.18": "rotation",
    "I.24": "oscillation",
    "I.25": "circuits",
    "I.26": "optics",
    "I.27": "optics",
    "I.29": "interference",
    "I.30": "interference",
    "I.32": "radiation",
    "I.34": "doppler",
    "I.37": "interference",
    "I.38": "atoms",
    "I.39": "gases",
    "I.40": "boltzmann",
    "I.41": "boltzmann",
    "I.43": "transport",
    "I.44": "gases",
    "I.47": "gases",
    "I.48": "relativity",
    "I.50": "oscillation",
    "II.2": "transport",
    "II.3": "transport",
    "II.4": "potentials",
    "II.6": "potentials",
    "II.8": "potentials",
    "II.10": "dielectrics",
    "II.11": "dielectrics",
    "II.13": "currents",
    "II.15": "moments",
    "II.21": "doppler",
    "II.24": "waveguides",
    "II.27": "radiation",
    "II.34": "magnetism",
    "II.35": "magnetism",
    "II.36": "magnetism",
    "II.37": "magnetism",
    "II.38": "elasticity",
    "III.4": "boltzmann",
    "III.7": "quantum",
    "III.8": "quantum",
    "III.9": "quantum",
    "III.10": "moments",
    "III.12": "atoms",
    "III.13": "lattices",
    "III.14": "junctions",
    "III.15": "lattices",
    "III.17": "angles",
    "III.19": "atoms",
    "III.21": "currents",
}
