"""Agents that learn in their context: a causal transformer, what it reads and says, and how it acts."""

from agents.in_context.agent import InContextAgent
from agents.in_context.model import InContextModel, Steps, action_loss

__all__ = ["InContextAgent", "InContextModel", "Steps", "action_loss"]
