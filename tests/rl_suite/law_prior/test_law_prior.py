"""The experiment of a prior: a training that is saved and goes on is the same, and its report says what it counts."""

import numpy as np
import pytest
import torch

from envs.symbolic.form_programs import FormIndex
from rl_suite.law_prior.experiment import PriorReport
from rl_suite.law_prior.looks import LEAST_COUNT, Writing, draw_looks, looked_at, writings_of
from rl_suite.meta_rl.comparison import Outcome, donor_of, median_programs, solved_share
from rl_suite.meta_rl.pretraining import Pretraining, PriorTraining
from rl_suite.meta_rl.protocol import held_out_trials
from rl_suite.symbolic.prior import Shape

SMALL = Shape(width=16, heads=2, column_layers=1, token_layers=1)


def training(laws=8_400):
    return PriorTraining(SMALL, Pretraining(laws=laws, seconds=1e9, batch_size=512), 0, FormIndex([]))


def test_a_training_that_was_saved_goes_on_with_the_same_bits():
    whole, first = training(), training()
    whole.step()
    first.step()
    second = training()
    second.load_state_dict(first.state_dict())
    whole.step()
    second.step()
    assert whole.laws == second.laws > first.laws
    for a, b in zip(whole.policy.state_dict().values(), second.policy.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def outcome(family, solved_at, law="l", seed=0, row="r"):
    return Outcome(row, seed, "fresh", law, family, False, 100, solved_at)


def test_shares_count_programs_and_resample_families():
    found = [outcome("a", 1), outcome("a", 50, "m"), outcome("b", 0), outcome("b", 200, "m")]
    assert solved_share(found, 1).estimate == 25.0
    assert solved_share(found, 100).estimate == 50.0
    assert (solved_share(found, 100).low, solved_share(found, 100).high) == (0.0, 100.0)
    assert median_programs(found) == 50.0
    assert median_programs(found[2:]) == 200.0
    better = solved_share(
        found, 100, minus=[outcome("a", 0), outcome("a", 0, "m"), outcome("b", 0), outcome("b", 0, "m")]
    )
    assert better.estimate == 50.0


def test_the_report_has_a_row_for_each_way(tmp_path):
    looks = {"sqrt": {"uses": 6.0, "table": 0.5}}
    report = PriorReport((outcome("a", 1), outcome("a", 0, row="s")), 100, looks)
    report.save(tmp_path / "r.json")
    assert "outcomes" in (tmp_path / "r.json").read_text()
    assert len(report.tables()[0].rows) == 2


def test_attention_is_told_by_symbol():
    # sqrt(x0 * x1) + x2, by hand: the sum looks at the table, the root at what stands under it, the product evenly
    names = ("add", "x2", "sqrt", "mul", "x0", "x1")
    below = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
    at = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0.4, 0.4, 0.2], [0.4, 0.2, 0.2, 0.2], [0, 1, 0, 0], [0, 0, 1, 0]])
    writing = Writing(names, ("x0", "x1", "x2"), below, at[None], np.zeros((1, 6, 6)))
    found = looked_at([writing] * LEAST_COUNT)
    assert set(found) == {"add", "sqrt", "mul"}
    assert found["sqrt"] == pytest.approx({"uses": 5.0, "table": 0.0, "column_below": 0.4, "column_elsewhere": 0.2})
    assert found["add"] == {"uses": 5.0, "table": 1.0}  # every column stands under it
    assert looked_at([writing]) == {}


def test_a_law_is_followed_token_by_token_and_drawn_before_and_after(tmp_path):
    torch.manual_seed(0)
    policy = SMALL.build()
    trial, writing = next((t, w) for t, w in writings_of(policy, held_out_trials(0, 0)) if "sqrt" in w.names)
    n, v = len(writing.names), len(writing.columns)
    assert writing.at_table.shape == (1, n, 1 + v)
    assert np.allclose(writing.at_table.sum(-1), 1.0)
    assert np.allclose(writing.at_tokens.sum(-1), 1.0)
    assert writing.below[0].sum() == len({name for name in writing.names if name in writing.columns})
    draw_looks(policy, [trial], 1, 0, tmp_path / "attention.png")
    assert (tmp_path / "attention.png").stat().st_size > 10_000


def test_the_table_of_another_law_is_that_of_another_form():
    every = held_out_trials(0, 0)
    for i in range(0, len(every), 10):
        j = donor_of(every, i, 0)
        assert j != i
        assert abs(every[j].X.shape[1] - every[i].X.shape[1]) <= 4
    assert np.isfinite([t.y.std() for t in every]).all()
