"""Look at the attention of an in-context agent: ``python -m rl_suite.distillation.look runs/<experiment>/<seed>``.

Plays trials on held-out tasks, reads the last steps of each again and writes pictures, printed statistics and
``attention.json`` to ``figs/attention/`` of the run folder.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.in_context.agent import InContextAgent
from agents.in_context.model import Steps
from rl_suite.checkpoint import write_atomically
from rl_suite.cli import exit_code, module_command, printable
from rl_suite.distillation.attention.probe import query_attention
from rl_suite.distillation.attention.sample import Sample
from rl_suite.distillation.config import DistillationConfig
from rl_suite.distillation.experiment import load_agent, trial_spec
from rl_suite.distillation.look_report import ablation_lines, draw_sample, draw_whole, report_lines
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.experiments import EvaluationRequest
from rl_suite.loading import validate
from rl_suite.progress import ProgressBar
from rl_suite.run import Run

MAX_ROWS = 256  # attention rows that are kept of a long context: memory grows with its length, not with its square


def record(agent: InContextAgent, family: TaskFamily, tasks: NDArray[np.int64], n_steps: int, seed: int) -> Steps:
    """Play one trial on each of ``tasks`` (B,) and return what the agent knew at its first ``n_steps`` steps."""
    n_episodes = -(-n_steps // family.episode_steps)
    env = family.trials(len(tasks), n_episodes, "test")
    seen, _ = env.reset(seed=seed, options={"task": tasks})
    new, state, kept = np.ones(len(tasks), dtype=np.bool_), None, []
    for _ in range(n_steps):
        actions, state = agent.predict(seen, state, new)
        assert state is not None
        memory = state[0]
        first = seen["previous_done"][:, 0].astype(np.bool_) | new
        happened = seen["previous_action"], seen["previous_reward"][:, 0], first
        kept.append((memory.observation, *happened, memory.rewarded, memory.episode))
        new = np.zeros(len(tasks), dtype=np.bool_)
        seen, *_ = env.step(actions)
    columns = [torch.stack([torch.as_tensor(value) for value in column], 1) for column in zip(*kept, strict=True)]
    steps = Steps(*columns)
    if agent.model.layout == "history":
        return steps
    # A transition holds the action taken at its observation, which the next step tells; the last one has none yet.
    nothing = torch.full_like(steps.action[:, :1], agent.model.n_actions)
    action = torch.cat([steps.action[:, 1:], nothing], dim=1)
    reward = torch.cat([steps.reward[:, 1:], torch.zeros_like(steps.reward[:, :1])], dim=1)
    return steps._replace(action=action, reward=reward)


def look(agent: InContextAgent, steps: Steps, tasks: NDArray[np.int64], context: int) -> list[Sample]:
    """Read the last ``context`` steps of every recorded trial again, one after the other, and keep the attention."""
    samples, length = [], steps.action.shape[1]
    context = min(context, length)
    rows = torch.from_numpy(np.unique(np.linspace(0, context - 1, min(context, MAX_ROWS)).round().astype(np.int64)))
    for i, task in enumerate(tasks):
        part = Steps(*(field[i : i + 1, length - context :].to(agent.device) for field in steps))
        weights = query_attention(agent.model, part, rows)[:, 0]
        if not np.isfinite(weights).all():
            raise UserError("the attention holds NaN: the checkpoint is broken; train again")
        samples.append(
            Sample(
                task=int(task),
                observations=part.observation[0].cpu().numpy(),
                rewarded=part.reward[0].cpu().numpy() != 0,
                first=part.first[0].cpu().numpy(),
                weights=weights,
                rows=rows.numpy(),
            )
        )
    return samples


def analyse(config: DistillationConfig, run: Run, options: argparse.Namespace) -> list[str]:
    """Record, draw, and return the lines to print."""
    agent = load_agent(config, EvaluationRequest(run=run))
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    context = options.context or config.distillation.acting.window
    played = options.steps or min(context, config.distillation.trials.episodes * family.episode_steps)
    if played < 2:
        raise UserError("attention needs a context: choose --steps of at least 2")
    tasks = chosen_tasks(family, options.tasks, options.samples)
    samples = look(agent, record(agent, family, tasks, played, options.seed), tasks, context)
    layers = options.layers if options.layers is not None else list(range(len(samples[0].weights)))
    if not set(layers) <= set(range(len(samples[0].weights))):
        raise UserError(f"--layers {layers}: this model has layers 0 to {len(samples[0].weights) - 1}")
    folder = run.path / "figs" / "attention"
    with ProgressBar("pictures", len(samples) * len(layers)) as progress:
        draw_sample(samples, layers, folder, progress.update)
    draw_whole(samples, layers, family.episode_steps, folder)
    lines, statistics = report_lines(samples, layers, options.k or max(1, len(samples[0].observations) // 4))
    if options.ablate:
        ablation, effects = ablation_lines(
            config, agent, trial_spec(config, family, "test", options.ablate, config.evaluation.n_envs)
        )
        lines += ablation
        statistics["ablation"] = effects
    statistics["settings"] = {"context": context, "steps": played, "tasks": tasks.tolist(), "seed": options.seed}
    write_atomically(folder / "attention.json", json.dumps(statistics, indent=1).encode())
    return [*lines, f"pictures and attention.json: {folder}"]


def chosen_tasks(family: TaskFamily, names: Sequence[int] | None, count: int) -> NDArray[np.int64]:
    """The tasks to play: those that were named, or ``count`` of the test split in turn."""
    test = family.tasks("test")
    if names is None:
        return test.take(np.arange(count) % len(test))
    tasks = np.asarray(names, dtype=np.int64)
    if not test.has(tasks).all():
        raise UserError(f"--tasks {list(names)}: not all of them are test tasks of {family.env_id}")
    return tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 where the user has to mend something."""
    parser = argparse.ArgumentParser(prog=module_command("rl_suite.distillation.look"), description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of a distillation experiment")
    parser.add_argument("--samples", type=int, default=5, help="trials to look at (default 5)")
    parser.add_argument("--tasks", type=int, nargs="+", help="look at trials on these test tasks instead")
    parser.add_argument("--layers", type=int, nargs="+", help="layers to draw (default: all)")
    parser.add_argument("--steps", type=int, help="step of the trial at which to look (default: a full context)")
    parser.add_argument("--context", type=int, help="steps that are read again (default: the agent's window)")
    parser.add_argument(
        "--k", type=int, help="tokens to keep, for the choice of the strategy auto (default: a quarter)"
    )
    parser.add_argument("--ablate", type=int, metavar="EPISODES", help="also measure trials with each head silenced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trust-code", action="store_true", help="run the code that the folder names")
    options = parser.parse_args(arguments)
    if options.samples < 1 or (options.k is not None and options.k < 1):
        parser.error("--samples and --k must be at least 1")
    return exit_code(lambda: _print_analysis(options))


def _print_analysis(options: argparse.Namespace) -> None:
    run = Run.open(options.run)
    settings = {**run.settings_to_use(options.trust_code), "runs_dir": str(run.path.parent.parent)}
    if settings.get("kind") != "distillation":
        raise UserError(
            f"{run.path}: not a distillation run; train one: python train.py experiment=darkroom_distillation"
        )
    config = validate(DistillationConfig, settings, {}, (), str(run.config_path))
    assert isinstance(config, DistillationConfig)  # validate returns the model that it was given
    torch.set_num_threads(config.torch_threads)
    try:
        lines = analyse(config, run, options)
    except ValueError as error:
        raise UserError(str(error)) from None
    sys.stdout.write(printable("\n".join(lines)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
