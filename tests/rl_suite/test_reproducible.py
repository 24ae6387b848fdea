"""The same seed gives the same bits in another process and under another hash seed; what else may differ is measured.

    python -m pytest -s -m slow tests/rl_suite/test_reproducible.py

plays every experiment (smoke size) twice, the second time in the opposite order, and then some of them with two threads
and with the arithmetic of other processors, and prints what was the same.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from faults import assert_same_run

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.loading import read_config

ROOT = DEFAULT_CONFIG.parent
CLOCKED = ("meta_symbolic_maml",)  # its first part ends after CPU seconds, in the smoke size too
EXPERIMENTS = sorted(
    name
    for name, block in read_config(DEFAULT_CONFIG)["experiments"].items()
    if not block.get("modifier", False) and name not in CLOCKED
)
FEW = ("symbolic_search", "sinusoid_maml")
SOME = ("darkroom", "durotaxis", "durotaxis_per_node", "darkroom_distillation", "omniglot_maml", "meta_bandit", *FEW)
OTHERWISE: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "two threads": (("torch_threads=2",), {"OMP_NUM_THREADS": "2"}),
    "torch without AVX": ((), {"ATEN_CPU_CAPABILITY": "default"}),
    "kernels for any x86": ((), {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}),
    "another BLAS kernel": ((), {"OPENBLAS_CORETYPE": "Nehalem"}),
}
PLAY = """
import sys
from pathlib import Path
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
folder, words, *names = sys.argv[1:]
for name in names:
    assert run_job(load_experiment(DEFAULT_CONFIG, [f"experiment={name},smoke", f"runs_dir={folder}", *words.split()]))
"""


def play(folder: Path, names: tuple[str, ...], words: tuple[str, ...] = (), **environment: str) -> Path:
    """Run experiments one after the other in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", PLAY, str(folder), " ".join(words), *names]
    own = {**os.environ, "PYTHONHASHSEED": "0", **environment}
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def run_of(folder: Path, name: str) -> Path:
    """The run folder of an experiment."""
    (found,) = folder.glob(f"{name}-smoke/0")
    return found


def numbers(run: Path) -> dict[str, float]:
    """Every number that a run logged, clocks aside, by step and name."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        f"{line['step']} {key}": value
        for line in lines
        for key, value in line.items()
        if isinstance(value, int | float) and not key.startswith("time/") and not key.endswith("seconds") and key != "t"
    }


def require_same(first: Path, second: Path, names: tuple[str, ...]) -> None:
    """The same files with the same bits; the settings may name the folder."""
    for name in names:
        a, b = run_of(first, name), run_of(second, name)
        assert_same_run(a, b)
        settings = [{**yaml.safe_load((run / "config.yaml").read_text()), "runs_dir": None} for run in (a, b)]
        assert settings[0] == settings[1]


def test_another_process_and_hash_seed_change_nothing(tmp_path: Path) -> None:
    first, second = play(tmp_path / "a", FEW), play(tmp_path / "b", FEW[::-1], PYTHONHASHSEED="4242")
    require_same(first, second, FEW)


@pytest.mark.slow
def test_every_experiment(tmp_path: Path) -> None:
    names = tuple(EXPERIMENTS)
    first, second = play(tmp_path / "a", names), play(tmp_path / "b", names[::-1], PYTHONHASHSEED="4242")
    require_same(first, second, names)
    print(f"{len(names)} experiments: the same bits in two processes, hash seeds 0 and 4242, in opposite orders")


@pytest.mark.slow
def test_what_may_differ(tmp_path: Path) -> None:
    """Every condition is played twice: it may differ from the usual one, but not from itself."""
    usual = play(tmp_path / "usual", SOME)
    for number, (what, (words, environment)) in enumerate(OTHERWISE.items()):
        ours = play(tmp_path / f"{number}", SOME, words, **environment)
        require_same(ours, play(tmp_path / f"{number} again", FEW, words, **environment), FEW)
        said = []
        for name in SOME:
            a, b = numbers(run_of(usual, name)), numbers(run_of(ours, name))
            gap = max((abs(a[key] - b[key]) / max(abs(a[key]), 1e-9) for key in a.keys() & b.keys()), default=0.0)
            said.append(f"{name} {'same' if a == b else f'{gap:.1e}'}")
        print(f"{what}: largest relative difference of a logged number: {', '.join(said)}")
