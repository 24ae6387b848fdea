"""The demonstration: its page and figures from small parts, and (slow) all eight parts beside their baselines."""

import json
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_suite.examples import meta_learning_demo
from rl_suite.meta_learning.demo import integrated, run_meta_learning_demo, show, tuning
from rl_suite.meta_learning.demo.part import Part, curve

NAMES = {
    *("maml", "few_shot", "continual_learning", "adaptive_optimization", "nas"),
    *("tool_optimization", "adapters", "integrated_system"),
}


def fake(passed):
    charts = {"error against steps": {"ours": [curve([1.0, 0.5, 0.25])], "<theirs>": [curve([1.0, 0.9, 0.8])]}}
    metrics = {"adaptation_speed": float("nan"), "forgetting": 0.25}
    return lambda seed: Part("A part", "error", 0.25 + seed, 0.8, "nothing", passed, "it is lower", metrics, charts)


def test_a_page_that_needs_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(show, "PARTS", {"good": fake(True), "bad": fake(False)})
    with pytest.raises(meta_learning_demo.UserError, match="not better than the baseline: A part"):
        meta_learning_demo.main(tmp_path)
    assert "forgetting 0.25" in capsys.readouterr().out
    page = (tmp_path / show.PAGE).read_text()
    assert "1 of 2 parts" in page
    assert page.count("<svg") == 2
    assert "&lt;theirs&gt;" in page
    assert "adaptation speed never" in page
    assert not re.search(r"(src|href)=.?(http|//)|@import|url\(http", page)
    results = json.loads((tmp_path / show.RESULTS).read_text())
    assert results["good"]["metrics"] == {"adaptation_speed": None, "forgetting": 0.25}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["meta/good/forgetting", "meta/bad/forgetting"]
    assert events.Scalars("meta/bad/forgetting")[0].value == 0.25


def test_without_a_folder_nothing_is_written(monkeypatch):
    monkeypatch.setattr(show, "PARTS", {"good": fake(True)})
    assert run_meta_learning_demo(seed=2)["good"]["ours"] == 2.25


def test_it_has_the_parts_of_the_documents():
    assert set(show.PARTS) == NAMES


def test_everybody_meets_the_same_situation():
    rng = np.random.default_rng(0)
    env = integrated.make_world(4, "test", 0)
    seen, called = integrated.ask(env, rng)
    assert seen.shape == (4, integrated.SHOWN, 6)
    assert int(called.max()) < 7
    twice = [integrated.replayed(env, None, 0) for _ in range(2)]
    assert np.array_equal(*twice)
    assert not np.array_equal(twice[0], integrated.work(env, None, np.random.default_rng(1)))


def test_a_small_part_beats_its_baseline(monkeypatch):
    monkeypatch.setattr(tuning, "EXECUTIONS", 60)
    part = tuning.tool_optimization(0)
    assert part.passed
    assert part.ours < part.baseline
    assert 0 < part.metrics["success_rate"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_part_beats_its_baseline(name):
    part = show.PARTS[name](0)
    assert part.passed, f"{part.ours} against {part.baseline}"
    assert part.charts
