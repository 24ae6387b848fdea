"""Run folders without the parts of Python that only Linux and macOS have; Windows is played by stand-ins."""

import subprocess
import sys
from pathlib import Path

import pytest

from rl_suite.portable import lock

ROOT = Path(__file__).resolve().parents[2]
# another module than fcntl, no flags against links, and files that cannot be renamed while they are open
WINDOWS = """
import os, pathlib, sys, types
import pydantic, yaml, torch, rich.console, torch.utils.tensorboard, subprocess, multiprocessing, gymnasium
held = {}
def locking(descriptor, mode, size):
    status = os.fstat(descriptor)
    key = (status.st_dev, status.st_ino)
    if key in held and held[key] != descriptor:
        raise OSError(13, "Permission denied")
    held[key] = descriptor
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
sys.modules["fcntl"] = sys.modules["resource"] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY"):
    delattr(os, name)
del os.getuid, os.sysconf
sys.platform = "win32"
folder = pathlib.Path(sys.argv[1])
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.reading import read_bytes
from rl_suite.run import Run
config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", f"runs_dir={folder}"])
with Run.start(config) as run:
    run.log(1, {"a": 1.0})
    run.save(1, {"x": torch.ones(2)})
    try:
        Run.start(config)
    except UserError as error:
        print(error)
    run.finish("complete")
(folder / "link").symlink_to(run.config_path)
try:
    read_bytes(folder / "link")
except UserError as error:
    print(error)
print(Run.open(run.path).status, Run.open(run.path).checkpoints.read_latest().content["x"].tolist())
"""


def test_run_folders_need_nothing_that_windows_lacks(tmp_path):
    words = [sys.executable, "-c", WINDOWS, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, third = done.stdout.splitlines()
    assert "another process is writing" in first
    assert "is a link, which is not followed" in second
    assert third == "complete [1.0, 1.0]"
    assert not list(tmp_path.rglob(".*.????????????????"))


def test_a_lock_excludes_others_until_the_file_is_closed(tmp_path):
    with (tmp_path / "a").open("w") as first, (tmp_path / "a").open("w") as second:
        lock(first.fileno())
        with pytest.raises(BlockingIOError):
            lock(second.fileno())
        first.close()
        lock(second.fileno())
