"""NaN and infinity, wherever they come from, stop a run with step and name; nothing of them is saved."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.baselines import RandomAgent
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.evaluation.evaluate import EvaluationSpec, evaluate_agent
from rl_suite.experiments import EvaluationRequest, load_experiment
from rl_suite.run import Run
from rl_suite.sb3.callbacks import CheckFinite
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import evaluate
from rl_suite.sb3.experiment import train
from rl_suite.sb3.guard import FiniteGuard

ID = "tests/Poisoned-v0"


class Poisoned(gym.Env[Any, Any]):
    """Eight steps an episode; at the step ``at`` of each, what ``mode`` names is ``value``."""

    observation_space = gym.spaces.Box(-10, 10, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, mode: str = "", at: int = 3, value: float = math.nan, **other: Any):
        self.mode, self.at, self.value = mode, at, value

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        reward = self.value if self.mode == "reward" and self.t == self.at else float(action)
        return self._seen(), reward, False, self.t >= 8, {}

    def _seen(self) -> Any:
        seen = self.np_random.random(3).astype(np.float32)
        if self.mode == "observation" and self.t == self.at:
            seen[1] = self.value
        return seen


class Extractor(BaseFeaturesExtractor):
    """After ``at`` calls its output, gradient or weight is NaN."""

    def __init__(self, space: gym.Space[Any], at: int = 40, what: str = "features"):
        super().__init__(space, 3)
        self.layer = torch.nn.Linear(3, 3)
        self.at, self.what, self.calls = at, what, 0

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Three features."""
        self.calls += 1
        out: torch.Tensor = self.layer(seen)
        if self.calls < self.at:
            return out
        if self.what == "features":
            return out * math.nan
        if self.what == "gradient":
            return out + 0 * torch.sqrt(torch.abs(out - out.detach()))  # finite, and its gradient is not
        with torch.no_grad():
            self.layer.weight[0, 0] = math.inf
        return out


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gym.registry, ID, gym.envs.registration.EnvSpec(ID, Poisoned, disable_env_checker=True))


def config(folder: Path, *words: str) -> SB3Config:
    sizes = ["train.total_timesteps=256", "train.evaluate_every=64", "train.checkpoint_every=64", "env.n_envs=2"]
    base = ["experiment=darkroom,smoke", *sizes]
    if not any(word in ("algorithm=a2c", "algorithm=dqn", "algorithm=trpo") for word in words):
        base += ["ppo.n_steps=32", "ppo.batch_size=32"]
    if not any(word.startswith("policy.kwargs=") for word in words):
        base.append("policy.kwargs.features_extractor_class=stable_baselines3.common.torch_layers:FlattenExtractor")
    blocks = load_experiment(DEFAULT_CONFIG, [*base, f"runs_dir={folder}", f"env.id={ID}", "env.kwargs={}", *words])
    assert isinstance(blocks, SB3Config)
    return blocks


def complaint(folder: Path, *words: str, algorithm: str = "ppo") -> tuple[str, Run]:
    """What training ends with, and its folder."""
    settings = config(folder, *words, f"algorithm={algorithm}")
    with Run.start(settings) as run, pytest.raises(NonFiniteError) as stopped:
        inspect.unwrap(train)(settings, run)  # without the rehearsal, which finds most of it before anything is trained
    assert "\n" not in str(stopped.value)
    for path in (run.path / "checkpoints").glob("*.ckpt"):
        parameters = load_checkpoint(path)["sb3"]["parameters"]["policy"]
        assert all(bool(value.isfinite().all()) for value in parameters.values())
    return str(stopped.value), run


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["reward", "observation"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_worlds(split: str, mode: str, value: float, tmp_path: Path) -> None:
    shown = {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    told, run = complaint(tmp_path, f"env.{split}_kwargs={{mode: {mode}, value: {shown}}}")
    assert mode in told
    assert "step 3" in told
    assert "environment 0" in told or "episode 0" in told
    assert bool(list((run.path / "checkpoints").glob("step*"))) is (split == "test")


@pytest.mark.parametrize("at", [0, 8])
def test_first_and_last_observations(at: int, tmp_path: Path) -> None:
    told, _ = complaint(tmp_path, f"env.train_kwargs={{mode: observation, at: {at}}}")
    assert f"observation of environment 0 is not finite at step {at}" in told
    with pytest.raises(NonFiniteError, match=f"environment 0 is not finite at step {at} of episode 0"):
        play(mode="observation", at=at)


def play(**options: Any) -> None:
    agent = RandomAgent(Poisoned.action_space, 0)
    evaluate_agent(agent, EvaluationSpec(env_id=ID, env_options=options, n_tasks=2, episodes_per_task=1, n_envs=2))


OTHER_SETTINGS = {
    "dqn": ["dqn.learning_starts=16", "dqn.batch_size=8"],
    "recurrent_ppo": ["policy.name=MlpLstmPolicy"],
    "trpo": ["trpo.n_steps=32", "trpo.batch_size=32"],
}


@pytest.mark.parametrize("algorithm", ["ppo", "a2c", "dqn", "recurrent_ppo", "trpo"])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("features", "features of"),
        ("gradient", "gradient of "),
        ("weight", "parameter "),
    ],
)
def test_networks(algorithm: str, what: str, told: str, tmp_path: Path) -> None:
    name = f"{__name__}:Extractor"
    kwargs = f"{{features_extractor_class: '{name}', features_extractor_kwargs: {{at: 40, what: {what}}}}}"
    words = OTHER_SETTINGS.get(algorithm, [])
    found, _ = complaint(tmp_path, f"policy.kwargs={kwargs}", *words, algorithm=algorithm)
    assert found.startswith(told)
    assert "at step" in found
    if what == "weight":
        assert "layer.weight" in found


def test_a_weight_before_the_first_action(tmp_path: Path) -> None:
    name = f"{__name__}:BadFromTheStart"
    found, _ = complaint(tmp_path, f"policy.kwargs={{features_extractor_class: '{name}'}}")
    assert found.startswith("parameter ")
    assert "features_extractor.scale is not finite at step 0" in found


class BadFromTheStart(Extractor):
    """Made with a NaN."""

    def __init__(self, space: gym.Space[Any]):
        super().__init__(space, at=10**9)
        self.scale = torch.nn.Parameter(torch.tensor([1.0, math.nan]))


def test_a_learning_rate_beyond_reason(tmp_path: Path) -> None:
    words = ["ppo.learning_rate=1e30", "ppo.final_learning_rate=1e30", "ppo.max_grad_norm=1e30"]
    found, _ = complaint(tmp_path, *words)
    assert "is not finite at step" in found


@pytest.mark.parametrize("make", [PPO, A2C, DQN])
def test_hooks_are_gone_after_training(make: Callable[..., Any]) -> None:
    model = make("MlpPolicy", DummyVecEnv([Poisoned]))
    with FiniteGuard(model):
        pass
    assert not any(module._forward_hooks for module in model.policy.modules())
    assert not any(parameter._backward_hooks for parameter in model.policy.parameters())
    assert not model.policy.optimizer._optimizer_step_pre_hooks


def test_other_errors_stay_what_they_are() -> None:
    model = PPO("MlpPolicy", DummyVecEnv([Poisoned]))
    with pytest.raises(ValueError, match="of the user's own"), FiniteGuard(model):
        raise ValueError("of the user's own")
    with (
        pytest.raises(NonFiniteError, match=r"parameter logits of Categorical.* is not finite at step 0"),
        FiniteGuard(model),
    ):
        torch.distributions.Categorical(logits=torch.tensor([math.nan, 0.0]))
    with torch.no_grad():
        model.policy.action_net.weight[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match=r"parameter action_net\.weight"), FiniteGuard(model):
        torch.distributions.Categorical(logits=torch.tensor([math.nan, 0.0]))


def test_weights_of_a_checkpoint_are_looked_at_before_they_play(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with Run.start(settings) as run:
        train(settings, run)
    content = load_checkpoint(run.checkpoints.best_path)
    content["sb3"]["parameters"]["policy"]["action_net.weight"][0, 0] = math.nan
    save_checkpoint(run.checkpoints.best_path, content)
    with pytest.raises(UserError, match=r"policy\.action_net\.weight is not finite in .*best\.ckpt"):
        evaluate(settings, EvaluationRequest(run=run))


def test_a_terminal_observation_is_looked_at() -> None:
    class Terminal(Poisoned):
        """The observation after the last step is what a truncated episode is valued by."""

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            seen, *rest = super().step(action)
            return (np.full(3, np.inf, np.float32) if self.t == 8 else seen), *rest  # type: ignore[return-value]

    env = CheckFinite(DummyVecEnv([Terminal]))
    env.reset()
    for _ in range(7):
        env.step(np.array([0]))
    with pytest.raises(NonFiniteError, match="terminal observation of environment 0 is not finite at step 8"):
        env.step(np.array([0]))
