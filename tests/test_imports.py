"""What is slow to import is imported where it is used, and not before."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# seconds each; whoever does not need them does not wait for them
HEAVY = {
    *(
        "torch",
        "torchvision",
        "torch_geometric",
        "stable_baselines3",
        "sb3_contrib",
        "tensorboard",
        "sklearn",
        "optuna",
    ),
    *("matplotlib", "sympy", "scipy", "numba", "networkx", "jinja2", "PIL", "ray"),
}
LEARNING = {"torch", "stable_baselines3", "tensorboard"}  # SB3 imports tensorboard's writer


def heavy_after(*words):
    """The slow packages that ``python WORDS`` has imported when it ends."""
    done = subprocess.run([sys.executable, "-X", "importtime", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    return names & HEAVY


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("envs", set()),
        ("rl_suite.cli", set()),
        ("rl_suite.sb3.config", set()),
        ("rl_suite.sweeps.executor", set()),
        ("agents.actor_critic", LEARNING),
        ("rl_suite.sb3.experiment", LEARNING | {"scipy", "numba", "sb3_contrib"}),
        ("rl_suite.distillation.experiment", LEARNING | {"scipy", "numba"}),
        ("rl_suite.meta_learning.experiment", LEARNING | {"scipy"}),
        ("rl_suite.symbolic.search", {"sympy", "scipy", "numba"}),  # laws are sympy expressions
    ],
)
def test_an_import_brings_no_more_than_it_needs(module, allowed):
    assert heavy_after("-c", f"import {module}") <= allowed


@pytest.mark.parametrize("command", [["train.py"], ["evaluate.py"], ["-m", "rl_suite.commands"]])
def test_help_waits_for_nothing(command):
    assert not heavy_after(*command, "--help")
