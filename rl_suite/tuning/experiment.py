"""``python train.py experiment=NAME,tune``: search PPO's numbers, confirm what was found, and write it as a block."""

import json
import math
from contextlib import closing
from functools import partial
from typing import Any

import yaml

from rl_suite.checkpoint import write_atomically
from rl_suite.cli import command_line, show
from rl_suite.errors import UserError
from rl_suite.experiments import EvaluationRequest
from rl_suite.meta_learning.metrics import TaskReport, TaskScores
from rl_suite.meta_learning.tuning.bayesian import BayesianOptimizer
from rl_suite.meta_learning.tuning.pictures import draw_search
from rl_suite.meta_learning.tuning.ranges import Params
from rl_suite.progress import ProgressBar
from rl_suite.reading import is_plain_file, parse_json, read_text
from rl_suite.rehearsal import changed, rehearsed
from rl_suite.run import Run
from rl_suite.sb3.sizes import STEPS
from rl_suite.sb3.sizes import shrink as shrink_sb3
from rl_suite.sweeps.contract import InterruptedJobError, JobError
from rl_suite.sweeps.executor import run_jobs
from rl_suite.tuning.config import TuningConfig
from rl_suite.tuning.trial import held_out_return, own_settings, trial, with_settings

SEARCH = "search.log"  # every trial, as optuna's journal
CONFIRMED = "confirmed.json"
FOUND = "found.yaml"
OWN, BETTER = "own settings", "settings found"


def shrink(config: TuningConfig) -> TuningConfig:
    """The same search with one tiny trial, confirmed by tiny runs."""
    tiny = {"trials": 1, "initial": 1, "total_timesteps": STEPS, "looks": 1, "confirm_seeds": 2}
    small = changed(shrink_sb3(config), {f"tuning.{name}": value for name, value in tiny.items()})
    assert isinstance(small, TuningConfig)
    return small


@rehearsed(shrink)
def train(config: TuningConfig, run: Run) -> None:
    """Search, from the last trial if there were some; then compare with the experiment's own settings."""
    try:
        search = look_for(config, run)
        best, score = search.best()
        draw_search(search, run.path / "search.png")
        write_atomically(run.path / FOUND, block_of(config, best, score).encode())
        confirm(config, run, best)
    except (KeyboardInterrupt, InterruptedJobError):
        run.finish("stopped")
        return
    report = report_of(config, run)
    report.save(run.path / "evaluation.json")
    means = {f"eval/{name.replace(' ', '_')}": scores.interval.estimate for name, scores in report.scores.items()}
    run.log(config.tuning.trials + 1, means)  # after the last trial, so that who resumes there writes them once
    for table in report.tables():
        show(table)
    name = f"{config.experiment.partition(',')[0]}_tuned"
    show(
        f"the block: {run.path / FOUND}; {command_line('train.py', '--config', run.path / FOUND, f'experiment={name}')}"
    )
    run.finish("complete")


def look_for(config: TuningConfig, run: Run) -> BayesianOptimizer:
    """Try ``tuning.trials`` settings, the experiment's own first."""
    settings = config.tuning
    space = {name: section.plain() for name, section in settings.space.items()}
    search = BayesianOptimizer(
        space, n_initial_points=settings.initial, random_state=config.seed, storage=run.path / SEARCH
    )
    if not len(search):
        search.propose(own_settings(config))
    done = 0
    run.rewind(done)  # a kill may have come between a trial and its line in the log
    objective, executor, workers = partial(trial, config=config, **heeding(config, run)), *placed(config)
    with ProgressBar("trials", settings.trials) as progress:
        done = log_trials(search, run, done, progress)
        while done < settings.trials:
            if run.stop_requested:
                raise InterruptedJobError
            size = min(settings.batch, settings.trials - done)
            search.evaluate_batch(objective, size, executor, workers)
            done = log_trials(search, run, done, progress)
    return search


def log_trials(search: BayesianOptimizer, run: Run, before: int, progress: ProgressBar) -> int:
    """Log the trials beyond the first so many; the number of all that have ended."""
    history = search.get_optimization_history()
    for number, item in enumerate(history[before:], before + 1):
        values = {"search/score": item["score"], "search/best": item["best_score"]}
        values["search/ended_early"] = sum(each["stopped"] for each in history[:number])
        run.log(number, {name: value for name, value in values.items() if math.isfinite(value)})
        progress.update(number, best=item["best_score"])
    return len(history)


def placed(config: TuningConfig) -> tuple[str, int | None]:
    """Executor and workers."""
    workers = config.tuning.workers
    return ("serial", None) if workers == 1 else ("processes", workers)


def heeding(config: TuningConfig, run: Run) -> dict[str, Any]:
    """What lets a job of this process stop in the middle; other processes are ended as they are."""
    return {"stop": lambda: run.stop_requested} if config.tuning.workers == 1 else {}


def confirm(config: TuningConfig, run: Run, best: Params) -> None:
    """Whole trainings from scratch with seeds of their own, of both settings; a resumed run keeps those it has."""
    settings = config.tuning
    kept = read_confirmed(run)
    seeds = range(settings.first_confirm_seed, settings.first_confirm_seed + settings.confirm_seeds)
    same = with_settings(config.base(), best).ppo == config.ppo
    cases = [(name, seed) for seed in seeds for name in (OWN, BETTER) if str(seed) not in kept[name]]
    cases = [case for case in cases if case[0] == OWN or not same]
    items = [(best if name == BETTER else {}, seed) for name, seed in cases]
    job = partial(held_out_return, config=config, **heeding(config, run))
    with ProgressBar("confirming", len(items)) as progress, closing(run_jobs(job, items, *placed(config))) as outcomes:
        for done, outcome in enumerate(outcomes, 1):
            if outcome.error is not None:
                raise JobError(f"{outcome.error}\n{outcome.trace}")
            name, seed = cases[outcome.index]
            assert outcome.value is not None
            kept[name][str(seed)] = outcome.value
            write_atomically(run.path / CONFIRMED, (json.dumps(kept, sort_keys=True) + "\n").encode())
            progress.update(done)
    if same:  # the search found what the experiment had
        kept[BETTER] = dict(kept[OWN])
        write_atomically(run.path / CONFIRMED, (json.dumps(kept, sort_keys=True) + "\n").encode())


def read_confirmed(run: Run) -> dict[str, dict[str, float]]:
    """Test returns by settings and seed, as far as they are known."""
    path = run.path / CONFIRMED
    found = parse_json(read_text(path)) if is_plain_file(path) else {OWN: {}, BETTER: {}}
    if not isinstance(found, dict) or set(found) != {OWN, BETTER}:
        raise UserError(f"{path}: no returns of confirming runs; delete it to run them again")
    for values in found.values():
        if not isinstance(values, dict) or not all(
            key.isdecimal() and key.isascii() and len(key) < 20 and type(value) is float
            for key, value in values.items()
        ):
            raise UserError(f"{path}: no returns of confirming runs; delete it to run them again")
    return found


def report_of(config: TuningConfig, run: Run) -> TaskReport:
    """The settings found beside the experiment's own."""
    kept = read_confirmed(run)
    if not kept[OWN] or set(kept[OWN]) != set(kept[BETTER]):
        raise UserError(f"{run.path}: the search has not been confirmed yet; train on with the same command")
    seeds = sorted(kept[OWN], key=int)
    scores = {name: TaskScores.of([values[seed] for seed in seeds]) for name, values in kept.items()}
    notes = (
        f"mean return on test tasks after {config.train.total_timesteps} steps, one value per training seed;"
        " none of these seeds was used in the search",
    )
    plain = config.model_dump(mode="json", include={"env", "tuning"})
    return TaskReport(f"{config.experiment}: what the search is worth", "return", plain, scores, notes)


def evaluate(config: TuningConfig, request: EvaluationRequest) -> TaskReport:
    """What a finished search is worth; the trainings behind it are not repeated.

    Raises:
        UserError: no run folder, or a search that was not confirmed.
    """
    if request.run is None:
        raise UserError("a search is evaluated by its run folder: python evaluate.py runs/NAME/0")
    return report_of(config, request.run)


def block_of(config: TuningConfig, best: Params, score: float) -> str:
    """A configuration file with the experiment as ``defaults`` and what was found as a block."""
    base = config.base()
    first = config.experiment.partition(",")[0]
    found = with_settings(base, best).ppo.model_dump(mode="json")
    own = base.ppo.model_dump(mode="json")
    name = f"{first}_tuned"
    defaults: dict[str, Any] = base.model_dump(mode="json", exclude={"about", "name"})
    block = {
        "about": f"{first} with the numbers of PPO that a search of {config.tuning.trials} trials found",
        "ppo": {key: value for key, value in found.items() if value != own[key] or key in best},
    }
    head = (
        f"# Found by experiment={config.experiment} seed={config.seed}; best trial: {score:.6g} on validation tasks.\n"
        f"# Use it as it is, or paste the block {name} into config.yaml and say experiment={first},{name}.\n"
    )
    content = {"defaults": {**defaults, "experiment": name}, "experiments": {name: block}}
    return head + yaml.safe_dump(content, sort_keys=False)
