"""rl_suite teaches, measures and shows: training, evaluation, meta-learning, pictures.

``envs`` and ``agents`` are common names, and other distributions install packages under them. Both
must be the siblings of this package, or every later import would run somebody else's code.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"


def _check_siblings() -> None:
    """Raise an ImportError that names the intruder if ``envs`` or ``agents`` is not ours."""
    home = Path(__file__).resolve().parent.parent
    for name in ("envs", "agents"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or found.parent.parent != home:
            raise ImportError(
                f"the package {name!r} must be {home / name}, but Python finds {found or 'none'}: "
                f"run from {home}, or uninstall the distribution that owns the other one"
            )


try:
    _check_siblings()
except ImportError as intruder:
    if sys.argv[:1] != ["-m"]:  # what argv[0] is while `python -m rl_suite...` looks for its module
        raise
    sys.stderr.write(f"error: {intruder}\n")
    sys.exit(2)
