"""Laws that hold constants of nature by name, on both faces."""

from pathlib import Path

import numpy as np
import pytest

from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from envs.symbolic.units import SCALE, Units
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.symbolic import SymbolicRegressor
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.experiment import build_search, table_of
from rl_suite.symbolic.nature import KNOWN, as_numbers, beside, read_nature
from rl_suite.symbolic.search import Search

RNG = np.random.default_rng(0)
PHOTONS = np.column_stack([10 ** RNG.uniform(13, 15, 100), RNG.uniform(300, 6000, 100)])  # 1/s, K
OCCUPATION = 1 / np.expm1(KNOWN["hbar"].value * PHOTONS[:, 0] / (KNOWN["k_B"].value * PHOTONS[:, 1]))
UNITS = {"x0": "1/s", "x1": "K"}


@pytest.fixture(scope="module")
def photons() -> SymbolicRegressor:
    model = SymbolicRegressor(budget=60_000, units=UNITS, target_unit="1", nature=["hbar", "k_B"])
    return model.fit(PHOTONS, OCCUPATION)


def test_the_law_names_them(photons: SymbolicRegressor) -> None:
    names = photons.law_.library.variables
    truth = parse("1/(exp(hbar*x0/(k_B*x1)) - 1)", Library("full", names, constant=True))
    assert {"hbar", "k_B"} <= {str(symbol) for symbol in photons.sympy().free_symbols}
    assert "hbar" in str(photons.law_)
    assert photons.stopped_ == "exact"
    other = np.column_stack([10 ** RNG.uniform(12.5, 15, 50), RNG.uniform(200, 8000, 50)])
    expected = 1 / np.expm1(KNOWN["hbar"].value * other[:, 0] / (KNOWN["k_B"].value * other[:, 1]))
    np.testing.assert_allclose(photons.predict(other), expected, rtol=1e-9)
    assert truth.program.size == photons.law_.program.size  # nothing beside the truth


def test_what_is_handed_over_reads_the_columns_alone(photons: SymbolicRegressor, tmp_path: Path) -> None:
    space: dict[str, object] = {}
    exec(photons.numpy_code(), space)
    function = next(value for name, value in space.items() if callable(value) and not name.startswith("__"))
    np.testing.assert_allclose(function(*PHOTONS.T), photons.predict(PHOTONS), rtol=1e-12)
    photons.save(tmp_path / "law.json")
    again = SymbolicRegressor.load(tmp_path / "law.json")
    np.testing.assert_array_equal(again.predict(PHOTONS), photons.predict(PHOTONS))
    assert str(again.law_) == str(photons.law_)


def test_ones_own_in_a_unit_of_ones_own() -> None:
    """Kepler's third law about the Earth, in kilometres and minutes."""
    axis = RNG.uniform(7000, 42000, 60)
    minutes = 2 * np.pi * np.sqrt(axis**3 / 398600.4418) / 60
    model = SymbolicRegressor(
        budget=30_000, units={"x0": "km"}, target_unit="min", nature={"mu": "398600.4418 km^3/s^2"}
    ).fit(axis[:, None], minutes)
    assert "mu" in str(model.law_)
    assert [constant.name for constant in model.constants_] == ["pi/30"]
    np.testing.assert_allclose(
        model.predict(np.array([[384_400.0]])), 2 * np.pi * (384_400.0**3 / 398600.4418) ** 0.5 / 60
    )


def test_the_command_line_takes_them(tmp_path: Path) -> None:
    rows = "\n".join(f"{w!r},{T!r},{n!r}" for (w, T), n in zip(PHOTONS.tolist(), OCCUPATION.tolist(), strict=True))
    (tmp_path / "photons.csv").write_text(f"omega,T,n\n{rows}\n")
    words = ["experiment=symbolic_search", f"data={tmp_path / 'photons.csv'}", "target=n"]
    config = load_experiment(DEFAULT_CONFIG, [*words, "units={omega: 1/s, T: K, n: 1}", "nature=[hbar, k_B]"])
    assert isinstance(config, SymbolicConfig)
    table = table_of(config)
    assert table.data.variables == ("omega", "T", "hbar", "k_B")
    assert table.messages == ("constants of nature: hbar = 1.05457e-34 J*s, k_B = 1.38065e-23 J/K",)
    build_search(config, table.data)
    (tmp_path / "more.csv").write_text((tmp_path / "photons.csv").read_text())
    both = f"data=[{tmp_path / 'photons.csv'}, {tmp_path / 'more.csv'}]"
    several = load_experiment(
        DEFAULT_CONFIG, [words[0], both, words[2], "units={omega: 1/s, T: K, n: 1}", "nature=[hbar, k_B]"]
    )
    assert table_of(several).messages == table.messages
    for wrong, said in [
        ("nature=[hbarr]", "did you mean 'hbar'"),
        ("nature={T: 3 K}", "a column is called 'T' as well"),
        ("nature={x: fast}", "write a number other than 0 and its unit"),
        ("nature={x: 0 m}", "write a number other than 0 and its unit"),
        ("nature={x: nan m}", "write a number other than 0 and its unit"),
        ("nature={x: 3 zorks}", "'zorks' is not known"),
        ("nature={pi: 3 m}", "'pi'"),
        ("nature=3", "must be a list of names"),
        ("nature=[[c]]", "must be a list of names"),
    ]:
        with pytest.raises(UserError, match=said):
            table_of(load_experiment(DEFAULT_CONFIG, [*words, "units={omega: 1/s, T: K, n: 1}", wrong]))
    with pytest.raises(UserError, match="give the units of all columns too"):
        table_of(load_experiment(DEFAULT_CONFIG, [*words, "nature=[c]"]))


@pytest.mark.parametrize("nature", [["speed of light"], {"x0": "3 K"}, "c", 3, {"y": "K"}, {"": "3 m"}])
def test_the_estimator_refuses_what_is_none(nature: object) -> None:
    with pytest.raises(ValueError, match=r"nature|variable name"):
        SymbolicRegressor(budget=100, units=UNITS, target_unit="1", nature=nature).fit(PHOTONS, OCCUPATION)


def test_without_units_there_are_none() -> None:
    with pytest.raises(ValueError, match="give the units of all columns too"):
        SymbolicRegressor(budget=100, nature=["c"]).fit(PHOTONS, OCCUPATION)


def test_a_number_with_their_unit_is_one_of_them() -> None:
    """Gravity between two places on a line: a quotient of polynomials, which is found with a number before it."""
    m1, m2, a, b = RNG.uniform(1, 5, (4, 120)) * np.array([[1e24], [1e24], [1e6], [1e6]])
    force = KNOWN["G"].value * m1 * m2 / (a**2 + b**2)
    units = {"x0": "kg", "x1": "kg", "x2": "m", "x3": "m"}
    model = SymbolicRegressor(budget=20_000, units=units, target_unit="N", nature=["G"])
    model.fit(np.column_stack([m1, m2, a, b]), force)
    assert str(model.law_) == "G*x0*x1/(x2**2 + x3**2)"


def test_a_short_search_with_the_prior_takes_them() -> None:
    energy = PHOTONS[:, 0] * KNOWN["hbar"].value
    model = SymbolicRegressor(budget=3_000, units=UNITS, target_unit="J", nature=["hbar", "c"]).fit(PHOTONS, energy)
    assert str(model.law_) == "hbar*x0"


def test_columns_that_do_not_vary_are_no_tokens_but_stand_in_groups() -> None:
    X, names, units = beside(
        PHOTONS, ("w", "T"), Units.from_text(["w", "T"], {"w": "1/s", "T": "K"}, "1"), read_nature(["hbar", "k_B"])
    )
    search = Search(Data(X, OCCUPATION, names, units), Options(), 0, 1_000)
    assert search.library.variables == ("w", "T", "hbar", "k_B", "group_0")
    drawn = np.diff(search.alphabet.symbols.leaf_cdf, prepend=0.0) > 0
    leaves = [search.library.tokens[int(i)].name for i in search.alphabet.symbols.leaves]
    assert {name for name, may in zip(leaves, drawn, strict=True) if may} == {"w", "T", "group_0", "1", "2", "pi"}


def test_units_are_joined_in_any_size() -> None:
    units = Units.from_text(["v"], {"v": "km/s"}, "m").joined(["J", "g"])
    assert [scale.value for scale in units.scales] == [1000.0, 1.0, 0.001, 1.0]
    assert dict(zip(units.base, (units.variables[1] // SCALE).tolist(), strict=True)) == {"m": 2, "s": -2, "kg": 1}


def test_a_law_with_their_values_is_one_of_the_columns(photons: SymbolicRegressor) -> None:
    law = as_numbers(photons.law_, read_nature(["hbar", "k_B"]))
    assert law.library.variables == ("x0", "x1")
    np.testing.assert_allclose(law.predict(PHOTONS), OCCUPATION, rtol=1e-9)
