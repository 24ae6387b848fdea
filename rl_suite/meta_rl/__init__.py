"""Meta-reinforcement learning: a policy that a few episodes and gradient steps fit to a task it never saw.

Names are imported when they are asked for, so that ``import rl_suite.meta_rl`` costs nothing.
"""

import importlib
from typing import Any

HOMES: dict[str, str] = {
    "AttentionAnalyzer": "analysis",
    "EnhancedMAMLTrainer": "trainer",
    "EnhancedMetaLearningConfig": "config",
    "TaskWorlds": "worlds",
}

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
