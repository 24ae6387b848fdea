"""What a prior proposes becomes laws in the table's own units, and the search and the regressor take them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from envs.symbolic.fitted_forms import fit_forms, scaled
from envs.symbolic.law_forms import encode, form_library, form_of
from envs.symbolic.pointwise import evaluate_pointwise
from envs.symbolic.text import parse
from envs.symbolic.tokens import Library
from rl_suite.errors import UserError
from rl_suite.symbolic.data import Data, Options
from rl_suite.symbolic.forms.proposals import unscaled
from rl_suite.symbolic.prior import Prior, Shape
from rl_suite.symbolic.regressor import SymbolicRegressor
from rl_suite.symbolic.search import Search

NAMES = ("a", "b", "c")
LIBRARY, OUTPUT = Library("full", NAMES, literals=("pi",), constant=True), Library("full", NAMES, constant=True)


@pytest.fixture(scope="module")
def prior_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "p.safetensors"
    shape = Shape(width=16, heads=2, column_layers=1, token_layers=1)
    torch.manual_seed(0)
    Prior(shape.build(), shape).save(path)
    return path


@pytest.mark.parametrize(
    "formula",
    ["3*a*b/c", "a*(1 - exp(-b/c/100))", "2*a + 3*b*c**2", "a/sqrt(1 + b**2/25)", "c*log(a + b)", "1/(1/a + 1/b)"],
)
def test_constants_of_scaled_data_become_those_of_the_table(formula):
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (64, 3)) * np.array([1.0, 10.0, 0.1])
    law = parse(formula, LIBRARY)
    y = evaluate_pointwise(law.program, X, LIBRARY, law.constants)
    program, data = encode(form_of(law, LIBRARY)), scaled(X, y)
    dressed, sizes, fits = fit_forms(program[None], np.array([len(program)]), data, 0)
    found = unscaled(dressed[0, : sizes[0]], fits.constants[0], data, NAMES).law(OUTPUT)
    assert ((found.predict(X) - y) ** 2).mean() < 1e-12 * y.var()


def test_a_search_asks_its_prior_first_and_counts_what_it_tries(prior_file, caplog):
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (40, 2))
    data = Data(X, X[:, 0] * X[:, 1], ("u", "v"))
    options = Options(population=20, polynomials=False, prior=prior_file, proposals=30)
    search = Search(data, options, seed=0, budget=30)
    search.step()
    assert search.evaluations >= 20
    wide = Data(rng.uniform(1.0, 3.0, (40, 11)), rng.uniform(size=40), tuple(f"x{i}" for i in range(11)))
    Search(wide, options, seed=0, budget=30).step()
    assert "at most 10 columns" in caplog.text
    few = Data(X[:2], X[:2, 0], ("u", "v"))
    Search(few, options, seed=0, budget=30).step()
    assert "not 2 and 2: the search runs without it" in caplog.text


def test_the_regressor_takes_a_prior_and_says_what_is_wrong_with_it(prior_file, tmp_path):
    x = np.linspace(0.5, 3.0, 30)[:, None]
    model = SymbolicRegressor(budget=2_000, prior=prior_file, random_state=0).fit(x, 3 * x[:, 0] ** 2)
    assert np.allclose(model.predict(x), 3 * x[:, 0] ** 2)
    with pytest.raises(UserError, match="none"):
        SymbolicRegressor(budget=200, prior=tmp_path / "none").fit(x, x[:, 0])


def test_by_default_small_searches_ask_the_shipped_prior_and_large_ones_none(prior_file):
    assert Options().prior_within(10_000) == Path("shipped")
    assert Options().prior_within(10_001) is None
    assert Options(prior=None).prior_within(10) is None
    assert Options(prior=prior_file).prior_within(10**6) == prior_file


def test_a_prior_comes_before_the_openings():
    """A law is known after 110 programs of which the openings, which try ten thousand, know nothing so early."""
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (64, 3))
    data = Data(X, X[:, 0] * X[:, 1] * np.cos(X[:, 2]), NAMES)

    def found_at(options):
        search = Search(data, options, seed=0, budget=110)
        search.step()
        return search.archive.found_at if search.archive.solved else np.inf

    assert found_at(Options()) <= 110 < found_at(Options(prior=None))


def test_the_shipped_prior_is_a_prior():
    prior = Prior.load(Path("shipped"))
    assert prior.facts["laws"] > 100_000
    rng = np.random.default_rng(0)
    X = rng.uniform(1.0, 3.0, (64, 3))
    programs, _ = prior.propose(X, X[:, 0] / X[:, 1], 3)
    assert "div x0 x1" in {" ".join(form_library(3).decode(p)) for p in programs}
