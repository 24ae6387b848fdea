"""``from agents.acting import InContextAgent``: the name of ``agents.in_context.agent`` that users type."""

from agents.in_context.agent import InContextAgent

__all__ = ["InContextAgent"]
