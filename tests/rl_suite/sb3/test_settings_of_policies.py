"""What a policy is built with is obeyed or refused in one line, before anything is trained."""

import pytest

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.sb3.build import build_env, build_model
from rl_suite.sb3.config import SB3Config


def build(*words: str) -> None:
    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", *words])
    assert isinstance(config, SB3Config)
    build_model(config, build_env(config, {}, 2))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("policy.kwargs.net_arch=[-1]", "at least one unit"),
        ("policy.kwargs.net_arch=[0]", "at least one unit"),
        ("policy.kwargs.net_arch={pi: [8], vf: [8, 0]}", "at least one unit"),
        ("policy.kwargs.net_arch=x", "cannot act"),
        ("policy.kwargs.ortho_init=5", "ortho_init must be true or false"),
        ("policy.kwargs.share_features_extractor=x", "must be true or false"),
        ("policy.kwargs.use_sde=1.0", "must be true or false"),
        ("policy.kwargs.log_std_init=.nan", "must be a finite number"),
        ("policy.kwargs.log_std_init=x", "must be a finite number"),
        ("policy.kwargs.optimizer_kwargs={betas: [2, 2]}", "beta"),
        ("policy.kwargs.features_extractor_kwargs={x: 1}", "unexpected keyword"),
        ("policy.kwargs.nope=1", "unexpected keyword"),
        ("env.kwargs.tasks=[1000000000000000000000000]", "whole numbers below 2^63"),
        ("env.kwargs.tasks=[0.5, 1.5]", "whole numbers below 2^63"),
        ("env.kwargs.tasks=[[1]]", "whole numbers below 2^63"),
        ("env.kwargs.tasks=[a]", "whole numbers below 2^63"),
        ("evaluation.episodes_per_task=1000000000", "100000"),
        ("evaluation.n_tasks=1000000000000", "1000000"),
    ],
)
def test_refused_in_one_line(word: str, said: str) -> None:
    with pytest.raises(UserError, match="(?i)" + said.replace("^", r"\^")) as error:
        build(word)
    assert "\n" not in str(error.value)


def test_the_usual_settings_build() -> None:
    build("policy.kwargs.net_arch={pi: [8], vf: []}", "policy.kwargs.ortho_init=false")
    build("policy.kwargs.net_arch=[]")


@pytest.mark.parametrize("name", ["symbolic_search", "darkroom_distillation", "sinusoid_maml", "meta_bandit"])
def test_a_search_of_ppos_numbers_is_none_for_other_kinds(name: str) -> None:
    with pytest.raises(UserError, match=f"experiment={name} is of kind"):
        load_experiment(DEFAULT_CONFIG, [f"experiment={name},tune,smoke"])
