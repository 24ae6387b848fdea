"""``problem: sinusoid``: a small network that fits a sine curve from a few points in a few gradient steps."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.learners.build import build_gradient_learner
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_mlp
from rl_suite.meta_learning.problems.adaptation_pictures import draw_adaptation, draw_fits
from rl_suite.meta_learning.problems.measures import efficiency_of_samples, speed_of_adaptation
from rl_suite.meta_learning.session import EpisodicSession, Outputs, Problem, squared_error
from rl_suite.meta_learning.tasks import Tasks, shuffled_supports, unstack_tasks

EVALUATION_SEED = 1_000_002  # the same held-out curves for every run
SHOWN_STEPS = (1, 5, 10)  # of the table, beside the number that is asked for
PICTURE_TASKS, PICTURE_STEPS, FITS = 100, 10, 6
HALVINGS = 3  # of the points given, for the sample efficiency


def build(config: MetaLearningConfig) -> EpisodicSession:
    """The session of a configuration; the weights come from torch's global generator."""
    section = config.meta_learning
    sizes = section.sinusoid.shots, section.sinusoid.queries
    learner = build_gradient_learner(section, make_mlp(1, 1))
    untrained = copy.deepcopy(learner)
    test = SinusoidTasks(*sizes, EVALUATION_SEED, "test")
    problem = Problem(
        title=f"{section.learner} on sinusoids of which {sizes[0]} points are given",
        train=SinusoidTasks(*sizes, config.seed),
        validation=SinusoidTasks(*sizes, EVALUATION_SEED, "validation"),
        test=test,
        what="squared error",
        score=squared_error,
        higher_is_better=False,
        controls={**rows_by_steps(learner, SHOWN_STEPS), **gradient_controls(learner, untrained)},
        adapted=steps_row(learner.test_steps),
        settings={"learner": section.learner, "shots": sizes[0], "inner_steps": section.gradient.inner_steps},
        draw=partial(draw, learner, test.batch(0, min(PICTURE_TASKS, section.loop.test_tasks))),
        measures=partial(measures, learner, *sizes, min(PICTURE_TASKS, section.loop.test_tasks)),
    )
    return EpisodicSession(learner, problem, section.loop)


def rows_by_steps(learner: MAML, steps: Sequence[int]) -> dict[str, Outputs]:
    """A row for each number of inner steps but the usual one."""
    return {steps_row(k): partial(learner.outputs, steps=k) for k in steps if k != learner.test_steps}


def steps_row(steps: int) -> str:
    """The name of the row of a learner that has made so many inner steps."""
    return f"after {steps} step{'s' if steps > 1 else ''}"


def gradient_controls(learner: MAML, untrained: MAML) -> dict[str, Outputs]:
    """What adaptation is worth: none, to other targets, and from weights that have not been trained."""
    return {
        "unadapted": partial(learner.outputs, steps=0),
        "adapted to shuffled targets": lambda tasks: learner.outputs(shuffled_supports(tasks)),
        "untrained, adapted": untrained.outputs,
    }


def measures(learner: MAML, shots: int, queries: int, tasks: int) -> dict[str, float]:
    """How fast it adapts, and its error by the number of points given, a half of the usual number by halves."""
    counts = sorted({max(1, shots >> halved) for halved in range(HALVINGS)})
    given = {count: SinusoidTasks(count, queries, EVALUATION_SEED, "test").batch(0, tasks) for count in counts}
    speed = speed_of_adaptation(learner, given[shots], squared_error, False)
    return {**speed, **efficiency_of_samples(learner.outputs, given, squared_error)}


def draw(learner: MAML, tasks: Tasks, folder: Path) -> None:
    """Error against inner steps, and some fits."""
    draw_adaptation(learner, tasks, squared_error, "squared error", folder / "adaptation.png", PICTURE_STEPS)
    draw_fits(learner, unstack_tasks(tasks)[:FITS], folder / "fits.png", (0, 1, PICTURE_STEPS))
