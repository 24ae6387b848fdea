"""Symbolic regression: expressions as token programs, evaluated, fitted and searched in batches."""
