import json

import pytest

from rl_suite.benchmarks import Options
from rl_suite.benchmarks.few_shot import accuracy_rows, read_result, run
from rl_suite.errors import UserError


def stored(folder, trained, pixels):
    row = {"n": 2, "values": [0, 1]}
    table = {
        "trained": {**row, "mean": {"estimate": trained, "low": 0.0, "high": 1.0}},
        "trained, support labels shuffled": {**row, "mean": {"estimate": 0.2, "low": 0.0, "high": 1.0}},
        "nearest centroid on pixels": {**row, "mean": {"estimate": pixels, "low": 0.0, "high": 1.0}},
    }
    content = {"title": "t", "settings": {"training_cpu_seconds": 10 * trained}, "5-way 1-shot": table}
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(content))
    return folder


def test_rows_are_means_over_runs_beside_the_control(tmp_path):
    results = [
        read_result(stored(tmp_path / name, *figures)) for name, figures in {"0": (0.9, 0.4), "1": (0.7, 0.5)}.items()
    ]
    first, shuffled, training = accuracy_rows(results)
    assert (first.ours, first.peer) == pytest.approx((80, 45))
    assert shuffled.name == "5-way 1-shot: trained, support labels shuffled"
    assert training.ours == pytest.approx(8)
    assert accuracy_rows([]) == []


def test_folders_without_an_evaluation(tmp_path):
    with pytest.raises(UserError, match="holds no evaluation"):
        read_result(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"settings": {"training_cpu_seconds": 1}}')
    with pytest.raises(UserError, match="holds no evaluation"):
        read_result(tmp_path)


def test_quick():
    result = run(Options(quick=True, repeats=1))
    assert [row.name for row in result.rows] == ["episode sampling", "loading and cutting all pictures"]
    assert result.rows[0].ratio > 1
