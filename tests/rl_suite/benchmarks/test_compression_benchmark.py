"""The compression benchmark trains what it needs, measures in pairs and draws what it found."""

import math

import pytest

from rl_suite.benchmarks import compression
from rl_suite.benchmarks.harness import Options
from rl_suite.distillation.compression.pictures import draw_compression
from rl_suite.distillation.compression.trials import Outcome
from rl_suite.evaluation.statistics import Interval


def outcome(strategy, fraction, kept, mode="ring"):
    return Outcome(strategy, mode, 10, fraction, Interval(kept, kept - 0.1, kept + 0.1), kept, math.nan, 1.5, 4096)


@pytest.mark.slow
def test_a_quick_run_measures_every_world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the runs that it trains go
    result = compression.run(Options(quick=True))
    per_world = 2 * len(compression.FRACTIONS) + len(compression.RE_ENCODED) * 2 + 1
    assert len(result.rows) == per_world * len(compression.WORLDS)
    assert len({row.name for row in result.rows}) == len(result.rows)


def test_the_best_strategy_is_judged_by_the_promise():
    returns = [outcome("recent", 0.125, 0.97), outcome("sinks", 0.125, 0.995), outcome("sinks", 0.5, 1.0)]
    assert compression.best_row("darkroom_distillation", returns).verdict == "reached"
    assert compression.best_row("darkroom_distillation", returns[:1]).verdict == "MISSED"
    regrets = [outcome("recent", 0.25, 1.3), outcome("sinks", 0.25, 1.08), outcome("uniform", 0.25, 0.9, "re_encode")]
    best = compression.best_row("bandit5_distillation", regrets)
    assert (best.ours, best.verdict) == (1.08, "reached")
    assert compression.best_row("bandit5_distillation", regrets[:1]).verdict == "MISSED"


def test_the_picture_shows_all_worlds(tmp_path):
    lines = [outcome(name, fraction, 0.9) for name in ("recent", "sinks") for fraction in (0.5, 0.25)]
    draw_compression({"darkroom_distillation": lines, "bandit5_distillation": lines}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
