"""What every process but the first does while several train one meta-learner."""

from rl_suite.data_parallel import Team
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.experiment import build_session, restore, shared_module
from rl_suite.run import Run
from rl_suite.seeding import seed_everything


def follow(config: MetaLearningConfig, team: Team) -> None:
    """Take every outer step that process 0 takes, with this process's share of the tasks.

    The optimizer's state is read from the run folder, where process 0 has left it.
    """
    seed_everything(config.seed)
    session = build_session(config)
    saved = Run.open(Run.place(config)).checkpoints.read_latest()
    if saved is not None:
        restore(session, saved.content, saved.path)
    step = team.follow(shared_module(session))
    while team.is_called():
        session.step(step)
        step += 1
