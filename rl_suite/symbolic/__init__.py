"""Finding laws in data: search, judge, and a scikit-learn face.

``from rl_suite.symbolic import SymbolicRegressor`` needs nothing else.
"""
