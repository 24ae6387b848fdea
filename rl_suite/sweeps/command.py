"""``train.py`` with ``seeds=`` or ``executor=``: a sweep, what it prints and how it exits."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rl_suite.cli import command_line, show
from rl_suite.progress import tell
from rl_suite.sweeps.plan import read_plan
from rl_suite.sweeps.sweep import SweepResult, run_plan

FAILED = 1
MOST_SHOWN = 20  # failures on the screen; the table in the report and the folders have the rest


def sweep_command(config: Path, words: Sequence[str], stopped: int) -> int:
    """Run the sweep that the words ask for; the exit code: 0, 1 if runs failed, ``stopped`` if a signal ended it."""
    plan = read_plan(config, words)
    for note in plan.notes:
        show(note)
    result = run_plan(plan)
    if result.groups:
        show(_table(result))
    for folder, error in result.failures[:MOST_SHOWN]:
        tell(f"failed: {folder}: {error.partition(chr(10))[0]}")
    if result.failed > MOST_SHOWN:
        tell(f"and {result.failed - MOST_SHOWN} more")
    report = f"; report: {result.report}" if result.report else ""
    show(f"{result.complete} of {result.total} runs are complete{report}")
    if result.stopped or result.failed:
        show(f"to run what is left: {command_line(*sys.argv)}")
    if result.stopped:
        return stopped
    return FAILED if result.failed else 0


def _table(result: SweepResult) -> Table:
    table = Table(title="over training seeds, with 95 % intervals", title_justify="left")
    for heading in ("experiment", "seeds", "IQM", "mean", "of"):
        table.add_column(heading)
    for one in result.groups:
        table.add_row(one.name, str(len(one.runs)), one.iqm.says(), one.mean.says(), one.measure)
    return table
