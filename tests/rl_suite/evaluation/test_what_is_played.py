"""``evaluate.py`` refuses what the kind of an experiment cannot play, instead of playing something else."""

from pathlib import Path

import pytest

from rl_suite.cli import DEFAULT_CONFIG
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


def test_what_is_played_is_passed_on() -> None:
    words = ["experiment=darkroom,smoke", "baseline=random", "checkpoint=model.zip"]
    _, request = read_request(DEFAULT_CONFIG, words, trust_pickle=True)
    assert (request.baseline, request.checkpoint, request.trust_pickle) == ("random", Path("model.zip"), True)
