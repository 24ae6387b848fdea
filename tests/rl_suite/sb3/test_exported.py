"""``model.zip`` and its statistics play in plain SB3 as the run's own evaluation does."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.run import Run
from rl_suite.sb3 import load_normalization
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import load_agent
from rl_suite.sb3.experiment import train
from rl_suite.sb3.exported import save_normalization

PENDULUM = ["experiment=darkroom,smoke", "env.id=Pendulum-v1", "normalize.observation=true", "normalize.reward=true"]
PLAIN = "policy.kwargs.features_extractor_class=stable_baselines3.common.torch_layers:FlattenExtractor"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[SB3Config, Run]:
    folder = tmp_path_factory.mktemp("pendulum")
    raw = DEFAULT_CONFIG.read_text()
    (folder / "mine.yaml").write_text(raw.replace("experiments:", "experiments:\n  pendulum: {}", 1))
    words = ["experiment=pendulum,smoke", *PENDULUM[1:], "train.total_timesteps=512", f"runs_dir={folder}"]
    config = load_experiment(folder / "mine.yaml", words)
    assert isinstance(config, SB3Config)
    with Run.start(config) as run:
        train(config, run)
    return config, run


def environment() -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("Pendulum-v1")])


def test_the_statistics_lie_beside_the_zip(trained: tuple[SB3Config, Run]) -> None:
    _, run = trained
    env = load_normalization(run.path / "normalization.npz", environment())
    saved = run.checkpoints.read_latest()
    assert saved is not None
    kept = saved.content["sb3"]["envs"]["normalization"]["observation"]
    assert np.array_equal(env.obs_rms.mean, kept["mean"])  # type: ignore[union-attr]
    assert np.array_equal(env.obs_rms.var, kept["var"])  # type: ignore[union-attr]
    assert not env.training
    assert not env.norm_reward
    env.reset()
    before = env.obs_rms.count  # type: ignore[union-attr]
    rewards = [env.step(np.zeros((1, 1)))[1][0] for _ in range(3)]
    assert env.obs_rms.count == before  # type: ignore[union-attr]
    assert min(rewards) < 0  # raw rewards of the pendulum are not positive


def test_zip_and_checkpoint_do_the_same(trained: tuple[SB3Config, Run]) -> None:
    config, run = trained
    seen = np.array([[0.5, -0.8, 3.0], [1.0, 0.0, -7.0]], np.float32)
    latest = run.checkpoints.latest()
    assert latest is not None
    expected = load_agent(config, latest).predict(seen, deterministic=True)[0]
    for trust in (False, True):
        agent = load_agent(config, run.path / "model.zip", trust_pickle=trust)
        assert np.array_equal(agent.predict(seen, deterministic=True)[0], expected)
    env = load_normalization(run.path / "normalization.npz", environment())
    model = PPO.load(run.path / "model.zip", device="cpu")
    assert np.array_equal(model.predict(env.normalize_obs(seen), deterministic=True)[0], expected)
    assert not np.array_equal(model.predict(seen, deterministic=True)[0], expected)


def test_a_zip_without_its_statistics_does_not_play(trained: tuple[SB3Config, Run], tmp_path: Path) -> None:
    config, run = trained
    (tmp_path / "model.zip").write_bytes((run.path / "model.zip").read_bytes())
    with pytest.raises(UserError, match=r"normalization\.npz: cannot be opened"):
        load_agent(config, tmp_path / "model.zip")


def test_dict_observations(tmp_path: Path) -> None:
    class Both(gym.Env):  # type: ignore[type-arg]
        """Two parts, one of which is normalised."""

        observation_space = gym.spaces.Dict({"a": gym.spaces.Box(-9, 9, (2,), np.float32), "n": gym.spaces.Discrete(3)})
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
            """Start."""
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

    env = VecNormalize(DummyVecEnv([Both]), norm_obs_keys=["a"], clip_obs=3.0)
    env.reset()
    save_normalization(env, tmp_path / "n.npz")
    again = load_normalization(tmp_path / "n.npz", DummyVecEnv([Both]))
    assert again.norm_obs_keys == ["a"]
    assert again.clip_obs == 3.0
    assert np.array_equal(again.obs_rms["a"].mean, env.obs_rms["a"].mean)  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        {"mean ": np.zeros(4)},
        {"var ": np.full(3, -1.0)},
        {"mean ": np.full(3, np.nan)},
        {"mean ": np.full(3, "x")},
        {"count ": np.zeros(2)},
        {"clip": np.zeros(3)},
        {"mean other": np.zeros(3)},
    ],
    ids=str,
)
def test_statistics_of_something_else_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    env = VecNormalize(environment())
    save_normalization(env, tmp_path / "n.npz")
    with np.load(tmp_path / "n.npz") as arrays:
        good = dict(arrays)
    np.savez(tmp_path / "n.npz", **{**good, **change})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not the statistics of these observations"):
        load_normalization(tmp_path / "n.npz", environment())
