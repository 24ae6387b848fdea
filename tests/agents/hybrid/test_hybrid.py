import gymnasium as gym
import numpy as np
import pytest
import torch
from hybrid_toys import MatchParts
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch.distributions import Categorical, Normal, kl_divergence

from agents.hybrid.circular import angle_entropy, angle_kl, angle_log_prob
from agents.hybrid.policy import ActionLayout, HybridPolicy, MaskedHybrid, Parts
from envs.spaces import HybridBox

LAYOUT = ActionLayout((3, 2), 2, 4)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def hybrid(mask, allowed=None, scale=1.0):
    parts = Parts.of(mask)
    rows = len(parts.graph)
    logits, mean, log_std = torch.randn(rows, 5) * scale, torch.randn(rows, 2) * scale, torch.randn(rows, 2) * 0.2
    return MaskedHybrid(LAYOUT, logits, mean, log_std, parts, allowed), logits, mean, log_std


MASK = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)


def test_layout_is_read_off_the_space():
    assert ActionLayout.of(HybridBox([3, 2], 2, 4)) == LAYOUT
    with pytest.raises(ValueError, match="needs a HybridBox"):
        ActionLayout.of(gym.spaces.Discrete(3))


def test_joint_log_prob_is_the_sum_over_real_parts():
    distribution, logits, mean, log_std = hybrid(MASK)
    actions = distribution.sample()
    flat = actions.view(3, 4, 4)
    expected, row = torch.zeros(3), 0
    for i in range(3):
        for j in range(4):
            if not MASK[i, j]:
                assert (flat[i, j] == 0).all()
                continue
            a, b, values = flat[i, j, 0], flat[i, j, 1], flat[i, j, 2:]
            expected[i] += Categorical(logits=logits[row, :3]).log_prob(a) + Categorical(
                logits=logits[row, 3:]
            ).log_prob(b)
            u = torch.atanh(values)
            gaussian = Normal(mean[row], log_std[row].exp()).log_prob(u) - torch.log(1 - values**2)
            expected[i] += gaussian.sum()
            row += 1
    torch.testing.assert_close(distribution.log_prob(actions), expected, rtol=1e-4, atol=1e-4)


def test_padding_has_no_say():
    distribution, *_ = hybrid(MASK)
    actions = distribution.sample()
    spoiled = actions.view(3, 4, 4).clone()
    spoiled[~MASK] = 1.0
    torch.testing.assert_close(distribution.log_prob(actions), distribution.log_prob(spoiled.flatten(1)))


def test_forbidden_options_are_never_drawn_and_cost_nothing():
    allowed = torch.ones(7, 5, dtype=torch.bool)
    allowed[:, 0] = False
    distribution, logits, *_ = hybrid(MASK, allowed)
    for _ in range(200):
        choices = distribution.sample().view(3, 4, 4)[..., 0]
        assert (choices[MASK] > 0).all()
    assert torch.isfinite(distribution.entropy()).all()
    assert (distribution.mode.view(3, 4, 4)[..., 0][MASK] > 0).all()
    of_two = Categorical(logits=logits[:, 1:3]).entropy()
    masked = Categorical(probs=distribution.log_probs[0].exp()).entropy()
    torch.testing.assert_close(of_two, masked)


def test_kl_agrees_with_torch_and_entropy_with_samples():
    p, p_logits, p_mean, p_log_std = hybrid(MASK)
    q, q_logits, q_mean, q_log_std = hybrid(MASK)
    parts = sum(
        kl_divergence(Categorical(logits=a), Categorical(logits=b))
        for a, b in zip(p_logits.split([3, 2], 1), q_logits.split([3, 2], 1), strict=True)
    )
    parts = parts + kl_divergence(Normal(p_mean, p_log_std.exp()), Normal(q_mean, q_log_std.exp())).sum(1)
    torch.testing.assert_close(kl_divergence(p, q), p.sum_parts(parts))
    assert kl_divergence(p, p).abs().max() < 1e-5
    estimate = torch.stack([-p.log_prob(p.sample()) for _ in range(1500)]).mean(0)
    torch.testing.assert_close(p.entropy(), estimate, rtol=0.0, atol=0.2)


def test_a_space_without_choices_or_without_values():
    only_values = MaskedHybrid(ActionLayout((), 3, 1), torch.zeros(2, 0), torch.zeros(2, 3), torch.zeros(3))
    assert only_values.sample().shape == (2, 3)
    assert only_values.log_prob(torch.zeros(2, 3)).shape == (2,)
    only_choices = MaskedHybrid(ActionLayout((4,), 0, 2), torch.zeros(6, 4), torch.zeros(6, 0), torch.zeros(0))
    torch.testing.assert_close(only_choices.entropy(), torch.full((3,), 2 * np.log(4.0), dtype=torch.float32))


def test_angles_stand_where_the_layout_says_and_count_in_everything():
    layout = ActionLayout.of(HybridBox([3], 3, 2), angles=[1])
    assert layout.plain == [0, 2]
    vectors = torch.tensor([[[5.0, 0.0]], [[-500.0, 0.1]], [[0.0, 5.0]], [[0.0, -5.0]]])
    mean, log_std = torch.randn(4, 2), torch.full((2,), -1.0)
    distribution = MaskedHybrid(layout, torch.zeros(4, 3), mean, log_std, vectors=vectors)
    mode = distribution.mode.view(4, 4)
    torch.testing.assert_close(mode[:, 2], torch.tensor([0.0, 1.0, 0.5, -0.5]), rtol=0, atol=1e-3)
    torch.testing.assert_close(mode[:, [1, 3]], torch.tanh(mean))
    actions = distribution.sample()
    rest = MaskedHybrid(ActionLayout((3,), 2, 2), torch.zeros(4, 3), mean, log_std)
    angles = angle_log_prob(actions.view(4, 4)[:, 2], vectors[:, 0])
    without = actions.view(4, 4)[:, [0, 1, 3]].reshape(2, 6)
    expected = rest.log_prob(without) + angles.view(2, 2).sum(1)
    torch.testing.assert_close(distribution.log_prob(actions), expected)
    torch.testing.assert_close(distribution.entropy(), rest.entropy() + angle_entropy(vectors[:, 0]).view(2, 2).sum(1))
    other = MaskedHybrid(layout, torch.zeros(4, 3), mean, log_std, vectors=vectors.flip(0))
    torch.testing.assert_close(
        kl_divergence(distribution, other), angle_kl(vectors[:, 0], vectors.flip(0)[:, 0]).view(2, 2).sum(1)
    )
    for angles in ([3], [0, 0], [-1]):
        with pytest.raises(ValueError, match="must be distinct numbers below 3"):
            ActionLayout.of(HybridBox([3], 3, 2), angles)


def test_the_toy_is_a_proper_world():
    check_env(MatchParts(), warn=False)


@pytest.mark.parametrize("algorithm", [PPO, A2C, TRPO])
def test_stock_algorithms_train_it_and_ratios_are_exactly_one(algorithm):
    model = algorithm(HybridPolicy, DummyVecEnv([MatchParts] * 4), n_steps=32, seed=0, device="cpu")
    model.learn(256)
    model.policy.set_training_mode(False)
    model.collect_rollouts(model.env, _callback(model), model.rollout_buffer, 32)
    for batch in model.rollout_buffer.get(16):
        _, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions)
        torch.testing.assert_close((log_prob - batch.old_log_prob).exp(), torch.ones(16), rtol=2e-5, atol=2e-5)
    assert sum(model.env.get_attr("violations")) == 0


def _callback(model):
    return model._init_callback(None)


def test_ppo_learns_hybrid_actions():
    make = lambda: MatchParts(n_parts=2)  # noqa: E731
    model = PPO(
        HybridPolicy,
        DummyVecEnv([make] * 16),
        n_steps=64,
        batch_size=256,
        n_epochs=5,
        learning_rate=3e-3,
        seed=1,
        device="cpu",
    )
    model.policy.set_training_mode(False)
    held_out = DummyVecEnv([make] * 4)
    held_out.seed(100)
    before, _ = evaluate_policy(model, held_out, 20, warn=False)
    model.learn(20_000)
    held_out.seed(100)
    after, _ = evaluate_policy(model, held_out, 20, warn=False)
    assert before < 11.5  # of 16; half the options and a value of 0 are worth 10.3
    assert after > 13.5


def test_save_load_and_set_parameters(tmp_path):
    env = VecNormalize(DummyVecEnv([MatchParts] * 2), norm_obs_keys=["shown"])
    kwargs = {"n_steps": 16, "batch_size": 16, "device": "cpu", "policy_kwargs": {"angles": [0]}}
    model = PPO(HybridPolicy, env, seed=0, **kwargs).learn(64)
    observation = env.reset()
    expected = model.predict(observation, deterministic=True)[0]
    model.save(tmp_path / "model.zip")
    model.policy.save(str(tmp_path / "policy.pt"))
    loaded = PPO.load(tmp_path / "model.zip", env=env, device="cpu")
    fresh = PPO(HybridPolicy, env, seed=5, **kwargs)
    fresh.set_parameters(tmp_path / "model.zip")
    policy = HybridPolicy.load(str(tmp_path / "policy.pt"), device="cpu")
    for agent in (loaded, fresh, policy):
        np.testing.assert_array_equal(agent.predict(observation, deterministic=True)[0], expected)
    loaded.learn(32)


def test_plain_boxes_are_rescaled_to_their_bounds():
    class Plain(gym.Env):
        observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        action_space = gym.spaces.Box(np.float32([0, -2]), np.float32([0.5, 2]))

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            assert self.action_space.contains(action)
            return np.zeros(1, np.float32), -float(abs(action[0] - 0.4) + abs(action[1] - 1)), False, False, {}

    model = PPO(HybridPolicy, DummyVecEnv([Plain] * 8), n_steps=32, batch_size=64, learning_rate=3e-3, device="cpu")
    model.learn(4000)
    action = model.predict(model.env.reset(), deterministic=True)[0]
    assert np.abs(action - [0.4, 1.0]).mean() < 0.25


def test_values_depend_on_their_own_sample_only():
    model = PPO(HybridPolicy, DummyVecEnv([MatchParts] * 4), n_steps=16, seed=0, device="cpu")
    observation = obs_as_tensor(model.env.reset(), "cpu")
    values = model.policy.predict_values(observation)
    for i in range(4):
        one = {key: value[i : i + 1] for key, value in observation.items()}
        torch.testing.assert_close(model.policy.predict_values(one)[0], values[i])


def test_it_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="use_sde"):
        PPO(HybridPolicy, DummyVecEnv([MatchParts]), use_sde=True, device="cpu")
    for settings in ({"squash_output": True}, {"ortho_init": "x"}, {"share_features_extractor": 1.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            PPO(HybridPolicy, DummyVecEnv([MatchParts]), policy_kwargs=settings, device="cpu")
    with pytest.raises(ValueError, match="needs a HybridBox"):
        A2C(HybridPolicy, "CartPole-v1", device="cpu").learn(1)
