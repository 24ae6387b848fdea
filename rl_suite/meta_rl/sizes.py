"""How little of meta-reinforcement learning shows whether all of it can be run."""

from rl_suite.memory import require_memory
from rl_suite.meta_rl.config import MetaRLConfig
from rl_suite.rehearsal import changed

EPISODE_BYTES = 64  # of one step's observation, action, reward and value, at least
LAWS, SECONDS = 16, 0.2  # of rehearsed pre-training


def shrink(config: MetaRLConfig) -> MetaRLConfig:
    """The same experiment on tiny sizes: one outer step of two tasks, and all rows of the evaluation.

    Raises:
        UserError: the real one needs more memory than there is.
    """
    section = config.meta_rl
    maml, loop = section.maml, section.loop
    episodes = maml.support_episodes * max(1, maml.adaptation_steps) + maml.query_episodes
    played = maml.tasks_per_batch * episodes
    require_memory(EPISODE_BYTES * played, f"meta_rl.maml: the {played} episodes of one outer step")
    judged = max(loop.test_tasks, loop.validation_tasks) * loop.test_episodes
    require_memory(EPISODE_BYTES * judged, f"meta_rl.loop: the {judged} episodes of one look")
    tiny = {
        "pretraining.laws": min(section.pretraining.laws, LAWS),
        "pretraining.seconds": min(section.pretraining.seconds, SECONDS),
        "maml.tasks_per_batch": min(maml.tasks_per_batch, 2),
        "maml.support_episodes": min(maml.support_episodes, 2),
        "maml.query_episodes": min(maml.query_episodes, 2),
        "maml.adaptation_steps": min(maml.adaptation_steps, 1),
        "maml.attention_save_interval": 1,
        "loop.iterations": 1,
        "loop.log_every": 1,
        "loop.validate_every": 1,
        "loop.checkpoint_every": 1,
        "loop.validation_tasks": min(loop.validation_tasks, 2),
        "loop.test_tasks": min(loop.test_tasks, 2),
        "loop.test_episodes": min(loop.test_episodes, 2),
        "loop.test_steps": tuple(sorted({min(steps, 1) for steps in loop.test_steps})),
    }
    return changed(config, {f"meta_rl.{key}": value for key, value in tiny.items()})
