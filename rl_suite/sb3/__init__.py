"""Training by stock stable-baselines3, and the callbacks that any of its models can use.

``from rl_suite.sb3 import AttentionCallback, attention_of`` follows the attention to pre-trained models;
``ComponentValueCallback`` fits the critic's value of every component of the reward; ``load_normalization`` puts
the statistics of a run's ``model.zip`` around an environment.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl_suite.sb3.component_values import ComponentValueCallback
    from rl_suite.sb3.exported import load_normalization
    from rl_suite.sb3.ptm_callback import AttentionCallback, attention_of

__all__ = ["AttentionCallback", "ComponentValueCallback", "attention_of", "load_normalization"]


def __getattr__(name: str) -> Any:
    """Import the callbacks, and with them torch, only when asked: reading a configuration needs neither."""
    if name in ("AttentionCallback", "attention_of"):
        from rl_suite.sb3 import ptm_callback

        return getattr(ptm_callback, name)
    if name == "ComponentValueCallback":
        from rl_suite.sb3.component_values import ComponentValueCallback

        return ComponentValueCallback
    if name == "load_normalization":
        from rl_suite.sb3.exported import load_normalization

        return load_normalization
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
