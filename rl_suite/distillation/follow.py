"""What every process but the first does while several train one transformer."""

from rl_suite.data_parallel import Team
from rl_suite.distillation.collect import read_own
from rl_suite.distillation.config import DistillationConfig
from rl_suite.distillation.experiment import build_model, make_optimizer, make_windows, set_learning_rate, update
from rl_suite.distillation.histories import load_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.run import Run


def follow(config: DistillationConfig, team: Team) -> None:
    """Take every step that process 0 takes, with this process's share of each batch.

    Histories and the optimizer's state are read from the run folder, where process 0 has left them.
    """
    settings, source = config.distillation.fit, config.distillation.source
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    folder = Run.place(config)
    if source.folder is not None:
        histories = read_own(source.folder, config.distillation.world.options, family)
    else:
        histories = load_histories(folder / "histories")[0]
    model = build_model(config, family)
    windows, optimizer = make_windows(config, model, histories), make_optimizer(model, settings)
    saved = Run.open(folder).checkpoints.read_latest()
    if saved is not None:
        optimizer.load_state_dict(saved.content["optimizer"])
    step, stop = team.follow(model), False
    while step < settings.steps and not stop:
        set_learning_rate(optimizer, step, settings)
        _, _, stop = update(model, optimizer, windows, step, settings)
        step += 1
