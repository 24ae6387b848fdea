"""``python -m rl_suite.site [FOLDER]``: build the documentation; ``make docs`` installs what it needs."""

import argparse
import shlex
from pathlib import Path

from rl_suite.cli import run_command, show
from rl_suite.site.build import build


def main() -> None:
    """Parse, build, and say where to look."""
    parser = argparse.ArgumentParser(prog="python -m rl_suite.site", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build"), help="where pages/ and site/ go")
    page = build(parser.parse_args().folder)
    show(f"open {page}; to search in it, too: python -m http.server -d {shlex.quote(str(page.parent))}")


if __name__ == "__main__":
    run_command(main)
