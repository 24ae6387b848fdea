"""A wheel holds every file that the packages hold, and what the commands need beside them."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

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


@pytest.mark.slow
def test_its_commands_work_from_any_folder_with_ones_own_configuration(wheel, tmp_path):
    """Installed into an environment of its own, which borrows the dependencies of this one."""
    home, work = tmp_path / "environment", tmp_path / "work"
    work.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (built,) = wheel.parent.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--quiet", "--no-deps"]
    done = subprocess.run([*install, "--no-index", str(built)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text("\n".join(entry for entry in sys.path if entry.endswith("site-packages")))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["experiments"]["mine"] = {"about": "my own", "env": {"id": "rl_suite/DarkRoom-v0"}}
    (work / "mine.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def call(*words):
        command = [str(home / "bin" / "rl-suite"), *words]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)

    tiny = ["train.total_timesteps=64", "train.evaluate_every=64", "train.checkpoint_every=64"]
    trained = call("train", "--config", "mine.yaml", "experiment=mine,smoke", *tiny)
    assert trained.returncode == 0, trained.stderr
    assert "rl-suite evaluate runs/mine-smoke/0" in trained.stdout
    assert (work / "runs" / "mine-smoke" / "0" / "report.html").is_file()
    assert "experiment=darkroom" in call("train", "--help").stdout
    done = subprocess.run(
        [str(home / "bin" / "python"), "-c", "import envs, rl_suite; print(rl_suite.__file__)"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(site)), done.stderr
