"""Statistics of attention by hand, verdicts that notice contradictions, and comparisons of compressed contexts."""

import math
from dataclasses import replace

import numpy as np
import pytest

from rl_suite.distillation.attention.pictures import Heatmaps
from rl_suite.distillation.attention.statistics import (
    auto_choice,
    classic_statistics,
    head_statistics,
    verdict,
    without_sinks,
)
from rl_suite.distillation.compression.trials import compare
from rl_suite.evaluation.evaluate import EvaluationSpec
from rl_suite.evaluation.report import EvaluationResult

ROW = np.array([0.4, 0.0, 0.1, 0.0, 0.0, 0.1, 0.0, 0.2, 0.2])  # eight context steps and the query itself
NONE = np.zeros(8, dtype=bool)


def test_classic_statistics_by_hand():
    found = classic_statistics(ROW)
    assert found.mean == pytest.approx(0.1)
    assert found.concentration == pytest.approx(math.sqrt((0.16 + 0.01 + 0.01 + 0.04) / 8 - 0.01))
    assert found.entropy == pytest.approx(-(0.4 * math.log(0.4) + 0.2 * math.log(0.1) + 0.2 * math.log(0.2)), abs=1e-6)
    assert found.recency == pytest.approx(0.1 / 0.2)


def test_head_statistics_by_hand():
    rewarded = np.array([False, False, True, False, False, False, False, True])
    same = np.array([True, False, False, False, False, False, False, False])
    found = head_statistics(ROW[None], rewarded, same)
    p = np.array([0.5, 0.125, 0.125, 0.25])
    assert found.entropy[0] == pytest.approx(-(p * np.log(p)).sum() / math.log(8), abs=1e-6)
    assert found.recency[0] == pytest.approx(math.log(0.25 / 0.5), abs=1e-6)
    assert found.effective[0] == 4  # 0.5 + 0.25 + 0.125 are not yet 0.9
    assert found.rewarded[0] == pytest.approx(0.375)
    assert found.same_state[0] == pytest.approx(0.5)
    assert found.sink[0] == pytest.approx(0.625)
    assert found.own[0] == pytest.approx(0.2)


def test_uniform_attention_has_full_entropy_at_any_length():
    for n in (2, 10, 1000):
        found = head_statistics(np.full((1, n + 1), 1 / (n + 1)), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool))
        assert found.entropy[0] == pytest.approx(1.0, abs=1e-6)
        assert found.recency[0] == pytest.approx(0.0, abs=1e-6)
        assert found.effective[0] == math.ceil(0.9 * n - 1e-9)


def test_one_step_of_context():
    found = head_statistics(np.array([[0.3, 0.7]]), NONE[:1], NONE[:1])
    assert found.entropy[0] == 0.0
    assert found.effective[0] == 1


def test_broken_attention_is_one_line():
    with pytest.raises(ValueError, match="NaN or infinity"):
        head_statistics(np.full((1, 4), np.nan), NONE[:3], NONE[:3])
    with pytest.raises(ValueError, match="no context"):
        classic_statistics(np.ones(1))


def test_without_sinks_keeps_the_sum():
    bare = without_sinks(ROW)
    assert len(bare) == 5
    assert bare.sum() == pytest.approx(1.0)
    assert bare[1] / bare[3] == pytest.approx(0.5)


def test_the_verdict_notices_a_contradiction():
    """All mass on the last 16 of 160 steps: recent, far from uniform, and yet above the classic threshold."""
    row = np.zeros(161)
    row[-17:-1] = 1 / 16
    classic, heads = classic_statistics(row), head_statistics(row[None], np.zeros(160, bool), np.zeros(160, bool))
    lines = verdict([classic], [heads], 160)
    assert lines[0].startswith("Strong recency bias detected!")
    assert "reads as uniform" in lines[1]
    assert lines[2].startswith("CONTRADICTION")
    assert auto_choice([row[None]], 40) == "recent"
    assert len(verdict([replace(classic, entropy=1.0)], [heads], 160)) == 2


@pytest.mark.parametrize(
    ("ratio", "words"), [(2.1, "recency bias"), (1.5, ""), (1.1, "spread over the whole"), (0.4, "distant history")]
)
def test_the_verdict_on_recency(ratio, words):
    classic, heads = classic_statistics(ROW), head_statistics(ROW[None], NONE, NONE)
    lines = verdict([replace(classic, recency=ratio, entropy=1.7)], [heads], 8)
    assert len(lines) == bool(words)
    assert all(words in line for line in lines)


def test_compression_is_compared_in_pairs():
    spec = EvaluationSpec("any", resamples=200)
    rng = np.random.default_rng(0)
    curve = 10 + rng.random((2, 6, 10))
    whole = EvaluationResult(np.arange(2), curve.sum(2), np.ones((2, 6)), curve=curve)
    less = curve.copy()
    less[1, :, -2:] *= 0.5
    kept, area, worst = compare(replace(whole, curve=less), whole, spec)
    assert kept.estimate == pytest.approx(less[:, :, -2:].mean() / curve[:, :, -2:].mean())
    assert kept.high - kept.low < 0.05  # pairs: the noise that both share cancels
    assert worst == pytest.approx(0.5)
    assert area == pytest.approx(less.mean() / curve.mean())
    nothing = replace(whole, curve=np.zeros_like(curve))
    assert math.isnan(compare(nothing, nothing, spec)[0].estimate)
    bandit = replace(whole, metrics={"cumulative_regret": np.full((2, 6), 4.0)})
    worse = replace(whole, metrics={"cumulative_regret": np.full((2, 6), 5.0)})
    assert compare(worse, bandit, spec)[0].estimate == pytest.approx(1.25)


def test_heatmaps_of_many_heads_have_a_panel_each(tmp_path):
    weights = np.full((6, 10, 10), 0.1)
    Heatmaps(6, 10, 0, 9).save(weights, "six heads", tmp_path / "six.png")
    assert (tmp_path / "six.png").stat().st_size > 1000
