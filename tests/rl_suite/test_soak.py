"""All worlds and all kinds of experiment in one process for a long time: invariants hold, memory and files do not grow.

``make soak SOAK_MINUTES=60`` prints how many steps each world made and the slopes of memory and of open files, judged
by their 95 % interval over rounds. The first rounds are not judged: kernels are compiled and caches fill.
"""

import contextlib
import ctypes
import gc
import io
import os
import shutil
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import theilslopes

import envs  # noqa: F401  # registers the worlds
from envs.batch import BatchEnv
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import KINDS, load_experiment
from rl_suite.job import run_job

WORLDS = sorted(name for name in gym.registry if name.startswith("rl_suite/"))
EXPERIMENTS = (
    "darkroom", "durotaxis", "durotaxis_per_node", "darkroom_distillation", "symbolic_search", "sinusoid_maml",
    "continual_rooms", "meta_bandit", "meta_symbolic", "darkroom,tune",
)  # fmt: skip
MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
COPIES = 64
CPU_SECONDS = 0.25  # of each world in each round
ALIKE = 5  # steps that are played twice from one state
WARM_UP, LEAST_ROUNDS = 2, 7
PAGE = os.sysconf("SC_PAGE_SIZE")
GROWTH = 0.02  # of the memory, over the rounds that are judged, that is none worth the name


class Played:
    """One world of the soak: a batch that never stops, and how far it came."""

    def __init__(self, name: str):
        self.name = name
        env = gym.make_vec(name, num_envs=COPIES).unwrapped
        assert isinstance(env, BatchEnv)
        self.env = env
        self.env.reset(seed=0)
        self.env.action_space.seed(0)
        self.rng = np.random.default_rng(0)
        self.steps = 0

    def play(self, seconds: float) -> None:
        """Random legal actions for some CPU time; every observation and reward is looked at."""
        end = time.process_time() + seconds
        while time.process_time() < end:
            self.look(*self.env.step(self.action()))
        self.play_twice()

    def action(self) -> Any:
        """Random, and allowed where the world says what is."""
        if not isinstance(self.env.single_action_space, gym.spaces.Discrete):
            return self.env.action_space.sample()
        allowed = self.env.action_masks()
        return (self.rng.random(allowed.shape) * allowed + allowed).argmax(1) + self.env.single_action_space.start

    def look(self, seen: Any, rewards: NDArray[np.float64], terminated: Any, truncated: Any, _: Any) -> None:
        """What holds after every step of every world."""
        self.steps += COPIES
        assert seen in self.env.observation_space, self.name
        assert np.isfinite(rewards).all(), self.name
        assert not (terminated & truncated).any(), self.name

    def play_twice(self) -> None:
        """The same state and actions give the same bits."""
        state = self.env.get_state()
        actions = [self.action() for _ in range(ALIKE)] if not self.masked else None
        first = self._bits(actions)
        self.env.set_state(state)
        assert first == self._bits(actions), self.name

    @property
    def masked(self) -> bool:
        """Whether what is allowed depends on the state, so that actions cannot be drawn beforehand."""
        return isinstance(self.env.single_action_space, gym.spaces.Discrete)

    def _bits(self, actions: Any) -> list[bytes]:
        self.rng = np.random.default_rng(self.steps) if actions is None else self.rng
        bits = []
        for i in range(ALIKE):
            seen, rewards, *_ = self.env.step(self.action() if actions is None else actions[i])
            parts = seen.values() if isinstance(seen, dict) else [seen]
            bits += [np.ascontiguousarray(part).tobytes() for part in (*parts, rewards)]
        return bits


def train_and_evaluate(experiment: str, folder: Path) -> None:
    """An experiment of smoke size, its evaluation and its report."""
    config = load_experiment(DEFAULT_CONFIG, [f"experiment={experiment},smoke", f"runs_dir={folder}"])
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with silence[0], silence[1], warnings.catch_warnings(action="ignore"):
        assert run_job(config)
    assert list(folder.glob("*/0/report.html"))
    shutil.rmtree(folder)


def in_use() -> tuple[float, int]:
    """(MiB of memory, open files) of this process, after what is free was given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20
    return resident, len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (an iterator would be one of them)


def slope(values: list[float]) -> tuple[float, float, float]:
    """Growth per round with its 95 % interval (Theil 1950 and Sen 1968)."""
    middle, _, low, high = theilslopes(values, np.arange(len(values)), 0.95)
    return float(middle), float(low), float(high)


def grows(values: list[float], tolerated: float) -> bool:
    """Whether there is a slope, and one that matters over these rounds."""
    middle, low, _ = slope(values)
    return low > 0 and middle * len(values) > tolerated


@pytest.mark.slow
def test_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    began, rounds = time.monotonic(), Counter[str]()
    worlds = [Played(name) for name in WORLDS]
    memory: list[float] = []
    files: list[float] = []
    while len(memory) < WARM_UP + LEAST_ROUNDS or time.monotonic() - began < 60 * MINUTES:
        for world in worlds:
            world.play(CPU_SECONDS)
        for experiment in EXPERIMENTS:
            train_and_evaluate(experiment, tmp_path / experiment.replace(",", "-"))
            rounds[experiment] += 1
        now = in_use()
        memory.append(now[0])
        files.append(now[1])
        with capsys.disabled():
            print(
                f"round {len(memory)}: {now[0]:.0f} MiB, {now[1]} files, {time.monotonic() - began:.0f} s", flush=True
            )
    judged, opened = memory[WARM_UP:], files[WARM_UP:]
    with capsys.disabled():
        for world in worlds:
            print(f"{world.name}: {world.steps:,} steps")
        print("experiments:", dict(rounds))
        for name, values, unit in (("memory", judged, "MiB"), ("open files", opened, "files")):
            middle, low, high = slope(values)
            print(f"{name}: {middle:+.3f} [{low:+.3f}, {high:+.3f}] {unit} a round over {len(values)} rounds")
    assert set(KINDS) == {load_experiment(DEFAULT_CONFIG, [f"experiment={name},smoke"]).kind for name in EXPERIMENTS}
    assert not grows(judged, GROWTH * judged[0]), judged
    assert not grows(opened, 0.0), opened


def test_a_leak_is_called_one_and_noise_is_not() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 12)
    assert not grows((1000 + noise).tolist(), 20)
    assert grows((1000 + noise + 5 * np.arange(12)).tolist(), 20)
    assert not grows([40.0] * 12, 0.0)
    assert grows([40.0 + i for i in range(12)], 0.0)


@pytest.mark.parametrize(
    "name", ["rl_suite/DarkRoomTrial-v0", "rl_suite/SymbolicRegression-v0", "rl_suite/Durotaxis-v0"]
)
def test_a_world_of_the_soak(name: str) -> None:
    world = Played(name)
    world.play(0.05)
    assert world.steps >= COPIES
