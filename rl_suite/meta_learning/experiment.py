"""``python train.py experiment=sinusoid_maml``: the outer loop, once for all problems of this kind."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from rl_suite.checkpoint import load_checkpoint
from rl_suite.cli import show
from rl_suite.data_parallel import current
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.evaluation.command import Reportable
from rl_suite.experiments import EvaluationRequest, load_attribute
from rl_suite.finite import bad_tensor
from rl_suite.glimpses import Glimpses, drawn
from rl_suite.loading import require_known
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.session import EpisodicSession, Measured, Session
from rl_suite.meta_learning.sizes import shrink
from rl_suite.progress import ProgressBar
from rl_suite.rehearsal import rehearsed
from rl_suite.run import Run
from rl_suite.seeding import get_random_state, seed_everything, set_random_state

PROBLEMS: dict[str, str] = {
    "few_shot": "rl_suite.meta_learning.problems.few_shot:build",
    "few_shot_gradient": "rl_suite.meta_learning.problems.few_shot_gradient:build",
    "few_shot_taml": "rl_suite.meta_learning.problems.few_shot_taml:build",
    "sinusoid": "rl_suite.meta_learning.problems.sinusoid:build",
    "continual": "rl_suite.meta_learning.problems.continual:build",
    "continual_worlds": "rl_suite.meta_learning.problems.continual_worlds:build",
}
"""Name of a problem -> ``"module:function"``, called as ``build(config: MetaLearningConfig) -> Session``."""
ON_ANY_DEVICE = ("continual_worlds",)
"""Problems that read ``device``; the others are for small networks on the processor."""


def build_session(config: MetaLearningConfig) -> Session:
    """The session that the configuration describes, before its first step.

    Raises:
        UserError: an unknown problem, or a device that this kind does not compute on.
    """
    problem = config.meta_learning.problem
    require_known(problem, PROBLEMS, "problem")
    if config.device == "cuda" and problem not in ON_ANY_DEVICE:
        raise UserError(f"{problem}: this problem is computed on the processor; use device=cpu")
    session: Session = load_attribute(PROBLEMS[problem])(config)
    return session


@rehearsed(shrink)
def train(config: MetaLearningConfig, run: Run) -> None:
    """Train to the last step, from the last checkpoint if there is one; then evaluate the best."""
    seed_everything(config.seed)
    session = build_session(config)
    if not fit(config.meta_learning.loop, session, run):
        run.finish("stopped")
        return
    report = _measure_best(session, None, run)
    report.save(run.path / "evaluation.json")
    if isinstance(session, Measured):
        found = {f"meta/{name}": value for name, value in session.measures().items() if math.isfinite(value)}
        if found:
            run.log(session.total_steps, found)
    session.pictures(run.path)
    for table in report.tables():
        show(table)
    run.finish("complete")


class Cadence(Protocol):
    """How often the outer loop looks up."""

    @property
    def log_every(self) -> int:
        """Steps between log lines."""

    @property
    def validate_every(self) -> int:
        """Steps between looks at validation tasks."""

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""


def fit(loop: Cadence, session: Session, run: Run) -> bool:
    """The outer loop; False if a signal stopped it before the last step."""
    total = session.total_steps
    step, spent, best = resume(run, session)
    began, team = time.process_time() - spent, current()
    glimpses = Glimpses(total, loop.validate_every)
    with ProgressBar("training", total) as progress, team_of(session, step):
        while step < total:
            team.call()
            values = session.step(step)
            step += 1
            require_finite_values(values, step)
            if step % loop.log_every == 0 or step == total:
                run.log(step, {**values, "time/cpu_seconds": time.process_time() - began})
                shown = {tag.removeprefix("train/"): v for tag, v in values.items() if tag.startswith("train/")}
                progress.update(step, **shown)
            if step % loop.validate_every == 0 or step == total:
                found = session.validate()
                require_finite_values(found.values, step)
                run.log(step, found.values)
                if glimpses.due(step):
                    show_drawn(session, run, step)
                if found.score > best:
                    best = found.score
                    run.save_best(_content(session, step, time.process_time() - began, best))
            if step % loop.checkpoint_every == 0 or step == total or run.stop_requested:
                run.save(step, _content(session, step, time.process_time() - began, best))
            if run.stop_requested and step < total:
                return False
    return True


def show_drawn(session: Session, run: Run, step: int) -> None:
    """Hand what the session draws meanwhile to TensorBoard; training goes on as if it had not."""
    before = get_random_state()
    for name, picture in drawn(session.glimpse):
        run.show(step, name, picture)
    set_random_state(before)


@contextmanager
def team_of(session: Session, step: int) -> Iterator[None]:
    """The other processes of torchrun, if there are any, take the steps from ``step`` on together with this one."""
    team = current()
    if team.size > 1:
        team.begin(shared_module(session), step)
    yield
    team.dismiss()


def shared_module(session: Session) -> nn.Module:
    """What the processes of torchrun train together, of a session that ``trained_alone`` says nothing about."""
    assert isinstance(session, EpisodicSession)
    assert isinstance(session.learner, nn.Module)
    return session.learner


def resume(run: Run, session: Session) -> tuple[int, float, float]:
    """Put back the last checkpoint; returns its step, the CPU seconds spent until then, and the best score."""
    saved = run.checkpoints.read_latest()
    if saved is None:
        run.go_on_from(None)
        return 0, 0.0, -math.inf
    content = saved.content
    restore(session, content, saved.path)
    set_random_state(content["random"])
    run.go_on_from(saved)
    return int(content["step"]), float(content["cpu_seconds"]), float(content["best"])


class Restorable(Protocol):
    """What :func:`restore` fills."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back a state; raises KeyError, RuntimeError, ValueError or TypeError if it does not fit."""


def restore(session: Restorable, content: Mapping[str, Any], path: Path) -> None:
    """Put a checkpoint's content into a session, or into a learner alone.

    Raises:
        UserError: it belongs to another learner, or holds weights that are not finite.
    """
    try:
        state = content["session"]
        bad = bad_tensor(state)
        if bad is not None:
            raise UserError(f"{path}: {bad} holds NaN or infinity; train again")
        session.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise UserError(f"{path}: does not fit this problem and learner; choose another runs_dir") from None


def evaluate(config: MetaLearningConfig, request: EvaluationRequest) -> Reportable:
    """The learner of a run on held-out tasks, beside its controls.

    Raises:
        UserError: no checkpoint, or one that does not fit.
    """
    if request.run is None and request.checkpoint is None:
        raise UserError("controls stand beside every learner; name a run folder: python evaluate.py runs/NAME/0")
    seed_everything(config.seed)
    return _measure_best(build_session(config), request.checkpoint, request.run)


def require_finite_values(values: Mapping[str, float], step: int) -> None:
    """Raise a ``NonFiniteError`` that names the step and the first value that is not finite."""
    for tag, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"step {step}: {tag} is {value}; lower the inner or the outer learning rate")


def _measure_best(session: Session, checkpoint: Path | None, run: Run | None) -> Reportable:
    """Evaluate a checkpoint, or the best one of a run.

    The report says at which step it was saved, and what the whole training took.
    """
    if run is not None:
        path, content, _ = run.checkpoints.read_for_evaluation()
        latest = run.checkpoints.read_latest()
    else:
        assert checkpoint is not None  # a request names one of them
        path, content, latest = checkpoint, load_checkpoint(checkpoint), None
    restore(session, content, path)
    whole = content if latest is None else latest.content
    steps = {"checkpoint_of_step": float(content["step"]), "training_steps": float(whole["step"])}
    return session.evaluate({**steps, "training_cpu_seconds": float(whole["cpu_seconds"])})


def _content(session: Session, step: int, spent: float, best: float) -> dict[str, Any]:
    return {
        "session": session.state_dict(),
        "step": step,
        "cpu_seconds": spent,
        "best": best,
        "random": get_random_state(),
    }
