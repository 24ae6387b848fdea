import logging

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import Image, KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.actor_critic import HybridActorCritic
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor
from rl_suite.sb3.component_values import ComponentValueCallback, lambda_returns
from rl_suite.sb3.ptm_callback import AttentionCallback, attention_figures, attention_of, draw_episode, extractors_of
from rl_suite.vec_env import make_vec_env

CNN = {"model_type": "graph_cnn", "options": {"width": 4}}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Recorder(KVWriter):
    def __init__(self):
        self.seen = []

    def write(self, key_values, key_excluded, step=0):
        self.seen.append(dict(key_values))

    def close(self):
        pass


def durotaxis_ppo(**policy_kwargs):
    keys = ("reward_delete", "reward_distance", "reward_termination")
    env = make_vec_env("rl_suite/Durotaxis-v0", 4, info_keys=keys)
    kwargs = {"encoder": "features", "hidden_dim": 16, **policy_kwargs}
    model = PPO(
        HybridActorCritic, env, n_steps=16, batch_size=64, n_epochs=1, seed=0, policy_kwargs=kwargs, device="cpu"
    )
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    return model, recorder.seen


def test_figures_by_hand():
    weights = np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.9, 0.1, 0.0]])
    values = attention_figures(weights, ["a", "b", "c"])
    assert values["attention/weight_a"] == pytest.approx(0.625)
    assert values["attention/argmax_share_a"] == pytest.approx(0.75)
    assert values["attention/argmax_share_c"] == 0.0
    row = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    other = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert values["attention/entropy"] == pytest.approx((np.log(2) + 2 * row + other) / 4)
    assert values["attention/alarm_collapse"] == values["attention/alarm_dead_logits"] == 0.0


def test_alarms():
    collapsed = attention_figures(np.array([[0.95, 0.05], [0.93, 0.07]]), ["a", "b"])
    assert collapsed["attention/alarm_collapse"] == 1.0
    dead = attention_figures(np.full((3, 2), 0.5), ["a", "b"])
    assert dead["attention/alarm_dead_logits"] == 1.0
    alone = attention_figures(np.array([[1.0, 0.0], [1.0, 0.0]]), ["a", "b"])  # the other has not joined yet
    assert alone["attention/alarm_collapse"] == alone["attention/alarm_dead_logits"] == 0.0


def test_it_advances_the_curriculum_and_logs_everything(caplog):
    late = {**CNN, "freeze": False, "join_at": 100}
    thaw = {**CNN, "unfreeze_at": 150}
    model, seen = durotaxis_ppo(use_wsa=True, ptms=[thaw, late], wsa_config={"embedding_dim": 8, "context_dim": 8})
    with caplog.at_level(logging.INFO, logger="rl_suite.sb3.ptm_callback"):
        model.learn(192, AttentionCallback(sample=32, images_every=128))
    assert "graph_cnn_1 joins" in caplog.text
    assert "graph_cnn_0 is trained from now on" in caplog.text
    assert seen[0]["attention/weight_graph_cnn_1"] == 0.0
    assert seen[-1]["attention/weight_graph_cnn_1"] > 0.0
    told = [[values[f"attention/{key}"] for values in seen] for key in ("joined_graph_cnn_1", "trained_graph_cnn_0")]
    assert told == [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]  # rollouts end at 64, 128 and 192
    assert "attention/joined_graph_cnn_0" not in seen[0]  # it was there all the time
    assert seen[-1]["attention/cost_ms_graph_cnn_0"] > 0.0
    assert seen[0]["attention/parameters_graph_cnn_0"] == model.policy.multi_ptm.models()[0].n_parameters()
    pictures = [values["attention/episode"] for values in seen if "attention/episode" in values]
    assert len(pictures) == 2
    assert isinstance(pictures[0], Image)
    assert pictures[0].image.ndim == 3


def test_rollouts_begin_with_empty_caches():
    """Where a run may be resumed, for a resumed run has nothing in its caches; rounding would tell them apart."""
    model, _ = durotaxis_ppo(use_wsa=True, ptms=[CNN, CNN], wsa_config={"embedding_dim": 8, "context_dim": 8})
    observation = model.env.reset()
    callback = AttentionCallback()
    callback.init_callback(model)
    callback.on_training_start({}, {})
    computed = []
    for _ in range(3):
        model.predict(observation)
        computed.append(model.policy.multi_ptm.n_computed()[0])
        callback.on_rollout_start()
    assert computed == [4, 8, 12]  # 4 environments


def test_a_collapse_is_said_once(caplog, monkeypatch):
    model, _ = durotaxis_ppo(use_wsa=True, ptms=[CNN, CNN], wsa_config={"embedding_dim": 8, "context_dim": 8})
    monkeypatch.setattr(
        "rl_suite.sb3.ptm_callback.attention_of", lambda *_: np.tile([0.99, 0.01], (8, 1)) + np.eye(8)[:, :2] * 0.001
    )
    model.learn(192, AttentionCallback())
    assert caplog.text.count("over 90 %") == 1


class Pixels(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.integers(0, 255, (36, 36, 3)).astype(np.uint8), {}

    def step(self, action):
        self.t += 1
        return self.np_random.integers(0, 255, (36, 36, 3)).astype(np.uint8), 0.0, False, self.t >= 6, {}


def test_it_watches_stock_policies_on_pixels_too():
    kwargs = {
        "features_extractor_class": MultiPTMFeatureExtractor,
        "features_extractor_kwargs": {"ptms": [CNN, CNN], "embedding_dim": 8, "context_dim": 8},
    }
    model = PPO("CnnPolicy", DummyVecEnv([Pixels] * 2), n_steps=16, batch_size=32, policy_kwargs=kwargs, device="cpu")
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    model.learn(32, AttentionCallback(images_every=1))
    assert recorder.seen[0]["attention/weight_graph_cnn_0"] > 0.0
    weights = attention_of(model.policy, model.rollout_buffer.observations[:3].reshape(-1, 3, 36, 36))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)


CURRICULUM = {
    "features_extractor_class": MultiPTMFeatureExtractor,
    "features_extractor_kwargs": {
        "ptms": [CNN, {**CNN, "join_at": 20, "unfreeze_at": 20}], "embedding_dim": 8, "context_dim": 8
    },
}  # fmt: skip


class Steering(Pixels):
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)


@pytest.mark.parametrize(("algorithm", "world"), [(DQN, Pixels), (SAC, Steering), (TD3, Steering)])
def test_it_leads_every_network_of_off_policy_algorithms(algorithm, world):
    options = {"learning_starts": 10, "buffer_size": 100, "batch_size": 8, "train_freq": 4, "gradient_steps": 1}
    model = algorithm("CnnPolicy", DummyVecEnv([world]), policy_kwargs=dict(CURRICULUM), device="cpu", **options)
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    model.learn(40, AttentionCallback(images_every=10), log_interval=1)
    networks = extractors_of(model.policy)
    assert len(networks) > 1
    assert all(network.active.all() and not network.models()[1].frozen for network in networks)
    assert any("attention/weight_graph_cnn_0" in values for values in recorder.seen)


def test_a_critic_with_models_of_its_own_is_led_too():
    kwargs = {**CURRICULUM, "share_features_extractor": False}
    model = PPO("CnnPolicy", DummyVecEnv([Pixels]), n_steps=16, batch_size=16, policy_kwargs=kwargs, device="cpu")
    model.learn(48, AttentionCallback())
    for network in (model.policy.pi_features_extractor, model.policy.vf_features_extractor):
        assert network.active.all()
        assert [part.frozen for part in network.models()] == [True, False]


def test_policies_without_models_are_refused():
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, device="cpu")
    with pytest.raises(ValueError, match="has no pre-trained models to watch"):
        model.learn(16, AttentionCallback())
    with pytest.raises(ValueError, match="has no values per component"):
        model.learn(16, ComponentValueCallback())


def test_an_episode_as_a_picture():
    weights = np.linspace([1.0, 0.0], [0.0, 1.0], 9)
    image = draw_episode(np.zeros((3, 24, 24, 3)), np.array([0, 4, 8]), weights, ["a", "b"])
    assert image.shape == (640, 960, 3)
    assert image.dtype == np.uint8
    left, right = (half.reshape(-1, 3) for half in (image[200:500, :480], image[200:500, 480:]))  # without the legend
    blue = np.array([31, 119, 180])  # of the first model
    assert (left == blue).all(1).sum() > 2 * (right == blue).all(1).sum()


def test_component_values_are_fitted_and_logged():
    names = ("reward_delete", "reward_distance", "reward_termination")
    model, seen = durotaxis_ppo(reward_components=names)
    model.learn(256, ComponentValueCallback())
    assert {f"train/value_{name}" for name in names} <= set(seen[-1])
    assert {f"rollout/{name}" for name in names} <= set(seen[-1])
    heads = model.policy.critic.heads.weight
    assert heads.shape == (3, 16)
    assert (heads[0] - heads[2]).abs().max() > 1e-3


def test_components_must_be_reported():
    model, _ = durotaxis_ppo(reward_components=("reward_delete", "reward_kindness"))
    with pytest.raises(ValueError, match="info has no reward_kindness at every step"):
        model.learn(64, ComponentValueCallback())


def test_lambda_returns_agree_with_sb3():
    rng = np.random.default_rng(0)
    from stable_baselines3.common.buffers import RolloutBuffer

    steps, copies = 12, 3
    buffer = RolloutBuffer(
        steps, gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2), gamma=0.9, gae_lambda=0.8, n_envs=copies
    )
    rewards, values = rng.normal(size=(steps, copies)), rng.normal(size=(steps, copies))
    dones = rng.random((steps, copies)) < 0.3
    buffer.rewards[:], buffer.values[:] = rewards, values
    buffer.episode_starts[1:] = dones[:-1]
    last = rng.normal(size=copies)
    buffer.compute_returns_and_advantage(torch.tensor(last, dtype=torch.float32), dones[-1])
    ours = lambda_returns(rewards[..., None], values[..., None], last[:, None], dones, 0.9, 0.8)
    np.testing.assert_allclose(ours[..., 0], buffer.returns, atol=1e-5)
