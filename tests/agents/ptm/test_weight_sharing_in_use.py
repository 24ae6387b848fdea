import gymnasium as gym
import numpy as np
import pytest
import torch
from graph_toys import PointTheWay
from gymnasium import spaces
from ptm_toys import FROZEN, IMAGES, TRAINED
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from agents.actor_critic import HybridActorCritic
from agents.ptm.models import fingerprint
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor, WSAEnhancedActor

pytestmark = pytest.mark.usefixtures("seeded", "no_downloads")


class Pixels(gym.Env):
    """One of two pictures is shown; the action should say which."""

    observation_space = spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._draw(), {}

    def step(self, action):
        reward = float(action == self.answer)
        self.t += 1
        return self._draw(), reward, False, self.t >= 16, {}

    def _draw(self):
        self.answer = int(self.np_random.integers(2))
        image = self.np_random.integers(0, 60, (36, 36, 3)).astype(np.uint8)
        image[4:30, 4:17] += np.uint8(150 * self.answer)
        image[4:30, 19:32] += np.uint8(150 * (1 - self.answer))
        return image


def test_a_stock_policy_learns_from_pixels_and_leaves_frozen_weights_alone():
    env = DummyVecEnv([Pixels] * 8)
    kwargs = {
        "features_extractor_class": MultiPTMFeatureExtractor,
        "features_extractor_kwargs": {"ptms": [FROZEN, TRAINED], "embedding_dim": 16, "context_dim": 16},
    }  # with ortho_init, as is the default
    torch.manual_seed(3)
    first = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED]).ptms[0]
    model = PPO(
        "CnnPolicy",
        env,
        n_steps=32,
        batch_size=128,
        n_epochs=3,
        learning_rate=2e-3,
        seed=3,
        policy_kwargs=kwargs,
        device="cpu",
    )
    extractor = model.policy.features_extractor
    assert fingerprint(extractor.ptms[0]) == fingerprint(first)  # drawn from the same seed, not overwritten
    before = [fingerprint(ptm) for ptm in extractor.ptms]
    model.learn(4096)
    after = [fingerprint(ptm) for ptm in extractor.ptms]
    assert after[0] == before[0]
    assert after[1] != before[1]
    rewards = []
    observation = env.reset()
    for _ in range(32):
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, _, _ = env.step(action)
        rewards.append(reward.mean())
    assert np.mean(rewards) > 0.95  # chance is 0.5


def test_conv1_and_batch_statistics_survive_construction_and_training():
    frozen = {"model_type": "resnet18_random", "freeze": True}
    world = DummyVecEnv([PointTheWay] * 2)
    model = PPO(
        HybridActorCritic,
        world,
        n_steps=8,
        batch_size=16,
        n_epochs=2,
        policy_kwargs={"use_wsa": True, "encoder": "features", "ptms": [frozen, TRAINED], "ortho_init": True},
        seed=0,
        device="cpu",
    )
    backbone = model.policy.multi_ptm.ptms[0].backbone
    before = fingerprint(backbone.conv1)
    model.predict(world.reset())  # the first pictures set the statistics
    calibrated = fingerprint(backbone.bn1)
    model.learn(32)
    assert (fingerprint(backbone.conv1), fingerprint(backbone.bn1)) == (before, calibrated)
    assert backbone.bn1.running_mean.abs().sum() > 0


# What the guide to this architecture shows its readers.


def test_seed_example_full_integration():
    actor = WSAEnhancedActor(
        encoder_out_dim=32,
        hidden_dim=64,
        num_discrete_actions=2,
        continuous_dim=4,
        dropout_rate=0.1,
        embedding_dim=256,
        use_wsa=True,
    )
    node_tokens, graph_token = torch.randn(7, 32), torch.randn(32)
    with torch.no_grad():
        actions, attention_weights = actor(node_tokens, graph_token, return_attention=True)
    avg_attention = attention_weights.mean(dim=0)
    assert avg_attention.shape == (3,)  # three models by default
    assert avg_attention.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert [part.shape for part in actions] == [(7, 2), (7, 4), (7, 0, 2), (7, 0), (4,), (4,), (0,)]
    for parameter in actor.feature_extractor.ptms[0].backbone.parameters():
        parameter.requires_grad = True
    assert not actor.feature_extractor.ptms[0].frozen


def test_seed_example_features_only():
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.feature_extractor = MultiPTMFeatureExtractor(embedding_dim=256, context_dim=128)

    with torch.no_grad():
        assert Actor().feature_extractor(torch.rand(2, 1, 24, 24)).shape == (2, 256)


def test_seed_configuration():
    """The YAML of the guide, as it stands."""
    config = {
        "embedding_dim": 256,
        "context_dim": 128,
        "ptms": [
            {"model_type": "resnet18_imagenet", "freeze": True},
            {"model_type": "graph_cnn", "freeze": False},
            {"model_type": "resnet18_random", "freeze": False},
        ],
        "attention_temperature": 1.0,
    }
    with pytest.raises(FileNotFoundError, match=r"place resnet18-f37072fd.pth in"):
        MultiPTMFeatureExtractor(IMAGES, **config)
    config["ptms"][0]["missing_weights"] = "random"
    names = MultiPTMFeatureExtractor(IMAGES, **config).names  # of what it has, not of what was asked for
    assert names == ["resnet18_random_0", "graph_cnn", "resnet18_random_1"]
