"""Teach a small transformer to explore bandits, look where it looks, and compress what it remembers.

python -m rl_suite.examples.in_context_bandit
"""

import numpy as np
import torch
from rich.console import Console

from agents.in_context.agent import InContextAgent
from agents.in_context.model import InContextModel, action_loss
from agents.tabular import ThompsonSampling
from rl_suite.distillation.compression.strategies import compress_history
from rl_suite.distillation.dataset import Windows
from rl_suite.distillation.sources.rollout import roll_out
from rl_suite.distillation.sources.sources import TabularSource
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.examples.usage import run

PULLS, HISTORIES, STEPS, BATCH, TRIALS = 60, 1024, 150, 16, 256
BANDITS = {"arms": 3}


def main() -> None:
    """Collect, learn, act, compress."""
    console, rng = Console(highlight=False), np.random.default_rng(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more only wait for each other in networks this small
    family = TaskFamily.named("rl_suite/BernoulliBandit-v0", BANDITS)

    # 1. Learning histories of Thompson sampling; the label is how often it would pull each arm.
    world = family.make(HISTORIES, "train")
    source = TabularSource(ThompsonSampling(world.observation_space, world.action_space), HISTORIES, soft_draws=8)
    histories = roll_out(world, source, family.tasks("train").choose(rng, HISTORIES), 1, PULLS, rng)

    # 2. Predict its next action from all that came before, in windows whose arms are renamed.
    model = InContextModel(
        world.observation_space, world.action_space, width=32, n_layers=2, feedforward=64, positions="none"
    )
    windows = Windows(histories, BANDITS["arms"], PULLS, 1.0, permute_actions=True, layout="history", seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(STEPS):
        steps, labels = windows.batch(step, BATCH)
        loss, _ = action_loss(model(steps)[0], labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    # 3. It explores bandits it has never seen, without a change of weights.
    env = family.trials(TRIALS, 1, "test")
    for name, agent in (("untrained", fresh(world)), ("trained", InContextAgent(model, PULLS, temperature=0.7))):
        seen, info = env.reset(seed=1)
        state, regret = None, np.zeros(PULLS)
        for t in range(PULLS):
            actions, state = agent.predict(seen, state)  # type: ignore[arg-type]
            seen, _, _, _, info = env.step(actions)
            regret[t] = info["regret"].mean()
        console.print(
            f"{name:9s} regret per pull: first ten {regret[:10].mean():.3f}, last ten {regret[-10:].mean():.3f}"
        )

    # 4. Where does the last pull look, and what may be forgotten?
    one, _ = windows.batch(STEPS, 1)
    _, attention = model(one, capture="last")
    row = torch.stack(attention).mean((0, 1, 2)).squeeze().detach()  # (pulls,)
    history = torch.arange(PULLS), one.action[0], one.reward[0], torch.arange(PULLS)
    for strategy in ("recent", "top_attention", "uniform", "auto"):
        kept = compress_history(*history, row, k=8, strategy=strategy)[0].tolist()
        share = float(row[kept].sum() / row.sum())
        console.print(f"{strategy:13s} keeps {share:4.0%} of the attention: pulls {kept}")


def fresh(world: object) -> InContextAgent:
    """An agent that has learned nothing."""
    spaces = world.observation_space, world.action_space  # type: ignore[attr-defined]
    return InContextAgent(InContextModel(*spaces, width=32, n_layers=2, feedforward=64, positions="none"), PULLS)


if __name__ == "__main__":
    run(main, __doc__)
