"""rl-suite: every command of the suite, from any folder.

rl-suite COMMAND --help says more about each.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rl_suite import __version__
from rl_suite.cli import exit_code, show
from rl_suite.experiments import load_attribute
from rl_suite.loading import require_known


class Command(NamedTuple):
    """A command and where it lives, so that nothing is imported before it is needed."""

    main: str
    """``"module:function"``, called with the remaining words; returns the exit code or None."""
    about: str


COMMANDS = {
    "train": Command("rl_suite.commands.train:main", "train an experiment; the same command resumes it"),
    "evaluate": Command("rl_suite.commands.evaluate:main", "measure a run, a checkpoint or a baseline"),
    "sweep": Command("rl_suite.commands.sweep:main", "train many experiments with many seeds, several at once"),
    "report": Command("rl_suite.report.__main__:main", "write the report of a run anew, or compare several"),
    "watch": Command("rl_suite.watch:main", "film the trained agent"),
    "export": Command("rl_suite.export.__main__:main", "make a folder of a run for a model hub, or for others"),
    "look": Command("rl_suite.distillation.look:main", "what an in-context agent attends to"),
    "doctor": Command("rl_suite.distillation.doctor:main", "examine learning histories before they are distilled"),
    "benchmarks": Command("rl_suite.benchmarks.__main__:main", "measure the suite beside its peers"),
    "completion": Command("rl_suite.commands.completion:main", "a script that lets a shell complete these words"),
}


def main() -> int:
    """Run the command that the first word names; 2 if there is none."""
    return exit_code(lambda: _dispatch(sys.argv[1:]))


def _dispatch(words: Sequence[str]) -> int | None:
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {command.about}" for name, command in COMMANDS.items()]
        show("\n".join([str(__doc__).strip(), "", "commands:", *lines]))
        return 0
    if words[0] == "--version":
        show(__version__)
        return 0
    require_known(words[0], COMMANDS, "command")
    run: Callable[[Sequence[str]], int | None] = load_attribute(COMMANDS[words[0]].main)
    return run(words[1:])
