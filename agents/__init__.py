"""Agents: networks, SB3 policies, anything with ``predict()``. They read spaces and never import a world."""
