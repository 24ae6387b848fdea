"""What the two commands share: parsing, set-up of the process, and errors a user can read."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import describe_experiments

WIDTH_OF_FILES = 110  # characters, for tables that go into a file or a pipe
DEFAULT_CONFIG = Path(__file__).resolve().parent.parent / "config.yaml"


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with ``--config`` and ``key=value`` words."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: config.yaml")
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help="settings, such as experiment=NAME,smoke seed=3 ppo.gamma=0.9"
    )
    return parser


def experiments_table(config: Path) -> str:
    """The experiments of a configuration file, one line each, for ``--help``."""
    rows = describe_experiments(config)
    width = max(len(name) for name, _ in rows)
    return "experiments:\n" + "\n".join(f"  {name:<{width}}  {about}" for name, about in rows)


def prepare_process(config: ExperimentConfig) -> None:
    """Set torch's threads and check the device.

    Raises:
        UserError: ``device=cuda`` on a machine without a usable one.
    """
    import torch

    torch.set_num_threads(config.torch_threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch finds no CUDA device: use device=cpu or device=auto")


def run_command(main: Callable[[], None]) -> None:
    """Run ``main``; a ``UserError`` becomes plain lines on standard error and exit code 2."""
    try:
        main()
    except UserError as error:
        sys.exit(_complain(str(error)))
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> int:
    sys.stderr.write("".join(f"error: {line}\n" for line in message.splitlines()))
    return 2


def show(table: Table | str) -> None:
    """Print a result to standard output."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_OF_FILES)
    console.print(table, highlight=False, soft_wrap=isinstance(table, str))
