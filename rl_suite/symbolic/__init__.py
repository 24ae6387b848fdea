"""Finding laws in data: a search of programs in frames, a judge, and a scikit-learn face.

``from rl_suite.symbolic import SymbolicRegressor`` needs nothing else.
"""

from rl_suite.symbolic.regressor import SymbolicRegressor

__all__ = ["SymbolicRegressor"]
