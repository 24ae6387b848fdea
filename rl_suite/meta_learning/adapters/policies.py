"""Adapters in the policy of an agent that stable-baselines3 trains."""

from collections.abc import Sequence

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterConfig
from rl_suite.meta_learning.adapters.model import AdapterModel


def adapt_policy(model: OnPolicyAlgorithm, configs: AdapterConfig | Sequence[AdapterConfig]) -> AdapterModel:
    """Freeze the policy of a trained agent, put adapters into it, and let ``model.learn`` train nothing else.

    The policy's optimiser is made anew for what is trained. The adapters belong to the policy (gradients are clipped
    with them, ``model.save`` keeps them) until ``unload()`` of the result.

    Raises:
        UserError: an agent with several networks and optimisers (off-policy), or a policy that has adapters already.
    """
    if not isinstance(model, OnPolicyAlgorithm):
        raise UserError(f"adapters go into PPO, A2C and their kin, not into {type(model).__name__}")
    policy = model.policy
    if hasattr(policy, "adapters"):
        raise UserError("the policy has adapters already; unload() them first")
    adapted = AdapterModel(policy, configs)
    policy.add_module("adapters", adapted.adapters)
    trained, rate = adapted.get_adapter_parameters(), model.lr_schedule(1)
    policy.optimizer = policy.optimizer_class(trained, lr=rate, **policy.optimizer_kwargs)  # type: ignore[call-arg]
    return adapted
