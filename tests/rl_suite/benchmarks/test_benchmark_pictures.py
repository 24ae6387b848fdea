"""Pictures of stored results: every one that is stored is drawn, with what stands in the file."""

import json

import pytest
from PIL import Image

from rl_suite.benchmarks.harness import RESULTS
from rl_suite.benchmarks.pictures import DRAWN, IMAGES, draw_stored

STORED = [name for name in DRAWN if (RESULTS / f"{name}.json").exists()]


@pytest.mark.parametrize("name", STORED)
def test_stored_results_are_drawn_and_shown_in_the_documents(name, tmp_path):
    path = draw_stored(name, RESULTS, tmp_path)
    with Image.open(path) as drawn, Image.open(IMAGES / path.name) as shown:
        assert drawn.size == shown.size
    pages = [page.read_text(encoding="utf-8") for page in (IMAGES.parent).glob("*.md")]
    assert any(f"images/{path.name}" in page for page in pages)


def test_adapters_have_a_panel_per_agent(tmp_path):
    trials = [
        {"agent": agent, "way": way, "returns": [1.0, 2.0], "estimate": 1.5, "low": 0.5, "high": 2.5}
        for agent in ("a", "b")
        for way in ("as it was", "full tuning", "adapters")
    ]
    (tmp_path / "adapters.json").write_text(json.dumps({"trials": trials}))
    assert draw_stored("adapters", tmp_path, tmp_path) == tmp_path / "benchmark_adapters.png"


def test_what_has_no_picture_or_is_not_stored_is_left_out(tmp_path):
    assert draw_stored("worlds", RESULTS, tmp_path) is None
    assert draw_stored("nas", tmp_path, tmp_path) is None
