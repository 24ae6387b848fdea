"""What an in-context agent attends to: samples, statistics, pictures. ``python -m`` of this package is ``look``."""
