"""Write the report of a run, or compare several.

python -m rl_suite.report runs/durotaxis/0                     report.html in the folder, written anew
python -m rl_suite.report runs/a/0 runs/a/1 runs/b/0           comparison.html: seeds together, experiments side by side
"""

import argparse
from pathlib import Path

from rl_suite.cli import run_command, show
from rl_suite.report.compare import write_comparison
from rl_suite.report.page import write_report
from rl_suite.run import Run


def main() -> None:
    """One folder: its report; several: their comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m rl_suite.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders, such as runs/durotaxis/0")
    parser.add_argument(
        "--out", type=Path, default=Path("comparison.html"), help="file of a comparison (default: %(default)s)"
    )
    arguments = parser.parse_args()
    runs = [Run.open(path) for path in arguments.runs]
    if len(runs) == 1:
        show(f"report: {write_report(runs[0])}")
    else:
        show(f"comparison: {write_comparison(runs, arguments.out)}")


if __name__ == "__main__":
    run_command(main)
