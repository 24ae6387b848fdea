"""Finding laws in data: a search of programs in frames, a judge, and a scikit-learn face.

``from rl_suite.symbolic import SymbolicRegressor`` (or ``SymbolicODE``) needs nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl_suite.symbolic.dynamics.estimator import SymbolicODE
    from rl_suite.symbolic.regressor import SymbolicRegressor

__all__ = ["SymbolicODE", "SymbolicRegressor"]


def __getattr__(name: str) -> Any:
    """Import an estimator, and with it scikit-learn, only when it is asked for."""
    if name == "SymbolicRegressor":
        from rl_suite.symbolic.regressor import SymbolicRegressor

        return SymbolicRegressor
    if name == "SymbolicODE":
        from rl_suite.symbolic.dynamics.estimator import SymbolicODE

        return SymbolicODE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
