"""What a policy with pre-trained models, or with values per component of the reward, brings with it to be watched."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.protocol import Agent
from rl_suite.errors import UserError
from rl_suite.evaluation.adapters import NormalisingAgent
from rl_suite.sb3.config import SB3Config

if TYPE_CHECKING:
    from rl_suite.recording import Look


def model_names(model: BaseAlgorithm) -> list[str]:
    """Pre-trained models inside a policy, by the weights that they have, such as ``resnet18_random``."""
    if not _may_have_models(model.policy):
        return []
    from rl_suite.sb3.ptm_callback import multi_ptm_of

    extractor = multi_ptm_of(model.policy)
    return [] if extractor is None else list(extractor.names)


def look_of(agent: Agent) -> "Look | None":
    """How much each pre-trained model of a trained agent counts; None without models or without attention."""
    model: Any = agent.agent if isinstance(agent, NormalisingAgent) else agent
    normalise = agent.normalise if isinstance(agent, NormalisingAgent) else None
    if not isinstance(model, BaseAlgorithm) or not model_names(model):
        return None
    from rl_suite.recording import Look
    from rl_suite.sb3.ptm_callback import attention_of

    def weights(observation: Any) -> NDArray[np.float64]:
        found = attention_of(model.policy, observation if normalise is None else normalise(observation))
        return np.zeros((0, 0)) if found is None else found

    return Look(model_names(model), weights)


def _may_have_models(policy: Any) -> bool:
    """Whether it is worth while to import what stock policies have no use for."""
    return hasattr(policy, "multi_ptm") or any(hasattr(module, "ptms") for module in policy.modules())


def watchers(config: SB3Config, model: BaseAlgorithm) -> list[BaseCallback]:
    """What should look on while ``model`` learns; pictures are taken as often as it is evaluated.

    Raises:
        UserError: the policy has values per component that the world is not asked to report.
    """
    policy: Any = model.policy
    found: list[BaseCallback] = []
    if not _may_have_models(policy):
        return found
    from rl_suite.sb3.component_values import ComponentValueCallback
    from rl_suite.sb3.ptm_callback import AttentionCallback, multi_ptm_of

    if multi_ptm_of(policy) is not None:
        found.append(AttentionCallback(images_every=config.train.evaluate_every))
    components = policy.critic.components if hasattr(policy, "multi_ptm") else ()
    if len(components) > 1:
        missing = [name for name in components if name not in config.env.info_keys]
        if missing:
            raise UserError(f"policy.kwargs.reward_components: add {', '.join(missing)} to env.info_keys")
        found.append(ComponentValueCallback())
    return found
