"""No setting does nothing: each field of a configuration is read by the sources, or handed on by its name."""

import ast
import inspect
from pathlib import Path

import pytest
from pydantic import BaseModel
from sb3_contrib import TQC, TRPO, CrossQ
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from agents.in_context.model import InContextModel
from agents.tabular import QLearning
from rl_suite import config as shared
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation import config as distillation
from rl_suite.distillation.sources.explorer import Explorer, Sweeper
from rl_suite.distillation.sources.sources import NoisyExpert
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.sb3 import config as sb3

ROOT = Path(shared.__file__).parent
HANDED_ON = {  # sections whose fields become the arguments of a call
    distillation.ExplorerSection: Explorer,
    distillation.SweeperSection: Sweeper,
    distillation.QLearningSection: QLearning,
    distillation.NoisyExpertSection: NoisyExpert,
    distillation.ModelSection: InContextModel,
    distillation.StreamsSection: PPO,
    sb3.PPOSection: PPO,
    sb3.A2CSection: A2C,
    sb3.TRPOSection: TRPO,
    sb3.DQNSection: DQN,
    sb3.SACSection: SAC,
    sb3.TD3Section: TD3,
    sb3.TQCSection: TQC,
    sb3.CrossQSection: CrossQ,
}


def sections(module):
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, BaseModel) and found.__module__ == module.__name__
    ]


def read_in(*folders):
    """Names after a dot, or given as a text, in all sources of these folders but the schemas themselves."""
    files = [path for folder in folders for path in folder.rglob("*.py") if path.name != "config.py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in [*files, *ROOT.glob("*.py")]]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    return attributes | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


READ = {
    distillation: read_in(ROOT / "distillation", ROOT / "evaluation"),
    sb3: read_in(ROOT / "sb3", ROOT / "evaluation"),
    shared: read_in(ROOT / "sb3", ROOT / "distillation", ROOT / "evaluation"),
}


@pytest.mark.parametrize(
    ("module", "section"),
    [(module, section) for module in READ for section in sections(module)],
    ids=lambda value: value.__name__,
)
def test_every_setting_is_read(module, section):
    taken = set(inspect.signature(HANDED_ON[section]).parameters) if section in HANDED_ON else set()
    idle = set(section.model_fields) - READ[module] - taken
    assert not idle, f"nothing reads {sorted(idle)}"


@pytest.mark.parametrize("section", HANDED_ON)
def test_what_is_handed_on_is_taken_or_read(section):
    """A field that a call would not take must be read by name, as final_learning_rate is."""
    module = distillation if section.__module__ == distillation.__name__ else sb3
    parameters = inspect.signature(HANDED_ON[section]).parameters
    assert {name for name in section.model_fields if name not in parameters} <= READ[module]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["experiment=darkroom_distillation", "distillation.source.ucb.exploration=2"],
            "name=explorer does not read it",
        ),
        (["experiment=darkroom_distillation", "distillation.source.sweeper={noise: 0.1}"], "does not read it"),
        (
            ["experiment=darkroom_distillation", "distillation.source.folder=x", "distillation.source.episodes=3"],
            "place",
        ),
        (["experiment=darkroom_distillation", "distillation.fit.shuffle=true"], "a history has an order"),
        (["experiment=darkroom_dpt_distillation", "distillation.model.count_rewards=true"], "do nothing"),
        (["experiment=darkroom_dpt_distillation", "distillation.model.count_episodes=4"], "do nothing"),
        (["experiment=darkroom_ppo_distillation", "distillation.source.labels=optimal"], "name=ppo knows neither"),
        (["experiment=darkroom_ppo_distillation", "distillation.source.silent=0.1"], "name=ppo knows neither"),
        (["experiment=darkroom_distillation", "distillation.source.silent=1.0"], "silent"),
        (["experiment=darkroom_distillation", "distillation.fit.beta1=1.0"], "beta1"),
        (["experiment=darkroom", "dqn.buffer_size=10"], "algorithm=ppo reads ppo instead"),
        (["experiment=darkroom", "algorithm=dqn", "ppo.n_steps=10"], "algorithm=dqn reads dqn instead"),
    ],
    ids=str,
)
def test_what_would_do_nothing_is_refused(words, message):
    with pytest.raises(UserError, match=message):
        load_experiment(DEFAULT_CONFIG, words)


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=darkroom_q_distillation", "distillation.source.q_learning.gamma=0.7"],
        [
            "experiment=darkroom_distillation",
            "distillation.trials.baselines=[q_learning]",
            "distillation.source.q_learning.gamma=0.7",
        ],
        ["experiment=darkroom", "algorithm=maskable_ppo", "ppo.n_epochs=2"],
        ["experiment=darkroom", "algorithm=a2c", "a2c.n_steps=2"],
    ],
    ids=str,
)
def test_what_is_read_may_be_given(words):
    load_experiment(DEFAULT_CONFIG, words)
