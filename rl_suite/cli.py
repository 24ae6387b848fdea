"""What the two commands share: parsing, set-up of the process, and errors a user can read."""

import argparse
import errno
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.experiments import describe_experiments
from rl_suite.loading import CONTROL
from rl_suite.progress import be_quiet, be_verbose
from rl_suite.shipped import shipped_file
from rl_suite.waiting import notice_compilation

WIDTH_OF_FILES = 110  # characters, for tables that go into a file or a pipe
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)
LONGEST_LINE = 2000  # characters of one error; the rest is cut
CONSOLE = "rl-suite"
LEARN_MORE = """\
first steps:
  python train.py experiment=darkroom,smoke           any experiment, in seconds
  python train.py experiment=darkroom                 about a minute
  python train.py experiment=darkroom ppo.gamma=0.9   any number of config.yaml

results: runs/<experiment>/<seed>/report.html; the last line of a run names it
documentation: make docs builds it as a site; as text it begins in docs/tutorials"""
DEFAULT_CONFIG = shipped_file("config.yaml")


def make_parser(description: str, program: str) -> argparse.ArgumentParser:
    """A parser with ``--config`` and ``key=value`` words; the description speaks of the command as it was called."""
    called = command_line(f"{program}.py")
    parser = argparse.ArgumentParser(
        prog=called.removeprefix("python "),
        description=description.replace(f"python {program}.py", called),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="results and errors only, no progress")
    loud.add_argument("-v", "--verbose", action="store_true", help="more progress, and what is logged")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default: config.yaml")
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help="settings, such as experiment=NAME,smoke seed=3 ppo.gamma=0.9"
    )
    return parser


def choose_loudness(arguments: argparse.Namespace) -> None:
    """Do what ``-q`` or ``-v`` ask for, from now on."""
    if arguments.quiet:
        be_quiet()
    if arguments.verbose:
        be_verbose()


def experiments_table(config: Path) -> str:
    """The experiments of a configuration file, one line each, for ``--help``."""
    rows = describe_experiments(config)
    width = max(len(name) for name, _ in rows)
    listed = "\n".join(_within(f"  {name:<{width}}  ", about) for name, about in rows)
    return f"experiments:\n{listed}\n\n{LEARN_MORE.replace('python train.py', command_line('train.py'))}"


def _within(label: str, about: str) -> str:
    """A label and lines of text beside it that fit the terminal."""
    columns = max(shutil.get_terminal_size().columns, len(label) + 30)
    return textwrap.fill(
        about, columns, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False
    )


def prepare_process(config: ExperimentConfig) -> None:
    """Set torch's threads, check the device, and let kernels say that they are compiled.

    Raises:
        UserError: ``device=cuda`` on a machine without a usable one.
    """
    import torch

    notice_compilation()
    torch.set_num_threads(config.torch_threads)
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch finds no CUDA device: use device=cpu or device=auto")


def run_command(main: Callable[[], None]) -> None:
    """Run ``main``; what the user can mend becomes plain lines on standard error and exit code 2."""
    code = exit_code(main)
    if code:
        sys.exit(code)


def exit_code(main: Callable[[], int | None]) -> int:
    """Run ``main``; its exit code (None is 0), or 2 after plain lines that say what the user can mend."""
    try:
        return main() or 0
    except UserError as error:
        return _complain(str(error))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):  # torch has no class for it
            raise
        return _complain(f"out of memory: {str(error).partition(chr(10))[0]}; choose smaller sizes")
    except BrokenPipeError:  # the reader of a pipe, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in DISK:
            raise
        return _complain(f"{error.filename or 'the disk'}: cannot be written: {error.strerror}; free the disk")


def command_line(program: str, *words: object) -> str:
    """A command that can be pasted into a shell, whatever stands in its words.

    Where the user has called the installed command, it is that one's: ``rl-suite evaluate`` for ``evaluate.py``.

    >>> command_line("evaluate.py", Path("my runs/darkroom/0"))
    "python evaluate.py 'my runs/darkroom/0'"
    """
    if Path(program).stem == CONSOLE:
        return shlex.join([CONSOLE, *map(str, words)])
    if is_console():
        return shlex.join([CONSOLE, Path(program).stem, *map(str, words)])
    return shlex.join(["python", program, *map(str, words)])


def module_command(module: str) -> str:
    """How to call a command that is a module, such as ``rl_suite.report``: ``python -m rl_suite.report``."""
    return f"{CONSOLE} {module.rpartition('.')[2]}" if is_console() else f"python -m {module}"


def is_console() -> bool:
    """Whether this process is the installed command ``rl-suite``."""
    return Path(sys.argv[0]).stem == CONSOLE


def _complain(message: str) -> int:
    sys.stderr.write("".join(f"error: {printable(line[:LONGEST_LINE])}\n" for line in message.split("\n")))
    return 2


class PlainConsole(Console):
    """A console on which text from files cannot colour, hide or command anything: no markup, no control characters."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """Plain text; ``[red]`` is shown as it is written."""
        return super().render_str(printable(text), **{**settings, "markup": False, "emoji": False})


def printable(text: str) -> str:
    """The text without the control characters that a terminal would obey."""
    return CONTROL.sub("?", text)


def show(table: Table | str) -> None:
    """Print a result to standard output; names in it are shown as they are, never read as markup."""
    console = PlainConsole()
    if not console.is_terminal:
        console = PlainConsole(width=WIDTH_OF_FILES)
    console.print(table, highlight=False, soft_wrap=isinstance(table, str))
