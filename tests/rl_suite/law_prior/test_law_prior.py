"""The experiment of a prior: a training that is saved and goes on is the same, and its report says what it counts."""

import numpy as np
import torch

from envs.symbolic.form_programs import FormIndex
from rl_suite.law_prior.experiment import PriorReport
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
    report = PriorReport((outcome("a", 1), outcome("a", 0, row="s")), 100)
    report.save(tmp_path / "r.json")
    assert "outcomes" in (tmp_path / "r.json").read_text()
    assert len(report.tables()[0].rows) == 2


def test_the_table_of_another_law_is_that_of_another_form():
    every = held_out_trials(0, 0)
    for i in range(0, len(every), 10):
        j = donor_of(every, i, 0)
        assert j != i
        assert abs(every[j].X.shape[1] - every[i].X.shape[1]) <= 4
    assert np.isfinite([t.y.std() for t in every]).all()
