"""``hyperparams/ppo.yml``: RL Baselines3 Zoo is not installed here, so its file is read as the Zoo reads it."""

from pathlib import Path

import gymnasium as gym
import yaml
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import envs  # noqa: F401  # registers the worlds, as --gym-packages envs does
from rl_suite.experiments import load_attribute, load_experiment

ROOT = Path(__file__).resolve().parents[3]
WORLD = "rl_suite/DurotaxisRatio-v0"


def settings():
    return yaml.safe_load((ROOT / "hyperparams" / "ppo.yml").read_text())[WORLD]


def test_the_numbers_are_those_of_the_experiment():
    zoo, config = settings(), load_experiment(ROOT / "config.yaml", ["experiment=durotaxis"])
    policy = {"policy": config.policy.name.replace(":", "."), "policy_kwargs": config.policy.kwargs}
    ours = {
        **config.ppo.model_dump(),
        **policy,
        "env_kwargs": {**config.env.kwargs, **config.env.train_kwargs},
        "id_kwargs": {key: value for key, value in gym.spec(WORLD).kwargs.items() if key != "world"},
        "n_envs": config.env.n_envs,
        "n_timesteps": config.train.total_timesteps,
        "learning_rate": f"lin_{config.ppo.learning_rate}",
    }
    assert ours.pop("id_kwargs").items() <= ours["env_kwargs"].items()
    for key in gym.spec(WORLD).kwargs:
        ours["env_kwargs"].pop(key, None)
    assert config.ppo.final_learning_rate == 0  # what "lin_" ends with
    assert {key: ours[key] for key in zoo} == zoo
    stock = {"ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5, "target_kl": None, "normalize_advantage": True}
    assert {key: ours[key] for key in stock} == stock  # what the file leaves to SB3


def test_the_evaluation_without_env_kwargs_has_the_same_spaces():
    """The Zoo makes its evaluation environment from the id alone."""
    train, evaluate = gym.make(WORLD, **settings()["env_kwargs"]), gym.make(WORLD)
    assert evaluate.observation_space == train.observation_space
    assert evaluate.action_space == train.action_space


def test_stock_ppo_learns_with_them():
    zoo = settings()
    module, _, name = zoo["policy"].rpartition(".")
    env = DummyVecEnv([lambda: gym.make(WORLD, **zoo["env_kwargs"])] * 2)
    model = PPO(
        load_attribute(f"{module}:{name}"),
        env,
        n_steps=zoo["n_steps"],
        batch_size=64,
        policy_kwargs=zoo["policy_kwargs"],
        device="cpu",
    ).learn(128)
    assert model.num_timesteps == 128
