"""What an experiment of Algorithm Distillation takes: how much memory, and how little shows whether it can be run.

Estimates count what cannot be avoided, so that nothing is refused that fits.
"""

from gymnasium import spaces

from agents.in_context.model import discrete_sizes
from rl_suite.distillation.config import DistillationConfig, ModelSection
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.evaluation.sizes import few_episodes, require_episodes
from rl_suite.memory import require_memory
from rl_suite.rehearsal import changed

FLOAT, INDEX, RAW = 4, 8, 8  # bytes: of a network's numbers, of a window's counts, of what a world shows
HELD = 4  # a trained number, its gradient and two moments of AdamW
SHOWN_EPISODES, KEPT_EPISODES = 3, 2  # of a rehearsal: enough to begin again, and to thin out
STEPS = 2  # of the optimizer: what the first one breaks, the second one tells
TOKENS = 8  # that a rehearsed agent remembers


def shrink(config: DistillationConfig) -> DistillationConfig:
    """The same experiment on tiny sizes.

    Raises:
        UserError: the real one needs more memory than there is, more tasks than exist, or longer histories than it has.
    """
    settings = config.distillation
    source, fit = settings.source, settings.fit
    family = TaskFamily.named(settings.world.id, settings.world.options)
    for split in ("train", "validation", "test"):
        family.make(1, split)
    require_episodes(config.evaluation, family.tasks("test"))
    require_sizes(config, family)
    if source.folder is None and fit.window > kept_steps(config, family):
        raise UserError(
            f"distillation.fit: a window of {fit.window} steps does not fit into histories of "
            f"{kept_steps(config, family)} steps"
        )
    episodes, copies = min(source.episodes, SHOWN_EPISODES), min(source.ppo.streams, 2)
    tiny = {
        "source.processes": 1,
        "source.histories": min(source.histories, 2),
        "source.episodes": episodes,
        "source.keep_every": min(source.keep_every, KEPT_EPISODES),
        "source.ppo.streams": copies,
        "source.ppo.n_steps": 2,
        "source.ppo.batch_size": 2 * copies,
        "source.ppo.n_epochs": 1,
        "fit.steps": STEPS,
        "fit.batch_size": 1,
        "fit.accumulate": 1,
        "fit.warmup": 0,
        "fit.log_every": 1,
        "fit.validate_every": STEPS,
        "fit.checkpoint_every": 1,
        "acting.window": min(settings.acting.window, TOKENS),
        "acting.temperatures": settings.acting.temperatures[:2],
        "acting.temperature_trials": 1,
        "trials.episodes": min(settings.trials.episodes, 2),
        "trials.validation_episodes": 1,
        "trials.validation_trials": 1,
    }
    small = changed(config, {f"distillation.{key}": value for key, value in tiny.items()})
    window = min(fit.window, kept_steps(small, family))
    held_out = {f"evaluation.{key}": value for key, value in few_episodes(config.evaluation).items()}
    return changed(small, {"distillation.fit.window": window, **held_out})


def kept_steps(config: DistillationConfig, family: TaskFamily) -> int:
    """Steps of each history, after thinning out."""
    source = config.distillation.source
    return len(range(0, source.episodes, source.keep_every)) * family.episode_steps


def require_sizes(config: DistillationConfig, family: TaskFamily) -> None:
    """Refuse what there is no memory for: histories, training, or the agents' memories."""
    settings = config.distillation
    if settings.source.folder is None:
        require_memory(history_bytes(config, family), "distillation.source: collecting its histories")
    require_memory(training_bytes(config, family), "distillation.model and fit: one training step")
    copies = max(1, min(config.evaluation.n_envs, config.evaluation.n_tasks * config.evaluation.episodes_per_task))
    acting = 2 * settings.model.n_layers if settings.acting.mode == "ring" else 1
    remembered = FLOAT * copies * settings.acting.window * settings.model.width * acting
    require_memory(remembered, f"distillation.acting.window: what {copies} agents remember")
    episodes = max(settings.trials.episodes, settings.trials.validation_episodes)
    require_memory(RAW * copies * episodes, "distillation.trials: the returns of all episodes")


def history_bytes(config: DistillationConfig, family: TaskFamily) -> int:
    """Most that collecting, reading or cutting windows takes at once."""
    source = config.distillation.source
    seen = width_of(family)
    real = isinstance(family.make(1, "train").observation_space, spaces.Box)
    step = 2 * seen * (FLOAT if real else 1) + 1 + FLOAT + 1 + 2  # both observations, action, reward, first, label
    shard, kept = min(source.shard_size, source.histories), kept_steps(config, family)
    collected = shard * source.episodes * family.episode_steps * (2 * seen * RAW + RAW + FLOAT)
    read = source.histories * kept * step * (2 if source.histories > shard else 1)  # shards are put together
    windows = source.histories * kept * (step + 1 + FLOAT + 1 + INDEX)
    return max(collected, read, windows)


def training_bytes(config: DistillationConfig, family: TaskFamily) -> int:
    """Parameters with all that an optimizer keeps of them, and what one part of a batch leaves for the gradient."""
    model, fit = config.distillation.model, config.distillation.fit
    tokens = fit.batch_size // fit.accumulate * fit.window * (2 if model.layout == "decisions" else 1)
    activations = tokens * model.n_layers * (6 * model.width + 2 * model.feedforward)
    return FLOAT * (HELD * parameters(model, family) + activations)


def parameters(model: ModelSection, family: TaskFamily) -> int:
    """Numbers that are learned: attention and feed-forward matrices, tables and heads."""
    space = family.make(1, "train").observation_space
    sizes = discrete_sizes(space)
    rows = width_of(family) if sizes is None else sum(sizes)
    tables = model.width * (rows + 3 * family.n_actions + model.count_episodes)
    return model.n_layers * model.width * (4 * model.width + 2 * model.feedforward) + tables


def width_of(family: TaskFamily) -> int:
    """Numbers that an observation holds."""
    space = family.make(1, "train").observation_space
    sizes = discrete_sizes(space)
    return spaces.flatdim(space) if sizes is None else len(sizes)
