"""``report.html`` holds what the run folder holds, in a page that needs nothing else."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rl_suite.report.page import write_report
from rl_suite.run import Run
from rl_suite.viz.curves import changing, read_metrics, thinned

VOID = {"meta", "img"}


class Nesting(HTMLParser):
    """Complains about a tag that is closed where it was not opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def run(tmp_path: Path) -> Run:
    settings = {"experiment": "toy", "seed": 3, "about": "a <toy> & more"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    record = {"status": "complete", "command": "python train.py", "python": "3", "packages": {}, "git_commit": None}
    (tmp_path / "run.json").write_text(json.dumps(record))
    lines = [{"step": step, "eval/mean_reward": step / 7, "train/loss": 1.0} for step in range(5)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 5, "ev')
    return Run.open(tmp_path)


def page(run: Run) -> str:
    text = write_report(run).read_text()
    Nesting().feed(text)
    return text


def test_numbers_intervals_and_words_are_shown_but_no_raw_data(run: Run) -> None:
    interval = {"estimate": 0.51234, "low": 0.4, "high": None}
    agents = {
        "trained": {
            "iqm": {**interval, "high": 0.6},
            "share": 0.25,
            "returns": [[111.5]],
            "metrics": {"speed": 23.45678},
        },
        "<b>": {"iqm": interval, "returns": [[222.5]], "metrics": {}},
    }
    content = {
        "title": "held-out",
        "agents": agents,
        "controls": {"flags": ["wins on flat ground"], "rows": [{"x": 9.75}]},
    }
    (run.path / "evaluation.json").write_text(json.dumps(content))
    text = page(run)
    shown = re.sub(r"<[^>]+>", " ", text)
    for expected in ("held-out", "0.5123", "[0.4, 0.6]", "0.25", "23.46", "wins on flat ground", "9.75", "&lt;b&gt;"):
        assert expected in shown
    assert "111.5" not in shown
    assert "a &lt;toy&gt; &amp; more" in shown


def test_pictures_are_inside_and_nothing_is_fetched(run: Run) -> None:
    (run.path / "figs").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(run.path / "figs" / "map.png")
    text = page(run)
    assert 'src="data:image/png;base64,' in text
    assert "figs/map.png" in text
    assert "features of classes that were never seen" in text  # words, not file names
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text.replace("xlink:", ""))


def test_curves_that_change_are_drawn_and_a_line_that_was_cut_off_is_left_out(run: Run) -> None:
    curves = read_metrics(run.path / "metrics.jsonl")
    np.testing.assert_array_equal(curves["eval/mean_reward"][0], np.arange(5))
    assert list(changing(curves)) == ["eval/mean_reward"]
    text = page(run)
    assert "<figcaption>mean return of an episode, validation</figcaption>" in text
    assert "eval/mean_reward" not in text  # words, not keys


def test_thinning_keeps_the_mean() -> None:
    steps, values = thinned((np.arange(1000.0), np.arange(1000.0) ** 2), most=10)
    assert len(steps) == 10
    assert values.mean() == pytest.approx((np.arange(1000.0) ** 2).mean())


def test_an_almost_empty_folder_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("experiment: toy\nseed: 0\n")
    assert "toy, seed 0" in page(Run.open(tmp_path))


def test_the_same_folder_gives_the_same_bytes(run: Run) -> None:
    assert page(run) == page(run)
