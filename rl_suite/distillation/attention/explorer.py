"""One held-out trial of an in-context agent, read again for the page on which its attention can be explored."""

import numpy as np
import torch

from agents.in_context.model import Steps
from rl_suite.distillation.attention.probe import query_attention
from rl_suite.distillation.config import DistillationConfig
from rl_suite.distillation.experiment import load_agent
from rl_suite.distillation.look import chosen_tasks, record
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.experiments import EvaluationRequest
from rl_suite.report.attention import AttentionReplay, chosen_rows, quantised


def explore(config: DistillationConfig, request: EvaluationRequest) -> AttentionReplay:
    """Play a full context on the first held-out task and keep what each layer and head looked at.

    Raises:
        UserError: the run has no checkpoint that fits.
    """
    agent = load_agent(config, request)
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    length = max(2, min(config.distillation.acting.window, config.distillation.trials.episodes * family.episode_steps))
    tasks = chosen_tasks(family, None, 1)
    steps = Steps(*(part.to(agent.device) for part in record(agent, family, tasks, length, config.evaluation.seed)))
    layers, heads = agent.model.transformer.n_layers, agent.model.transformer.n_heads
    rows = chosen_rows(length, layers * heads * length)
    weights = query_attention(agent.model, steps, torch.from_numpy(rows))[:, 0]  # (layers, H, rows, T)
    kept = np.zeros((layers, heads, len(rows), length))
    kept[..., :] = np.where(np.arange(length) <= rows[:, None], weights, 0.0)  # nothing looks ahead
    seen = [" ".join(f"{value:g}" for value in one) for one in steps.observation[0].cpu().numpy().tolist()]
    return AttentionReplay(
        about=f"{config.experiment}, held-out task {int(tasks[0])}",
        seen=[text[:200] for text in seen],
        rewards=[float(value) for value in steps.reward[0].cpu().numpy()],
        first=[bool(value) for value in steps.first[0].cpu().numpy()],
        rows=rows.tolist(),
        layers=layers,
        heads=heads,
        weights=quantised(kept),
    )
