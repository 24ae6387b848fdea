"""Pictures reach the disk whole, and never through a link that waits under their name."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_suite.checkpoint import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: "Figure", path: Path, **settings: Any) -> None:
    """Write a figure in the format that the ending of ``path`` names; ``settings`` are those of ``savefig``.

    Raises:
        UserError: the folder is not writable or the disk is full.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], **settings)
    write_atomically(path, buffer.getvalue())
