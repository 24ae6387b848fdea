"""The bridge to SB3: the same steps as SB3's own DummyVecEnv over the single environments."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecFrameStack, VecMonitor, VecNormalize

from rl_suite.vec_env import SB3VecEnv, make_vec_env

KINDS = {  # id -> options; between them all kinds of observations, terminations and truncations
    "rl_suite/DarkRoom-v0": {"max_episode_steps": 3},
    "rl_suite/BernoulliBandit-v0": {"max_episode_steps": 4},
    "rl_suite/GaussianBandit-v0": {"show_means": True, "max_episode_steps": 2},
    "rl_suite/DarkKeyToDoorTrial-v0": {"episode_steps": 2, "episodes_per_trial": 2},
    "rl_suite/DarkRoomTrial-v0": {"episode_steps": 2, "episodes_per_trial": 2, "max_episode_steps": 4},
}


def dummy(env_id: str, n: int, **options: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make(env_id, **options)] * n)


def without_steps(info: dict[str, Any], done: bool) -> dict[str, Any]:
    """What ours reports: everything where an episode ended, nothing elsewhere."""
    return info if done else {}


@pytest.mark.parametrize(("env_id", "options"), KINDS.items())
def test_steps_are_those_of_sb3s_own(env_id: str, options: dict[str, Any]) -> None:
    ours, theirs = make_vec_env(env_id, 3, **options), dummy(env_id, 3, **options)
    assert isinstance(ours, SB3VecEnv)
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    assert ours.seed(3) == theirs.seed(3) == [3, 4, 5]
    rng = np.random.default_rng(0)
    np.testing.assert_equal(ours.reset(), theirs.reset())
    assert ours.reset_infos == theirs.reset_infos
    ends = 0
    for _ in range(12):
        actions = rng.integers(5, size=3)
        observations, rewards, dones, infos = ours.step(actions)
        their_observations, their_rewards, their_dones, their_infos = theirs.step(actions)
        np.testing.assert_equal(observations, their_observations)
        np.testing.assert_array_equal(rewards, their_rewards)
        assert rewards.dtype == np.float32
        np.testing.assert_array_equal(dones, their_dones)
        expected = [without_steps(info, done) for info, done in zip(their_infos, dones, strict=True)]
        np.testing.assert_equal(infos, expected)
        assert len({id(info) for info in infos}) == 3
        ends += dones.sum()
    assert ends >= 9
    ours.close()


def test_some_entries_of_every_step() -> None:
    env = make_vec_env("rl_suite/BernoulliBandit-v0", 2, info_keys=["regret", "task"])
    env.seed(0)
    env.reset()
    infos = env.step(np.array([0, 1]))[3]
    assert [sorted(info) for info in infos] == [["regret", "task"]] * 2
    world: Any = env.env.unwrapped.world  # type: ignore[attr-defined]
    assert [info["regret"] for info in infos] == world.regret.tolist()
    wrong = make_vec_env("rl_suite/DarkRoom-v0", 1, info_keys=["nonsense"])
    wrong.reset()
    with pytest.raises(KeyError, match="nonsense"):
        wrong.step(np.array([0]))


def test_attributes_and_methods() -> None:
    env: Any = make_vec_env("rl_suite/DarkRoom-v0", 3)
    env.set_options([{"task": 1}, {"task": 2}, {"task": 3}])
    env.reset()
    assert [int(task) for task in env.get_attr("task")] == [1, 2, 3]
    assert env.get_attr("size") == [9, 9, 9]
    assert [int(task) for task in env.get_attr("task", indices=[2, 0])] == [3, 1]
    assert env.get_attr("render_mode", indices=1) == [None]
    assert env.has_attr("action_masks")
    assert not env.has_attr("wings")
    with pytest.raises(AttributeError, match="has 'wings'"):
        env.get_attr("wings")
    assert np.stack(env.env_method("action_masks")).shape == (3, 5)
    assert np.stack(env.env_method("action_masks", indices=[1])).shape == (1, 5)
    env.set_attr("reward_once", True)
    assert env.env.unwrapped.world.reward_once is True
    env.set_attr("note", "hello")
    assert env.get_attr("note") == ["hello"] * 3
    with pytest.raises(ValueError, match="set_attr needs indices=None"):
        env.set_attr("reward_once", True, indices=[0])
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert env.env_is_wrapped(Monitor, indices=0) == [False]


def test_options_are_used_once() -> None:
    env: Any = make_vec_env("rl_suite/DarkRoom-v0", 64)
    env.seed(0)
    env.set_options({"task": 40})
    env.reset()
    assert set(env.get_attr("task")) == {40}
    env.reset()
    assert len(set(env.get_attr("task"))) > 10
    env.set_options([{"task": 40}] * 63 + [{}])
    with pytest.raises(ValueError, match="the same names"):
        env.reset()


def test_masks_for_maskable_ppo() -> None:
    env = VecMonitor(make_vec_env("rl_suite/DarkRoom-v0", 2))
    assert is_masking_supported(env)
    assert get_action_masks(env).tolist() == [[True] * 5] * 2
    MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0).learn(16)


def test_pictures_are_tiled() -> None:
    env = make_vec_env("rl_suite/DarkRoom-v0", 4, render_mode="rgb_array")
    env.reset()
    picture: Any = env.render()
    assert picture.shape == (448, 448, 3)
    blind = make_vec_env("rl_suite/DarkRoom-v0", 2)
    assert blind.get_images() == [None, None]


def test_state_passes_through_wrappers() -> None:
    env: Any = VecMonitor(make_vec_env("rl_suite/GaussianBanditTrial-v0", 2))
    env.seed(1)
    env.reset()
    env.step(np.array([0, 1]))
    state = env.get_state()
    first = [env.step(np.array([2, 3]))[1].tolist() for _ in range(3)]
    env.set_state(state)
    assert [env.step(np.array([2, 3]))[1].tolist() for _ in range(3)] == first


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [(PPO, {"n_steps": 8, "batch_size": 16}), (A2C, {"n_steps": 8}), (DQN, {"learning_starts": 8})],
)
def test_sb3_trains_on_it(algorithm: Any, settings: dict[str, int]) -> None:
    env = VecCheckNan(VecMonitor(make_vec_env("rl_suite/DarkRoom-v0", 2, show_goal=True)), raise_exception=True)
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **settings).learn(48)
    assert model.num_timesteps >= 48
    assert len(model.ep_info_buffer) == 2 * 24 // 20


def test_dictionaries_train_and_normalise() -> None:
    env = VecNormalize(make_vec_env("rl_suite/DarkRoomTrial-v0", 2), norm_obs_keys=["previous_reward"])
    PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0).learn(32)
    boxes = VecFrameStack(make_vec_env("rl_suite/BernoulliBandit-v0", 2, show_means=True), n_stack=2)
    assert boxes.reset().shape == (2, 10)


def test_other_environments_run_in_a_dummy() -> None:
    env = make_vec_env("CartPole-v1", 2, max_episode_steps=3)
    assert isinstance(env, DummyVecEnv)
    env.seed(0)
    env.reset()
    dones = [env.step(np.array([0, 1]))[2].tolist() for _ in range(3)]
    assert dones == [[False, False], [False, False], [True, True]]


def test_prefix_imports_the_module() -> None:
    assert isinstance(make_vec_env("envs:rl_suite/DarkRoom-v0", 1), SB3VecEnv)
    with pytest.raises(gym.error.Error, match="DarkRom"):
        make_vec_env("rl_suite/DarkRom-v0", 1)
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        make_vec_env("rl_suite/DarkRoom-v0", 0)


def test_only_same_step_resets_fit() -> None:
    with pytest.raises(ValueError, match="must reset in the same step"):
        SB3VecEnv(SyncVectorEnv([lambda: gym.make("CartPole-v1")]))


def test_gymnasiums_own_vectors_fit_too() -> None:
    """Infos with masks, as SyncVectorEnv writes them: an entry that a copy lacks is left out."""

    class Sometimes(gym.Wrapper):
        def step(self, action: Any) -> Any:
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, {**info, **({"luck": 1.5} if action else {})}

    makers = [lambda: gym.wrappers.TimeLimit(Sometimes(gym.make("CartPole-v1")), 2)] * 2
    vector = SyncVectorEnv(makers, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)
    env = SB3VecEnv(vector)
    env.seed(0)
    env.reset()
    env.step(np.array([0, 0]))
    infos = env.step(np.array([1, 0]))[3]
    assert infos[0]["luck"] == 1.5
    assert "luck" not in infos[1]
    assert [info["TimeLimit.truncated"] for info in infos] == [True, True]
    assert infos[1]["terminal_observation"].shape == (4,)


def test_trials_train_without_a_monitor() -> None:
    """SB3 reads ``info["episode"]`` as what its monitor wrote; no world may use that name."""
    env = make_vec_env("rl_suite/BernoulliBanditTrial-v0", 2, episode_steps=4, info_keys=["episode_index"])
    PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1, seed=0).learn(32)
