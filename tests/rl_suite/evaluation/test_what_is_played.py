"""``evaluate.py`` refuses what the kind of an experiment cannot play, instead of playing something else."""

from pathlib import Path

import pytest

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.commands.evaluate import main
from rl_suite.errors import UserError
from rl_suite.evaluation.command import read_request

NOT_PLAYED = {
    "symbolic_search": ("baseline=random", "checkpoint=x.ckpt"),
    "meta_symbolic": ("baseline=random", "checkpoint=x.ckpt"),
    "darkroom,tune": ("baseline=random", "checkpoint=x.ckpt"),
    "sinusoid_maml": ("baseline=random",),
    "meta_bandit": ("baseline=random",),
}


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in NOT_PLAYED.items() for word in words])
def test_what_would_do_nothing_is_refused(name: str, word: str) -> None:
    with pytest.raises(UserError, match=f"{word.partition('=')[0]} does nothing for an experiment of kind"):
        read_request(DEFAULT_CONFIG, [f"experiment={name},smoke", word])


@pytest.mark.parametrize("name", ["darkroom_distillation", "sinusoid_maml"])
def test_only_sb3_has_zips_to_trust(name: str) -> None:
    with pytest.raises(UserError, match="trust_pickle does nothing"):
        read_request(DEFAULT_CONFIG, [f"experiment={name},smoke", "checkpoint=x.ckpt"], trust_pickle=True)


def test_a_look_at_a_baseline_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["baseline=random", "experiment=darkroom,smoke"])
    assert not list(tmp_path.iterdir())
    assert "--out FILE keeps every episode" in capsys.readouterr().out
    main(["baseline=random", "experiment=darkroom,smoke", "--out", "kept.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
    assert "every episode: kept.json" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["", ".", "/tmp"])
def test_a_folder_is_no_file_to_write(out: str) -> None:
    with pytest.raises(UserError, match="is a folder; name a file"):
        main(["baseline=random", "experiment=darkroom,smoke", "--out", out])


@pytest.mark.parametrize("word", ["baseline=", "checkpoint=", "checkpoint=''"])
def test_what_names_nothing_is_said(word: str) -> None:
    with pytest.raises(UserError, match="= names nothing"):
        read_request(DEFAULT_CONFIG, ["experiment=darkroom,smoke", word])


def test_what_is_played_is_passed_on() -> None:
    words = ["experiment=darkroom,smoke", "baseline=random", "checkpoint=model.zip"]
    _, request = read_request(DEFAULT_CONFIG, words, trust_pickle=True)
    assert (request.baseline, request.checkpoint, request.trust_pickle) == ("random", Path("model.zip"), True)
