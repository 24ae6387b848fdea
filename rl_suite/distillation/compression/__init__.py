"""Contexts made shorter: which steps to keep or merge, and what that costs."""

from rl_suite.distillation.compression.strategies import MemoryCompressor, compress_history

__all__ = ["MemoryCompressor", "compress_history"]
