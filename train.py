"""Train an experiment of config.yaml: ``python train.py --help``."""

from rl_suite.cli import run_command
from rl_suite.commands.train import main

if __name__ == "__main__":
    run_command(main)
