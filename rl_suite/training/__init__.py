"""Training loops: one file per kind of experiment, each readable top to bottom."""
