from pathlib import Path

import pytest
from picture_toys import omniglot_zip, png

from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning.problems.pictures import build_episodes, load_pictures
from rl_suite.meta_learning.sections import PicturesSection

CONFIG = Path(__file__).resolve().parents[3] / "config.yaml"


def section(**changes):
    shipped = load_experiment(CONFIG, ["kind=meta_learning"]).meta_learning.pictures.model_dump()
    return PicturesSection(**{**shipped, **changes})


@pytest.fixture
def no_omniglot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RL_SUITE_DATA", raising=False)


@pytest.mark.usefixtures("no_omniglot")
def test_without_omniglot_there_are_invented_glyphs(capsys):
    episodes = build_episodes(
        section(symmetries=8, jitter={"rotation": 5, "scale": 0, "shear": 0, "shift": 0, "elastic": 0}), 0
    )
    assert "no Omniglot was found" in capsys.readouterr().out
    assert not set(episodes.train.data.groups) & set(episodes.test.data.groups)
    assert episodes.train.data.n_classes == 8 * episodes.pictures.train.n_classes
    assert episodes.train.jitter.rotation == 5
    assert episodes.test.jitter is None
    with pytest.raises(UserError, match="no Omniglot in"):
        load_pictures(section(data="omniglot"))


def test_omniglot_is_taken_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("RL_SUITE_DATA", str(tmp_path))
    omniglot_zip(tmp_path / "images_background_small1.zip", {"Greek": 5, "Korean": 6, "Latin": 5})
    omniglot_zip(tmp_path / "images_background_small2.zip", {"Greek": 5, "Tagalog": 5})
    found = load_pictures(section(held_out=["Korean"]))
    assert [set(part.groups) for part in found[:3]] == [{"Greek", "Latin"}, {"Korean"}, {"Tagalog"}]
    with pytest.raises(UserError, match="no group 'Klingon'"):
        load_pictures(section(held_out=["Klingon"]))


def test_a_folder_of_your_own(tmp_path):
    for name in "abcde":
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "1.png").write_bytes(png([[0, 255], [0, 0]]))
    found = load_pictures(section(data=str(tmp_path / "mine"), size=8))
    assert (found.train.n_classes, found.test.n_classes) == (3, 2)
    assert found.source == "pictures of mine"
    with pytest.raises(UserError, match="no such folder"):
        load_pictures(section(data=str(tmp_path / "absent")))
