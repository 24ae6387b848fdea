"""Files that belong to the suite but to none of its packages: the configuration, the commands, the hyperparameters."""

import site
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
SHARE = Path("share") / "rl_suite"
INSTALLED = [Path(sys.prefix) / SHARE, Path(site.getuserbase()) / SHARE, CHECKOUT / SHARE]
"""Where pip puts them: into the environment, or with ``--user``, or with ``--target``."""


def shipped_file(name: str) -> Path:
    """The file of the checkout, or the installed one where there is no checkout (as ``config.yaml``)."""
    own = CHECKOUT / name
    return own if own.is_file() else next((path / name for path in INSTALLED if (path / name).is_file()), own)
