"""Stock SB3 and sb3-contrib on every registered world as ``gymnasium.make`` gives it, without anything of ours."""

import gymnasium as gym
import pytest
from sb3_contrib import RecurrentPPO
from stable_baselines3 import A2C, PPO

import envs  # noqa: F401  # registers the worlds
from agents.actor_critic import HybridActorCritic
from envs.spaces import HybridBox
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.sb3.build import build_env, build_model

IDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))
HYBRID = [name for name in IDS if isinstance(gym.make(name).action_space, HybridBox)]
FEW = {"n_steps": 4, "device": "cpu", "seed": 0}


def policy_of(env, kind):
    return f"MultiInput{kind}Policy" if isinstance(env.observation_space, gym.spaces.Dict) else f"Mlp{kind}Policy"


@pytest.mark.parametrize("env_id", [name for name in IDS if name not in HYBRID])
def test_recurrent_ppo_trains(env_id):
    env = gym.make(env_id)
    model = RecurrentPPO(policy_of(env, "Lstm"), env, batch_size=4, n_epochs=1, **FEW).learn(8)
    assert model.num_timesteps == 8


@pytest.mark.parametrize("env_id", HYBRID)
@pytest.mark.parametrize("algorithm", [PPO, A2C, RecurrentPPO])
def test_worlds_with_choices_say_which_policy_to_take(env_id, algorithm):
    env = gym.make(env_id)
    kind = "Lstm" if algorithm is RecurrentPPO else ""
    settings = FEW if algorithm is A2C else {**FEW, "batch_size": 4}
    with pytest.raises(ValueError, match=r"HybridActorCritic.*DurotaxisRatio-v0"):
        algorithm(policy_of(env, kind), env, **settings).learn(8)
    assert PPO(HybridActorCritic, env, batch_size=4, n_epochs=1, **FEW).learn(4).num_timesteps == 4


def test_stock_ppo_trains_in_durotaxis_by_ratio():
    env = gym.make("rl_suite/DurotaxisRatio-v0")
    assert PPO("MultiInputPolicy", env, batch_size=4, n_epochs=1, **FEW).learn(8).num_timesteps == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["env.id=rl_suite/Durotaxis-v0", "policy.name=MultiInputPolicy"], "HybridActorCritic"),
        (
            ["env.id=rl_suite/Durotaxis-v0", "policy.name=MultiInputLstmPolicy", "algorithm=recurrent_ppo"],
            "DurotaxisRatio",
        ),
        (["env.id=Acrobot-v1", "algorithm=maskable_ppo"], "maskable_ppo needs a world that says"),
    ],
)
def test_what_cannot_play_is_a_line_before_training_starts(words, message):
    config = load_experiment(DEFAULT_CONFIG, ["experiment=smoke", *words])
    with pytest.raises(UserError, match=message):
        build_model(config, build_env(config, {}, 2))


CHOICES = {
    "Discrete": gym.spaces.Discrete(3, start=1),
    "MultiDiscrete": gym.spaces.MultiDiscrete([3, 2], start=[0, -1]),
    "Dict": gym.spaces.Dict({"seen": gym.spaces.Box(0, 1, (2,)), "lamp": gym.spaces.Discrete(2, start=4)}),
}


class Choices(gym.Env):
    """A world whose choices begin somewhere."""

    def __init__(self, seen="Discrete", done="Discrete"):
        flat = gym.spaces.Discrete(3)
        self.observation_space, self.action_space = CHOICES.get(seen, flat), CHOICES.get(done, flat)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert action in self.action_space
        return self.observation_space.sample(), 0.0, False, True, {}


@pytest.mark.parametrize(("seen", "done"), [*((name, "") for name in CHOICES), ("", "Discrete"), ("", "MultiDiscrete")])
def test_choices_that_do_not_begin_at_0_are_refused(seen, done, monkeypatch):
    monkeypatch.setitem(gym.registry, "tests/Choices-v0", gym.envs.registration.EnvSpec("tests/Choices-v0", Choices))
    kwargs = f"env.kwargs={{seen: '{seen}', done: '{done}'}}"
    config = load_experiment(DEFAULT_CONFIG, ["experiment=smoke", "env.id=tests/Choices-v0", kwargs])
    with pytest.raises(UserError, match="actions hold" if done else "observations hold") as caught:
        build_env(config, {}, 2)
    assert "counts choices from 0" in str(caught.value)
