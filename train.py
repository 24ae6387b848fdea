"""Train the experiment that config.yaml and the command line describe; the same command resumes it.

python train.py                                        the default experiment
python train.py experiment=bandit_ppo seed=3           another one
python train.py experiment=darkroom,smoke              in seconds
python train.py seed=0,1,2 name=first                  three seeds, in runs/first/
python train.py experiment=a,b seeds=0-9 executor=processes     a sweep: every experiment with every seed, in parallel
python train.py --config mine.yaml experiment=mine     your own file
"""

import sys

from rl_suite.cli import experiments_table, make_parser, run_command, show
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
from rl_suite.naming import beside_others, each_seed
from rl_suite.run import Run
from rl_suite.sweeps.plan import is_sweep


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
    if is_sweep(arguments.words):
        from rl_suite.sweeps.command import sweep_command  # late, so that --help need not wait for it

        sys.exit(sweep_command(arguments.config, arguments.words, arguments.stopped_exit_code))
    each = [(load_experiment(arguments.config, words), words) for words in each_seed(arguments.words)]
    for config, words in each:
        free, said = beside_others(config, words)
        if said is not None:
            show(said)
        if not run_job(free):
            sys.exit(arguments.stopped_exit_code)
    if len(each) > 1:
        show(f"compare the seeds: python -m rl_suite.report {Run.place(free).parent}/*")


if __name__ == "__main__":
    run_command(main)
