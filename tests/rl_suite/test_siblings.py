"""``envs`` and ``agents`` are common names: a foreign package of that name is refused by name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["envs", "agents"])
def test_a_foreign_package_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import rl_suite"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the package")
    assert str(tmp_path / name) in last


def test_a_command_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    words = [sys.executable, "-m", "rl_suite.benchmarks"]
    home = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=home)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the package 'envs' must be")
    assert done.stderr.count("\n") == 1
