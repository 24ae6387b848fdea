"""Symbolic regression: expressions as token programs, evaluated, fitted and searched in batches."""

from envs.symbolic.laws import PhysicsTask, PhysicsTaskDistribution

__all__ = ["PhysicsTask", "PhysicsTaskDistribution"]
