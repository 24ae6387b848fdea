"""Copies of rows in kernels.

``a[i:j] = b[k:l]`` there has numba compile the message of an error, numbers written into text, which takes longer than
most kernels do.
"""

from typing import Any

from numpy.typing import NDArray

from envs.kernel_cache import kernel


@kernel(allocates=False)
def copy_row(source: NDArray[Any], target: NDArray[Any], n: int) -> None:
    """The first n numbers of one row into another."""
    for i in range(n):
        target[i] = source[i]
