"""What a graph policy makes of what it sees, for TensorBoard's projector."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.protocol import Agent, AgentState, Observation
from rl_suite.evaluation.adapters import NormalisingAgent
from rl_suite.evaluation.evaluate import evaluate_agent
from rl_suite.experiments import EvaluationRequest
from rl_suite.run import Run
from rl_suite.sb3.config import SB3Config
from rl_suite.sb3.evaluation import player
from rl_suite.viz.projector import write_projector

EPISODES, MOST = 8, 2000  # played; points


@dataclass
class Noting:
    """An agent that plays as the one inside, and notes its graph token (D,) of every observation."""

    agent: Agent
    policy: Any
    normalise: Any = None
    tokens: list[NDArray[np.float32]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    _clock: NDArray[np.int64] | None = None

    def predict(
        self,
        observation: Observation,
        state: AgentState = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], AgentState]:
        """As ``Agent.predict``."""
        seen = observation if self.normalise is None else self.normalise(observation)
        with torch.no_grad():
            latents = self.policy.latents(self.policy.obs_to_tensor(seen)[0])[0]
        rows = len(latents.tokens.graph)
        clock = np.zeros(rows, dtype=np.int64) if self._clock is None else self._clock + 1
        self._clock = clock if episode_start is None else np.where(episode_start, 0, clock)
        if len(self.tokens) < MOST:
            self.tokens.extend(latents.tokens.graph.float().cpu().numpy())
            self.steps.extend(self._clock.tolist())
            self.nodes.extend(latents.batch.parts.counts.tolist())
        return self.agent.predict(observation, state, episode_start, deterministic)


def project(config: SB3Config, run: Run) -> None:
    """Write the graph encodings of some held-out episodes into the run folder; nothing for other policies."""
    agent, spec = player(config, EvaluationRequest(run=run))
    model: Any = agent.agent if isinstance(agent, NormalisingAgent) else agent
    if not isinstance(model, BaseAlgorithm) or not hasattr(model.policy, "component_values"):
        return
    noting = Noting(agent, model.policy, agent.normalise if isinstance(agent, NormalisingAgent) else None)
    evaluate_agent(noting, replace(spec, n_tasks=EPISODES, episodes_per_task=1, n_envs=EPISODES))
    write_projector(
        run.path, "what the policy sees", np.stack(noting.tokens), {"step": noting.steps, "nodes": noting.nodes}
    )
