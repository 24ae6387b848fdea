"""One job: train the run of a configuration, or finish what an earlier start of it has left."""

import shlex
import sys

from rl_suite.cli import command_line, prepare_process, show
from rl_suite.config import ExperimentConfig
from rl_suite.data_parallel import is_started, joined
from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, load_attribute
from rl_suite.reading import is_plain_file
from rl_suite.report.page import write_report
from rl_suite.run import Run
from rl_suite.waiting import waiting
from rl_suite.watch import keep_for_page


def run_job(config: ExperimentConfig) -> bool:
    """Train, evaluate and report; calling it again resumes, or says that all is done.

    Returns:
        Whether it ended; False if a signal stopped it, with its state saved.

    Under torchrun, process 0 does this and the others follow it.

    Raises:
        UserError: the folder is in use, holds another configuration, or something of it cannot be built.
    """
    prepare_process(config)
    kind = KINDS[config.kind]
    if is_started() and config.trained_alone is not None:
        raise UserError(f"{config.trained_alone} is trained in one process: start it without torchrun")
    with joined(config.device) as team:
        if team.rank == 0:
            return _run(config)
        while team.is_called():
            load_attribute(kind.follow or "")(config, team)
    return True


def _run(config: ExperimentConfig) -> bool:
    with Run.start(config) as run, run.stop_on_signals():
        found = run.status
        if found == "complete":
            if not _is_reported(run):  # a kill came before it
                keep_for_page(config, run)
                write_report(run)
            again = command_line("evaluate.py", run.path)
            show(f"{run.path} is complete; {again} evaluates it, seed=... trains another")
            return True
        with waiting("loading what it is made of"):
            train = load_attribute(KINDS[config.kind].train)
        train(config, run)
        if run.status == "complete":
            with waiting("playing an episode for the report"):
                keep_for_page(config, run)
    if run.status == "stopped":
        show(f"stopped and saved; to resume: {command_line(*sys.argv)}")
        return False
    more = f"{command_line('evaluate.py', run.path)}; tensorboard --logdir {shlex.quote(str(config.runs_dir))}"
    with waiting("writing the report"):
        report = write_report(run)
    show(f"results: {report}  ({more})")
    return True


def is_done(run: Run) -> bool:
    """Whether the run is whole: trained, evaluated and reported."""
    return run.status == "complete" and _is_reported(run)


def _is_reported(run: Run) -> bool:
    """Whether the report is not older than the end of the run."""
    report = run.path / "report.html"
    return is_plain_file(report) and report.stat().st_mtime_ns >= run.record_path.stat().st_mtime_ns
