"""The commands: ``train.py`` and ``evaluate.py`` of a checkout, and ``rl-suite`` of an installation."""
