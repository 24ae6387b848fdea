"""Every kind of learner of this package once, on small real data, each beside a baseline."""

from pathlib import Path
from typing import Any


def run_meta_learning_demo(folder: Path | str | None = None, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Run the eight parts, in less than a minute on one core.

    Args:
        folder: where ``meta_learning_demo.html``, ``results.json`` and TensorBoard's files are written; None: nowhere.
        seed: of all parts.

    Returns:
        Part -> ``title``, ``ours`` and ``baseline`` (with what they are), ``passed``, ``metrics``, ``seconds`` of
        processor time.
    """
    from rl_suite.meta_learning.demo.show import run_parts  # torch and the data are imported when they are needed

    return run_parts(None if folder is None else Path(folder), seed)
