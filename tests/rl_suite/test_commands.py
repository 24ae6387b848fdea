"""train.py and evaluate.py as a user types them; every mistake is one line and exit code 2."""

import json
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.policies import ActorCriticPolicy

import evaluate
import train
from rl_suite.cli import DEFAULT_CONFIG, run_command
from rl_suite.experiments import describe_experiments, load_experiment

Command = Callable[..., tuple[int, str, str]]
TINY = ("train.total_timesteps=128", "train.evaluate_every=64", "train.checkpoint_every=64")
EXPERIMENTS = [name for name, _ in describe_experiments(DEFAULT_CONFIG) if name != "smoke"]

pytestmark = pytest.mark.rehearsed
WATCHED = {"durotaxis_wsa", "durotaxis_wsa_features"}  # two residual networks look at every step: two minutes
LONG = WATCHED | {"bandit10_distillation", "meta_symbolic_maml", "omniglot_anil"}  # half a minute; a sibling is played
SMALL_MODELS = (
    "policy.kwargs.ptms=[{model_type: graph_cnn, options: {width: 4}}, "
    "{model_type: graph_cnn, freeze: false, options: {width: 4}}]"
)
SMOKE = [
    *(pytest.param(name, (), marks=[pytest.mark.slow] if name in LONG else []) for name in EXPERIMENTS),
    pytest.param("durotaxis_wsa", (SMALL_MODELS,), id="durotaxis_wsa, small models"),
]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run ``train`` or ``evaluate`` with words; returns (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(program: types.ModuleType, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"{program.__name__}.py", *words])
        try:
            run_command(program.main)
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize(("name", "words"), SMOKE)
def test_every_shipped_experiment_runs_smoke_and_is_evaluated(
    name: str, words: tuple[str, ...], command: Command
) -> None:
    code, output, errors = command(train, f"experiment={name},smoke", *words)
    assert code == 0, errors
    run = Path(f"runs/{name}-smoke/0")
    assert f"results: {run}" in output
    assert json.loads((run / "run.json").read_text())["status"] == "complete"
    code, output, errors = command(evaluate, str(run))
    assert code == 0, errors
    assert (run / "evaluation.json").exists()


def test_help_lists_every_experiment(command: Command) -> None:
    code, output, _ = command(train, "--help")
    assert code == 0
    for name, about in describe_experiments(DEFAULT_CONFIG):
        assert name in output
        assert about in " ".join(output.split())  # broken into lines that fit


@pytest.mark.parametrize("algorithm", ["a2c", "trpo", "dqn", "maskable_ppo"])
def test_every_algorithm_trains(algorithm: str, command: Command) -> None:
    code, _, errors = command(train, "experiment=darkroom,smoke", f"algorithm={algorithm}", *TINY)
    assert code == 0, errors
    lines = [json.loads(line) for line in Path("runs/darkroom-smoke/0/metrics.jsonl").read_text().splitlines()]
    assert any("rollout/ep_rew_mean" in line for line in lines)
    assert any("eval/mean_reward" in line for line in lines)


def test_the_same_command_again_says_complete(command: Command) -> None:
    assert command(train, "experiment=darkroom,smoke", *TINY)[0] == 0
    code, output, _ = command(train, "experiment=darkroom,smoke", *TINY)
    assert code == 0
    assert "is complete" in output


def test_other_settings_are_another_run_beside_the_first(command: Command) -> None:
    assert command(train, "experiment=darkroom,smoke", *TINY)[0] == 0
    code, output, errors = command(train, "experiment=darkroom,smoke", *TINY, "ppo.gamma=0.5", "seed=0,1")
    assert code == 0, errors
    assert "holds a run of other settings (ppo.gamma" in output
    assert len(list(Path("runs").glob("darkroom-smoke+*/?/report.html"))) == 2
    assert "compare the seeds" in output
    code, _, errors = command(train, "experiment=darkroom,smoke", *TINY, "ppo.gamma=0.25", "name=darkroom-smoke")
    assert code == 2
    assert "another configuration (ppo.gamma" in errors


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    code, _, errors = result
    assert code == 2, errors
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 1, errors
    for part in parts:
        assert part in errors


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["experiment=nope"], ["unknown experiment 'nope'"]),
        (["env.id=rl_suite/DarkRom-v0"], ["rl_suite/DarkRom-v0", "DarkRoom"]),
        (["env.id=rl_suite/DarkRoom-v9"], ["v9"]),
        (["env.id=no_such_module:X-v0"], ["no_such_module"]),
        (["env.kwargs.sizee=3"], ["sizee"]),
        (["env.train_kwargs.split=tset"], ["tset"]),
        (["policy.name=MlpPolicyy"], ["unknown policy of PPO 'MlpPolicyy'; did you mean 'MlpPolicy'"]),
        (["policy.name=nowhere:Policy"], ["nowhere"]),
        (["policy.kwargs.features_extractor_class=agents.extractors:Nope"], ["Nope"]),
        (["policy.kwargs.nett=3"], ["nett"]),
        (["env.id=rl_suite/DarkRoomTrial-v0"], ["cannot act in rl_suite/DarkRoomTrial-v0"]),
        (["algorithm=ppoo"], ["algorithm"]),
        (["normalize.observation=true"], ["nothing in MultiDiscrete", "real-valued"]),
        (["seed=-3"], ["seed"]),
        (["train.total_timesteps=0"], ["train.total_timesteps"]),
        (["runs_dir=/proc/none"], ["cannot be written"]),
        (["--config", "missing.yaml"], ["missing.yaml", "cannot be read"]),
    ],
)
def test_mistakes_while_training(words: list[str], parts: list[str], command: Command) -> None:
    names = [] if any("experiment=" in word for word in words) else ["experiment=darkroom,smoke"]
    assert_one_line(command(train, *names, *words), *parts)


def test_cuda_without_a_device(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_one_line(command(train, "experiment=darkroom,smoke", "device=cuda"), "finds no CUDA device")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["name one run folder"]),
        (["runs/none/0"], ["not a run folder"]),
        (["a", "b"], ["name one run folder"]),
        (["baseline=nope", "experiment=darkroom"], ["unknown baseline 'nope'"]),
        (["baseline=ucb1", "experiment=darkroom"], ["UCB1 learns from a trial"]),
        (["checkpoint=none.zip", "experiment=darkroom"], ["none.zip: no such checkpoint"]),
    ],
)
def test_mistakes_while_evaluating(words: list[str], parts: list[str], command: Command) -> None:
    assert_one_line(command(evaluate, *words), *parts)


def test_checkpoints_of_others_and_broken_ones(command: Command) -> None:
    assert command(train, "experiment=darkroom,smoke", *TINY)[0] == 0
    run = Path("runs/darkroom-smoke/0")
    best = run / "checkpoints" / "best.ckpt"
    other = ("experiment=darkroom,smoke", "policy.kwargs.net_arch=[3]")
    assert_one_line(command(evaluate, f"checkpoint={best}", *other), "does not fit")
    assert_one_line(command(evaluate, f"checkpoint={run / 'model.zip'}", *other), "not a model for")
    assert command(evaluate, f"checkpoint={run / 'model.zip'}", "experiment=darkroom,smoke")[0] == 0
    (run / "model.zip").write_bytes((run / "model.zip").read_bytes()[:1000])
    assert_one_line(command(evaluate, f"checkpoint={run / 'model.zip'}", *other), "not a model for")
    best.write_bytes(best.read_bytes()[:-1])
    assert_one_line(command(evaluate, str(run)), "best.ckpt: truncated or corrupt")


def test_an_sb3_zip_is_not_unpickled(command: Command, tmp_path: Path) -> None:
    assert command(train, "experiment=darkroom,smoke", *TINY)[0] == 0
    source, evil = Path("runs/darkroom-smoke/0/model.zip"), tmp_path / "evil.zip"
    payload = "gASVLQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjBJ0b3VjaCAvdG1wL3B3bmVkX3iUhZRSlC4="
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "data":
                fields = json.loads(data)
                fields["policy_class"] = {":type:": "x", ":serialized:": payload}
                data = json.dumps(fields).encode()
            new.writestr(name, data)
    code, _, errors = command(evaluate, f"checkpoint={evil}", "experiment=darkroom,smoke")
    assert code == 0, errors
    assert not Path("/tmp/pwned_x").exists()


class Corridor(gym.Env[Any, Any]):
    """A user's own world, unknown to the suite: walk right to 5."""

    observation_space = gym.spaces.Box(-10, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    poison = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.t = 0, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.x, self.t = self.x + (1 if action else -1), self.t + 1
        reward = float("nan") if self.poison and self.t == 3 else float(self.x == 5)
        return np.array([np.clip(self.x, -10, 10)], np.float32), reward, self.x == 5, self.t >= 20, {}


class OwnPolicy(ActorCriticPolicy):
    """A user's own policy."""


@pytest.fixture
def own_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the two classes above as a module that configuration names can reach."""
    module = types.ModuleType("my_plugin")
    for item in (Corridor, OwnPolicy):
        setattr(module, item.__name__, item)
        monkeypatch.setattr(item, "__module__", "my_plugin")
    monkeypatch.setitem(sys.modules, "my_plugin", module)
    gym.register("mine/Corridor-v0", "my_plugin:Corridor")
    yield
    del gym.registry["mine/Corridor-v0"]


def write_own_config() -> None:
    block = "experiments:\n  corridor: {about: a user's own, env: {id: mine/Corridor-v0}}"
    Path("mine.yaml").write_text(DEFAULT_CONFIG.read_text().replace("experiments:", block, 1))


@pytest.mark.usefixtures("own_plugin")
def test_a_users_own_world_and_policy(command: Command) -> None:
    write_own_config()
    words = ["experiment=corridor,smoke", "policy.name=my_plugin:OwnPolicy", *TINY]
    code, output, errors = command(train, "--config", "mine.yaml", *words)
    assert code == 0, errors
    assert "trained" in output


@pytest.mark.usefixtures("own_plugin")
def test_a_nan_stops_the_run_and_names_the_step(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "poison", True)
    write_own_config()
    result = command(train, "--config", "mine.yaml", "experiment=corridor,smoke", *TINY)
    assert_one_line(result, "the reward of episode 0 is nan at its step 3")
    assert not list(Path("runs/corridor-smoke/0/checkpoints").glob("*"))


def test_read_only_home_and_other_folders_do_not_matter(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc")
    assert load_experiment(DEFAULT_CONFIG, ["experiment=darkroom"]).experiment == "darkroom"


def test_durotaxis_is_evaluated_with_its_controls(command: Command) -> None:
    code, output, errors = command(evaluate, "baseline=scripted", "experiment=durotaxis,smoke", "--out", "found.json")
    assert code == 0, errors
    for field in ("gradient", "flat", "reversed", "rotated", "optimum"):
        assert field in output
    saved = json.loads(Path("found.json").read_text())
    assert saved["controls of scripted"]["rows"]
