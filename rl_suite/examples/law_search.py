"""Find laws in tables: Kepler's third law in the planets, and a noisy pendulum that you could have measured.

python -m rl_suite.examples.law_search
"""

from pathlib import Path

import numpy as np

from rl_suite.examples.usage import run
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.report import Report
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.table import read_table


def kepler() -> Search:
    """Period from semi-major axis, eccentricity and mass; two of these do not matter."""
    table = read_table(Path("planets.csv"), target="period")
    search = Search(table.data, Options(), seed=0, budget=30_000)
    search.run()
    return search


def pendulum(noise: float) -> SymbolicRegressor:
    """Period of a pendulum (s) from length (m) and gravity (m/s^2), with units and measurement noise."""
    rng = np.random.default_rng(0)
    length, gravity = rng.uniform(0.2, 2.0, 200), rng.uniform(1.6, 25.0, 200)
    period = 2 * np.pi * np.sqrt(length / gravity)
    period *= 1 + noise * rng.standard_normal(200)
    units = {"x0": "m", "x1": "m/s^2"}
    model = SymbolicRegressor(budget=30_000, units=units, target_unit="s", random_state=0)
    return model.fit(np.column_stack([length, gravity]), period)


def main() -> None:
    """Search both and print what was found."""
    search = kepler()
    report = Report.of(search.findings(), search.given, search.reason, search.evaluations)
    print("\n".join(report.lines()))
    model = pendulum(noise=0.01)
    print(f"pendulum, 1 % noise: period = {model.law_}   ({model.stopped_} after {model.evaluations_} programs)")
    print("\n".join(f"        constant {constant}" for constant in model.constants_))


if __name__ == "__main__":
    run(main, __doc__)
