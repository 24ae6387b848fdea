"""Searching PPO's numbers for a world: ``python train.py experiment=NAME,tune``."""
