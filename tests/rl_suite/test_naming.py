"""Runs do not collide: other settings go beside, several seeds are several runs, a name chooses the folder."""

from pathlib import Path

import pytest

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.naming import beside_others, each_seed, tag
from rl_suite.run import Run


def load(tmp_path: Path, *words: str) -> tuple[ExperimentConfig, list[str]]:
    given = ["experiment=darkroom,smoke", f"runs_dir={tmp_path}", *words]
    return load_experiment(DEFAULT_CONFIG, given), given


def use(config: ExperimentConfig) -> None:
    with Run.start(config) as run:
        run.log(1, {"eval/mean_reward": 1.0})


def test_other_settings_go_beside_and_find_their_folder_again(tmp_path: Path) -> None:
    plain, words = load(tmp_path)
    assert beside_others(plain, words) == (plain, None)
    use(plain)
    assert beside_others(plain, words) == (plain, None)  # the same command resumes
    other, changed = load(tmp_path, "ppo.gamma=0.5")
    free, said = beside_others(other, changed)
    assert Run.place(free) == tmp_path / "darkroom-smoke+gamma-0.5" / "0"
    assert said is not None
    assert "ppo.gamma" in said
    use(free)
    again, _ = beside_others(other, changed)
    use(again)
    assert Run.place(again) == Run.place(free)


def test_a_run_without_changes_goes_beside_one_with_changes(tmp_path: Path) -> None:
    use(load(tmp_path, "ppo.gamma=0.5")[0])
    free, said = beside_others(*load(tmp_path))
    assert said is not None
    assert Run.place(free).parent.name.startswith("darkroom-smoke+")
    use(free)


def test_a_name_chooses_the_folder_and_is_not_a_setting(tmp_path: Path) -> None:
    config, words = load(tmp_path, "name=mine")
    assert beside_others(config, words) == (config, None)
    use(config)
    assert Run.place(config) == tmp_path / "mine" / "0"
    assert "name" not in Run.open(tmp_path / "mine" / "0").settings()
    other, changed = load(tmp_path, "name=mine", "ppo.gamma=0.5")
    assert beside_others(other, changed)[1] is None
    with pytest.raises(UserError, match="another configuration"):
        Run.start(other)


@pytest.mark.parametrize("name", ["../up", "/etc", "a/b", ".hidden"])
def test_a_name_cannot_leave_the_folder_of_runs(tmp_path: Path, name: str) -> None:
    config, _ = load(tmp_path, f"name={name}")
    assert Run.place(config).parent.parent == tmp_path


def test_long_tags_are_cut_and_still_told_apart(tmp_path: Path) -> None:
    tags = []
    for width in (8, 16):
        config, words = load(tmp_path, f"policy.kwargs={{net_arch: [{', '.join([str(width)] * 40)}]}}")
        tags.append(tag(config, words))
    assert len(set(tags)) == 2
    assert all(len(text) <= 40 for text in tags)


def test_seeds_are_lists_and_ranges() -> None:
    assert list(each_seed(["a=1", "seed=3"])) == [["a=1", "seed=3"]]
    assert [words[0] for words in each_seed(["seed=5,0-2,1"])] == ["seed=5", "seed=0", "seed=1", "seed=2"]


@pytest.mark.parametrize("word", ["seed=3-1", "seed=0-99999", "seed=1-2-3"])
def test_seeds_that_make_no_sense_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="seed"):
        list(each_seed([word]))
