"""Tables of results that fit a terminal of 80 characters without breaking a number."""

from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.table import Table


def narrow_table(title: str, first: str, numbers: Iterable[str], caption: str | None = None) -> Table:
    """An empty table: a column of names, which may be folded, and columns of numbers, which are not.

    Args:
        title: above it.
        first: heading of the names.
        numbers: headings of the numbers.
        caption: below it.
    """
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def stacked(interval: str) -> str:
    """The interval on a line of its own, below the estimate.

    >>> stacked("0.5 [0.4, 0.6]").splitlines()
    ['0.5', '[0.4, 0.6]']
    """
    return interval.replace(" [", "\n[")
