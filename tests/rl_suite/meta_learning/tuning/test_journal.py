"""What a search keeps on the disk: there as a whole or not at all, and never more than data."""

from pathlib import Path

import pytest
from optuna.study import StudyDirection

from rl_suite.errors import UserError
from rl_suite.meta_learning.tuning.bayesian import BayesianOptimizer
from rl_suite.meta_learning.tuning.journal import Journal, open_kept_study

LINE = {"x": (0.0, 1.0), "y": (0.0, 1.0)}


def search(path: Path) -> BayesianOptimizer:
    return BayesianOptimizer(LINE, n_initial_points=2, random_state=3, storage=path)


def score(params: dict[str, float]) -> float:
    return -((params["x"] - 0.3) ** 2) - params["y"]


def test_cut_off_anywhere_the_search_goes_on_to_the_same_end(tmp_path: Path) -> None:
    search(tmp_path / "whole").optimize(score, 4)
    content = (tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for end in (0, *ends[:-1]):
        for more in (0, 1, 9):
            cut = tmp_path / f"{end}-{more}"
            cut.write_bytes(content[: end + more])
            resumed = search(cut)
            while len(resumed.get_optimization_history()) < 4:
                resumed.evaluate_batch(score, 1)
            assert resumed.get_optimization_history() == search(tmp_path / "whole").get_optimization_history()


def test_no_lock_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link"):
        search(tmp_path / "link")
    assert (tmp_path / "outside").read_text() == "mine"
    search(tmp_path / "log").optimize(score, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "log", "outside"]


@pytest.mark.parametrize(
    "line",
    [
        '[{"op_code": 4, "worker_id": "a"}]',
        '[{"op_code": 99}]',
        "[{}]",
        '[{"op_code": 0, "worker_id": "a", "study_name": "search", "directions": ["x"]}]',
        '[{"op_code": 0, "worker_id": 1, "study_name": "other", "directions": [2]}, {"op_code": 4}]',
    ],
)
def test_entries_of_something_else_are_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line + "\n")
    with pytest.raises(UserError, match="delete it to search again"):
        open_kept_study(Journal(tmp_path / "log"), StudyDirection.MAXIMIZE)
