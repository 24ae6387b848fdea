"""The meta-policy under stock MaskablePPO, with the task's episodes in the observation."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO

from agents.meta.nodes import NodeTokens
from agents.meta.sb3_policy import AttentionMetaPolicy

ARMS, EPISODES, STEPS = 4, 2, 6


class ToldBandit(gym.Env):
    """One pull; the observation tells what a few pulls of the same arms earned."""

    observation_space = spaces.Dict(
        {
            "cue": spaces.Box(-1.0, 1.0, (3,), np.float32),
            "action_mask": spaces.MultiBinary(ARMS),
            "task_context": spaces.Box(-1.0, 1.0, (EPISODES, STEPS, 3 + ARMS + ARMS + 1), np.float32),
        }
    )
    action_space = spaces.Discrete(ARMS)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.best = int(self.np_random.integers(1, ARMS))
        told = np.zeros((EPISODES, STEPS, 3 + 2 * ARMS + 1), np.float32)
        for episode in told:
            for step in episode:
                arm = int(self.np_random.integers(ARMS))
                step[3 + ARMS + arm], step[-1] = 1.0, float(arm == self.best)
        mask = np.ones(ARMS, np.int8)
        mask[0] = 0
        self.seen = {"cue": np.zeros(3, np.float32), "action_mask": mask, "task_context": told}
        return self.seen, {}

    def step(self, action):
        return self.seen, float(action == self.best), True, False, {}

    def action_masks(self):
        return self.seen["action_mask"].astype(bool)


class CueEncoder(torch.nn.Module):
    """An encoder of its own that reads the raw Dict."""

    def __init__(self, observation_space, action_space, width):
        super().__init__()
        self.linear = torch.nn.Linear(observation_space["cue"].shape[0], width)

    def forward(self, obs):
        token = self.linear(obs["cue"])[:, None]
        return NodeTokens(token, token.new_ones(token.shape[:2], dtype=torch.bool), torch.zeros(len(token)).long())


def success(model, n=100):
    env, right = ToldBandit(), []
    for seed in range(n):
        obs, _ = env.reset(seed=1000 + seed)
        action, _ = model.predict(obs, deterministic=True)
        right.append(int(action) == env.best)
    return float(np.mean(right))


def make(**policy_kwargs):
    kwargs = {"hidden_dim": 32, "num_attention_heads": 2, **policy_kwargs}
    return MaskablePPO(
        AttentionMetaPolicy, ToldBandit(), n_steps=512, batch_size=256, n_epochs=6, learning_rate=5e-3, gamma=0.0,
        policy_kwargs=kwargs, seed=0, device="cpu",
    )  # fmt: skip


def test_it_learns_from_the_told_episodes_and_survives_saving(tmp_path):
    model = make()
    model.learn(3072)
    learned = success(model)
    assert learned > 0.75  # a third by chance
    model.save(tmp_path / "model.zip")
    loaded = MaskablePPO.load(tmp_path / "model.zip", device="cpu")
    assert success(loaded) == learned
    model.policy.save(tmp_path / "policy.pt")
    alone = AttentionMetaPolicy.load(tmp_path / "policy.pt", device="cpu")
    obs, _ = ToldBandit().reset(seed=5)
    assert alone.predict(obs, deterministic=True)[0] == model.policy.predict(obs, deterministic=True)[0]


def test_ratios_are_one_with_unchanged_weights():
    policy = make().policy
    obs, _ = policy.obs_to_tensor({k: np.stack([v] * 5) for k, v in ToldBandit().reset(seed=1)[0].items()})
    actions, values, log_prob = policy(obs)
    again_values, again, entropy = policy.evaluate_actions(obs, actions)
    torch.testing.assert_close(again, log_prob)
    torch.testing.assert_close(again_values, values)
    assert values.shape == (5, 1)
    assert (entropy < np.log(ARMS - 1) + 1e-5).all()
    assert not (actions == 0).any()  # forbidden by the mask in the observation


def test_arguments_of_the_constructor_come_back():
    model = make(fusion_type="gating", observation_encoder_class=CueEncoder, use_hierarchical_encoding=False)
    kept = model.policy._get_constructor_parameters()
    assert kept["fusion_type"] == "gating"
    assert kept["observation_encoder_class"] is CueEncoder
    again = AttentionMetaPolicy(**kept)
    again.load_state_dict(model.policy.state_dict())
    obs, _ = ToldBandit().reset(seed=2)
    assert again.predict(obs, deterministic=True)[0] == model.policy.predict(obs, deterministic=True)[0]


def test_what_does_not_fit_is_refused():
    space = spaces.Dict({"cue": spaces.Box(-1, 1, (3,)), "task_context": spaces.Box(-1, 1, (2, 6, 5))})
    with pytest.raises(ValueError, match="task_context has 5 features; 3"):
        AttentionMetaPolicy(space, spaces.Discrete(4), lambda _: 1e-3)
    with pytest.raises(ValueError, match="Discrete"):
        AttentionMetaPolicy(space["cue"], spaces.Box(-1, 1, (2,)), lambda _: 1e-3)
