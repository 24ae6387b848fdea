"""A trained agent for people who do not have this suite: a folder that can be put on a model hub as it is."""

from rl_suite.export.acting import ActingPolicy, acting_policy
from rl_suite.export.folder import export_run

__all__ = ["ActingPolicy", "acting_policy", "export_run"]
