"""``from rl_suite.symbolic.judge import judge``: whether a law is the true one."""

from rl_suite.symbolic.laws.judge import judge

__all__ = ["judge"]
