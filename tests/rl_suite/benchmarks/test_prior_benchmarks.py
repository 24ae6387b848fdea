"""What the benchmarks of the prior make of single measurements."""

import pytest
import torch

from envs.symbolic.benchmarks import problems
from rl_suite.benchmarks import meta_symbolic, symbolic_prior
from rl_suite.benchmarks.harness import Options
from rl_suite.benchmarks.symbolic_prior import Pair
from rl_suite.errors import UserError
from rl_suite.meta_rl.comparison import ROWS, Outcome, mates_of, measure, prior_path
from rl_suite.symbolic.data import Options as SearchOptions
from rl_suite.symbolic.prior import Prior, Shape

SMALL = Shape(width=16, heads=2, column_layers=1, token_layers=1)


def outcome(row, family, solved_at, monomial=False):
    return Outcome(row, 0, "fresh", f"law of {family}", family, monomial, 100, solved_at)


def test_shares_by_row_and_monomials_apart():
    found = [outcome("a", "f", 1, True), outcome("a", "g", 60), outcome("b", "f", 0), outcome("b", "g", 9)]
    result = meta_symbolic.summary(found, 100, 1)
    figures = {row.name: row.ours for row in result.rows}
    assert figures["fresh: a, 1 programs"] == 50.0
    assert figures["fresh: a, 100 programs"] == 100.0
    assert figures["fresh: b, 10 programs"] == 50.0
    assert any("fresh: a, monomials apart: 100" in note for note in result.notes)
    assert len(result.trials) == 4


def test_rows_of_several_priors_and_of_a_guided_search(tmp_path):
    for seed in (0, 1, 4):
        torch.manual_seed(seed)
        Prior(SMALL.build(), SMALL).save(prior_path(tmp_path, "context", seed))
    two = next(row for row in ROWS if row.priors == 2)
    assert [mates_of(tmp_path, two, seed) for seed in (0, 1, 4)] == [[1], [4], [0]]
    assert mates_of(tmp_path, ROWS[0], 0) == []
    for row in (two, *(row for row in ROWS if row.parts or row.guided)):
        (found,) = measure(row, tmp_path, "fresh", 0, 4, share=(3, 60))
        assert found.row == row.name
        assert 0 <= found.solved_at <= 4


def test_recovery_is_counted_by_programs_until_the_best_law_changed():
    nguyen = problems("nguyen")[0]
    without = symbolic_prior.recovered_within(nguyen, 0, (1, 30_000), SearchOptions(prior=None, population=100))
    assert without == [False, True]


def test_rows_are_named_or_refused():
    assert meta_symbolic.parse(["--rows", ROWS[0].name]).rows == [ROWS[0].name]
    with pytest.raises(SystemExit):
        meta_symbolic.parse(["--rows", "a row that is not there"])


def test_the_gain_of_a_prior_is_paired():
    pairs = [Pair("p", 10, (False, False), (True, True)), Pair("q", 10, (True, True), (True, True))]
    result = symbolic_prior.summary(pairs)
    assert (result.rows[0].ours, result.rows[0].peer) == (100.0, 50.0)
    assert "p 2:0" in " ".join(result.notes)


def test_a_prior_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match="none"):
        symbolic_prior.run(Options(extra=("--prior", str(tmp_path / "none"))))
