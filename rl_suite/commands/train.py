"""Train the experiment that config.yaml and the command line describe; the same command resumes it.

python train.py                                        the default experiment
python train.py experiment=bandit_ppo seed=3           another one
python train.py experiment=darkroom,smoke              in seconds
python train.py seed=0,1,2 name=first                  three seeds, in runs/first/
python train.py --config mine.yaml experiment=mine     your own file

sweeps: every experiment with every seed, several at once; the same command does what is left or failed
python train.py experiment=darkroom,bandit_ppo seeds=0-9 executor=processes
python train.py experiment=darkroom,bandit_ppo,smoke seeds=0-2 executor=processes workers=2
python train.py experiment=darkroom seeds=0-99 executor=ray       the cluster of RAY_ADDRESS; else this machine
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_suite.cli import choose_loudness, experiments_table, make_parser, module_command, show
from rl_suite.errors import UserError
from rl_suite.waiting import waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, and say where the results are; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = make_parser(__doc__, "train")
    if {"-h", "--help"} & set(given):
        known, _ = make_parser("", "train").parse_known_args([word for word in given if word not in ("-h", "--help")])
        parser.epilog = experiments_table(known.config)
    parser.add_argument(
        "--stopped-exit-code",
        type=int,
        choices=(0, 75),
        default=0,
        help="of a run that a signal has stopped; 75 (EX_TEMPFAIL) tells a batch system to start it again",
    )
    parsed = parser.parse_args(given)
    choose_loudness(parsed)
    return _train(parsed.config, parsed.words, parsed.stopped_exit_code)


def _train(path: Path, words: Sequence[str], stopped: int) -> int:
    with waiting("loading torch"):  # late, as --help need not wait for it
        from rl_suite.data_parallel import is_started
        from rl_suite.experiments import load_experiment
        from rl_suite.job import run_job
        from rl_suite.naming import beside_others, each_seed
        from rl_suite.run import Run
        from rl_suite.sweeps.plan import is_sweep

    several = is_sweep(words) or len(list(each_seed(words))) > 1
    if several and is_started():
        raise UserError("torchrun trains one run at a time: name one experiment and one seed")
    if is_sweep(words):
        from rl_suite.sweeps.command import sweep_command

        return sweep_command(path, words, stopped)
    each = [(load_experiment(path, some), some) for some in each_seed(words)]
    for config, some in each:
        free, said = beside_others(config, some)
        if said is not None:
            show(said)
        if not run_job(free):
            return stopped
    if len(each) > 1:
        show(f"compare the seeds: {module_command('rl_suite.report')} {Run.place(free).parent}/*")
    return 0
