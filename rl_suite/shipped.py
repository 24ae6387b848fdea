"""Files that belong to the suite but to none of its packages: the configuration, the commands, the hyperparameters."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
INSTALLED = Path(sys.prefix) / "share" / "rl_suite"  # where a wheel puts them


def shipped_file(name: str) -> Path:
    """The file of the checkout, or the installed one where there is no checkout (as ``config.yaml``)."""
    place = CHECKOUT / name
    return place if place.is_file() or not (INSTALLED / name).is_file() else INSTALLED / name
