"""Evaluate a run, a checkpoint or a baseline: ``python evaluate.py --help``."""

from rl_suite.cli import run_command
from rl_suite.commands.evaluate import main

if __name__ == "__main__":
    run_command(main)
