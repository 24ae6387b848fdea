"""What the benchmark of fairness says of finished runs is what their episodes say."""

import json

import pytest

from rl_suite.benchmarks import Options, fairness
from rl_suite.errors import UserError


def write(folder, values, **settings):
    folder.mkdir(parents=True)
    plain = {"learner": "maml", "inequality": 0.0, "entropy": 0.0, "training_cpu_seconds": 9.0, **settings}
    content = {"settings": plain, "results": {"adapted": {"values": values}, "unadapted": {"values": [0.2, 0.2]}}}
    (folder / "evaluation.json").write_text(json.dumps(content))
    return str(folder)


def test_finished_runs_are_compared_by_episode(tmp_path):
    runs = [
        write(tmp_path / "plain" / "0", [0.4, 0.8]),
        write(tmp_path / "theil" / "0", [0.5, 0.7], inequality=1.0),
        write(tmp_path / "taml" / "0", [0.2, 1.0], learner="taml"),
    ]
    options = Options(extra=("--runs", *runs))
    result = fairness.run(options)
    rows = {row.name: row for row in result.rows}
    assert fairness.stored_as(options) == "fairness_runs"
    theil = f"variance, {fairness.THEIL}"
    assert rows[theil].ours == pytest.approx(0.02 * 1e4)
    assert rows[theil].ratio == pytest.approx(4.0)  # of 0.08: four times more even
    assert rows[f"worst decile, {fairness.MODULATED}"].ours == pytest.approx(20)
    differences = {t["variant"]: t for t in result.trials if "variance_difference" in t}
    assert differences[fairness.THEIL]["accuracy_difference"]["estimate"] == pytest.approx(0)
    assert differences[fairness.THEIL]["variance_difference"]["estimate"] == pytest.approx(0.01 - 0.04)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not the evaluation of a finished run"):
        fairness.run(Options(extra=("--runs", str(tmp_path))))
    alone = write(tmp_path / "theil" / "0", [0.5, 0.7], inequality=1.0)
    with pytest.raises(UserError, match="no run of plain MAML"):
        fairness.run(Options(extra=("--runs", alone)))
