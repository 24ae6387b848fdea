"""Train the experiment that config.yaml and the command line describe; the same command resumes it.

python train.py                                        the default experiment
python train.py experiment=bandit_ppo seed=3           another one
python train.py experiment=darkroom,smoke              in seconds
python train.py --config mine.yaml experiment=mine     your own file
"""

import shlex
import sys

from rl_suite.cli import command_line, experiments_table, make_parser, prepare_process, run_command, show
from rl_suite.experiments import KINDS, load_attribute, load_experiment
from rl_suite.report.page import write_report
from rl_suite.run import Run
from rl_suite.watch import keep_for_page


def main() -> None:
    """Parse, train, and say where the results are."""
    parser = make_parser(__doc__)
    if {"-h", "--help"} & set(sys.argv[1:]):
        known, _ = make_parser("").parse_known_args([word for word in sys.argv[1:] if word not in ("-h", "--help")])
        parser.epilog = experiments_table(known.config)
    parser.add_argument(
        "--stopped-exit-code",
        type=int,
        choices=(0, 75),
        default=0,
        help="of a run that a signal has stopped; 75 (EX_TEMPFAIL) tells a batch system to start it again",
    )
    arguments = parser.parse_args()
    config = load_experiment(arguments.config, arguments.words)
    prepare_process(config)
    with Run.start(config) as run, run.stop_on_signals():
        if run.status == "complete":
            write_report(run)  # a kill may have come before it
            again = command_line("evaluate.py", run.path)
            show(f"{run.path} is complete; {again} evaluates it, seed=... trains another")
            return
        load_attribute(KINDS[config.kind].train)(config, run)
        if run.status == "complete":
            keep_for_page(config, run)
    if run.status == "stopped":
        show(f"stopped and saved; to resume: {command_line(*sys.argv)}")
        sys.exit(arguments.stopped_exit_code)
    more = f"{command_line('evaluate.py', run.path)}; tensorboard --logdir {shlex.quote(str(config.runs_dir))}"
    show(f"results: {write_report(run)}  ({more})")


if __name__ == "__main__":
    run_command(main)
