"""A wheel holds every file that the packages hold, and what the commands need beside them."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("envs", "agents", "rl_suite")
BESIDE = ("config.yaml", "train.py", "evaluate.py", "hyperparams/ppo.yml")
MADE = {".pyc", ".nbi", ".nbc"}  # by Python and numba


def files_of(root, *packages):
    """All files of the packages, relative to ``root``, without what is made when they run."""
    found = (path for package in packages for path in (root / package).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in found if path.suffix not in MADE}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built offline from a copy, so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in files_of(ROOT, *PACKAGES) | {*BESIDE, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"}:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, str(source), "-w", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(out / "content")
    return out / "content"


def test_it_holds_every_file_of_the_packages(wheel):
    assert files_of(wheel, *PACKAGES) == files_of(ROOT, *PACKAGES)


def test_it_holds_the_configuration_and_the_commands(wheel):
    shared = {path.relative_to(wheel).as_posix().split("/share/rl_suite/")[-1] for path in wheel.rglob("*")}
    assert set(BESIDE) <= shared


def test_what_it_holds_works_from_another_folder(wheel, tmp_path):
    """The world that reads tables, and the names of all packages, without the checkout."""
    program = (
        "import envs, gymnasium as gym, agents, rl_suite\n"
        "assert rl_suite.__file__.startswith({0!r}) and envs.__file__.startswith({0!r})\n"
        "from envs.symbolic.benchmarks import problems\n"
        "print(len(problems('feynman')))"
    ).format(str(wheel))
    environment = {"PYTHONPATH": str(wheel), "PATH": "/usr/bin:/bin", "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 100
