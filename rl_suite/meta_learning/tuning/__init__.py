"""Search: architectures, settings and learning rates."""
