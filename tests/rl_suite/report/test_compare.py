"""Seeds of one experiment make one interval; two experiments are told apart only by theirs."""

import json
from pathlib import Path

import pytest
import yaml

from rl_suite.errors import UserError
from rl_suite.report.compare import difference, group, write_comparison
from rl_suite.run import Run


def make(folder: Path, experiment: str, seed: int, value: float) -> Run:
    path = folder / experiment / str(seed)
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump({"experiment": experiment, "seed": seed}))
    iqm = {"estimate": value, "low": value - 1, "high": value + 1}
    (path / "evaluation.json").write_text(json.dumps({"agents": {"trained": {"iqm": iqm}}}))
    lines = [{"step": step, "eval/mean_reward": step * value} for step in range(4)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run.open(path)


def test_intervals_are_over_seeds(tmp_path: Path) -> None:
    first, other = group(
        [*(make(tmp_path, "a", seed, value) for seed, value in enumerate((1.0, 2.0, 3.0))), make(tmp_path, "b", 0, 5.0)]
    )
    # mean 2, standard error 1/sqrt(3), Student's t with two degrees of freedom 4.3027
    assert first.mean.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert other.mean == (5.0, None, None)
    assert difference(first, other) == (3.0, None, None)


def test_two_experiments_differ_only_if_welchs_interval_says_so(tmp_path: Path) -> None:
    runs = [
        make(tmp_path, name, seed, value)
        for name, values in (("a", (1, 2)), ("b", (11, 12)))
        for seed, value in enumerate(values)
    ]
    first, other = group(runs)
    change = difference(first, other)
    # both variances 1/2: standard error sqrt(1/2), two degrees of freedom
    assert change.value == pytest.approx(10)
    assert change.low == pytest.approx(10 - 4.302653 * 0.5**0.5)
    page = write_comparison(runs, tmp_path / "comparison.html").read_text()
    assert "They differ, over 2 and 2 seeds." in page
    assert page.count("<svg") > 4


def test_one_seed_is_not_enough_to_tell(tmp_path: Path) -> None:
    runs = [make(tmp_path, "a", 0, 1.0), make(tmp_path, "b", 0, 2.0)]
    assert "whether they differ is not known" in write_comparison(runs, tmp_path / "c.html").read_text()


def test_runs_that_measured_different_things_are_refused(tmp_path: Path) -> None:
    run = make(tmp_path, "a", 0, 1.0)
    law = tmp_path / "law"
    law.mkdir()
    (law / "config.yaml").write_text("experiment: law\nseed: 0\n")
    with pytest.raises(UserError, match="holds no result yet"):
        write_comparison([run, Run.open(law)], tmp_path / "c.html")
    (law / "laws.json").write_text(json.dumps({"target": "y", "law": {"formula": "x", "nmse": 0.1}}))
    with pytest.raises(UserError, match="different things"):
        write_comparison([run, Run.open(law)], tmp_path / "c.html")
