"""Write the report of a run, or compare several.

python -m rl_suite.report runs/durotaxis/0                     report.html in the folder, written anew
python -m rl_suite.report runs/a/0 runs/a/1 runs/b/0           comparison.html: seeds together, experiments side by side
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rl_suite.cli import module_command, run_command, show
from rl_suite.report.compare import write_comparison
from rl_suite.report.page import write_report
from rl_suite.run import Run


def main(arguments: Sequence[str] | None = None) -> None:
    """One folder: its report; several: their comparison."""
    parser = argparse.ArgumentParser(
        prog=module_command("rl_suite.report"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, such as runs/durotaxis/0")
    parser.add_argument(
        "--out", type=Path, default=Path("comparison.html"), help="file of a comparison (default: %(default)s)"
    )
    parsed = parser.parse_args(arguments)
    runs = [Run.open(path) for path in parsed.runs]
    if len(runs) == 1:
        show(f"report: {write_report(runs[0])}")
    else:
        show(f"comparison: {write_comparison(runs, parsed.out)}")


if __name__ == "__main__":
    run_command(main)
