"""A trained agent can be watched; what has no agent says so."""

from pathlib import Path

import pytest
from PIL import Image

from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, load_attribute, load_experiment
from rl_suite.report.replay import RoomReplay, read_replay
from rl_suite.run import Run
from rl_suite.watch import film, keep_replay

CONFIG = Path(__file__).parents[2] / "config.yaml"


def test_a_room_is_filmed_and_replayed(tmp_path: Path) -> None:
    config = load_experiment(CONFIG, ["experiment=darkroom,smoke", f"runs_dir={tmp_path}"])
    with Run.start(config) as run:
        load_attribute(KINDS[config.kind].train)(config, run)
    path = keep_replay(config, run)
    assert path is not None
    replay = read_replay(path)
    assert isinstance(replay, RoomReplay)
    film(config, run, tmp_path / "film.webp", fps=8)
    with Image.open(tmp_path / "film.webp") as picture:
        assert picture.n_frames > 1  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"film is \.webp"):
        film(config, run, tmp_path / "film.avi", fps=8)


def test_a_search_has_no_agent_to_watch(tmp_path: Path) -> None:
    config = load_experiment(CONFIG, ["experiment=symbolic_search,smoke", f"runs_dir={tmp_path}"])
    with Run.start(config) as run:
        assert keep_replay(config, run) is None
        with pytest.raises(UserError, match="no agent that acts"):
            film(config, run, tmp_path / "film.webp", fps=8)
