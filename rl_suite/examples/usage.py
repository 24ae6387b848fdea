"""The command line of the examples: ``--help`` says what one does, and mistakes are one line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_suite.errors import UserError


def run(main: Callable[..., Any], doc: str | None, folder: str | None = None) -> None:
    """Call ``main()``, or ``main(folder)`` where ``folder`` names the default of the only argument."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if folder is not None:
        parser.add_argument("folder", nargs="?", type=Path, default=Path(folder), help=f"default: {folder}")
    try:
        main(*vars(parser.parse_args()).values())
    except (UserError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
