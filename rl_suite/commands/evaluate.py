"""Evaluate a run, a checkpoint, an SB3 zip or a baseline on held-out tasks, beside random and oracle.

python evaluate.py runs/darkroom/0                              the best checkpoint of a run
python evaluate.py runs/darkroom/0 evaluation.n_tasks=64        with other settings
python evaluate.py baseline=random experiment=darkroom          no training needed
python evaluate.py checkpoint=model.zip experiment=darkroom     weights only; nothing is unpickled
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rl_suite.cli import choose_loudness, make_parser, prepare_process, show
from rl_suite.errors import UserError
from rl_suite.waiting import waiting


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, evaluate, print the table and where it was written."""
    parser = make_parser(__doc__, "evaluate")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where every episode goes; default: the run's folder")
    parser.add_argument("--trust-pickle", action="store_true", help="load an SB3 zip with PPO.load; it can run code")
    parser.add_argument("--trust-code", action="store_true", help="run the code that the folder names")
    _evaluate(parser.parse_args(arguments))


def _evaluate(arguments: argparse.Namespace) -> None:
    choose_loudness(arguments)
    if arguments.out is not None and arguments.out.is_dir():
        raise UserError(f"--out {arguments.out}: is a folder; name a file")
    with waiting("loading torch"):  # late, as --help need not wait for it
        from rl_suite.evaluation.command import read_request, write_result
        from rl_suite.experiments import KINDS, load_attribute
        from rl_suite.report.page import write_report

    trusted = {"trust_pickle": arguments.trust_pickle, "trust_code": arguments.trust_code}
    config, request = read_request(arguments.config, arguments.words, **trusted)
    prepare_process(config)
    report = load_attribute(KINDS[config.kind].evaluate)(config, request)
    for table in report.tables():
        show(table)
    written = write_result(report, request, arguments.out)
    show(f"every episode: {written}" if written else "nothing was written; --out FILE keeps every episode")
    if request.run is not None and arguments.out is None:
        show(f"report: {write_report(request.run)}")
