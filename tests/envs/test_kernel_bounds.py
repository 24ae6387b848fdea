"""Every kernel, compiled with bounds checks, on hostile states, files and actions: an index outside is an error here.

Without the checks numba reads and writes wherever an index points. The kernels run in a process of their own, since
the checks are compiled in, and their cache begins as an empty folder, which then says what was compiled.
"""

import ast
import os
import subprocess
import sys

import pytest

from envs.kernel_cache import ROOT

FEW = ("tests/envs/test_hostile_states.py", "-k", "DarkRoom-v0 or GaussianBandit-v0 or DarkKeyToDoorTrial")
ALL = (
    "tests/envs/test_hostile_states.py",
    "tests/envs/test_bandit.py",
    "tests/envs/test_gridworld.py",
    "tests/envs/test_streams.py",
    "tests/envs/durotaxis",
    "tests/envs/symbolic",
    "tests/rl_suite/test_hostile_checkpoints.py",
    "tests/rl_suite/symbolic",
    "tests/rl_suite/distillation/test_distillation.py",
)


def kernels():
    """``module.function`` of every kernel that is compiled by itself, as the files of numba's cache begin."""
    for package in ("envs", "rl_suite"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                for mark in getattr(node, "decorator_list", ()):
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "kernel":
                        inlined = any(word.arg == "inline" for word in mark.keywords)  # part of those that call it
                        if not inlined:
                            yield f"{path.stem}.{node.name}"


def play(tests, folder):
    """Run tests with bounds checks; the kernels that were compiled."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:]
    return {path.name.split("-")[0] for path in folder.rglob("*-boundscheck.nbi")}


def test_small_worlds_never_index_outside(tmp_path):
    assert play(FEW, tmp_path) >= {"grid_kernels.step_room", "bandit._pull_gaussian", "streams.uniform_at"}


@pytest.mark.slow
def test_no_kernel_indexes_outside(tmp_path):
    """A kernel that none of these tests reaches is a gap in them."""
    assert set(kernels()) - play((*ALL, "-m", "slow or not slow"), tmp_path) == set()
