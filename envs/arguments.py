"""What callers hand to an environment, checked where it enters: keywords, limits, options of reset, actions."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray


def hint(name: object, known: Sequence[str]) -> str:
    """The nearest known name, or all of them."""
    near = get_close_matches(str(name), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def require_keywords(owner: str, given: Iterable[str], known: Sequence[str], near: Sequence[str] = ()) -> None:
    """Refuse keyword arguments that ``owner`` does not know, in Python's own words; ``TypeError``.

    ``near`` are other names that may have been meant, since they are known elsewhere.
    """
    for name in given:
        if name not in known:
            raise TypeError(
                f"{owner}() got an unexpected keyword argument {str(name)[:200]!r}; {hint(name, (*known, *near))}"
            )


def reset_options(owner: str, given: Any, known: Sequence[str]) -> dict[str, Any]:
    """The options of ``reset`` as a dictionary; ``ValueError`` for any that ``owner`` does not know."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ValueError(f"the options of reset must be a mapping, not {type(given).__name__}")
    for name in given:
        if name not in known:
            raise ValueError(f"reset has no option {str(name)[:200]!r} in {owner}; {hint(name, known)}")
    return dict(given)


def whole(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    """A whole number in ``least`` .. ``most`` as an ``int``; ``ValueError`` with its name for anything else.

    >>> whole("arms", np.int64(3), 2)
    3
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, not {str(value)[:40]}")
    return int(value)


def step_limit(max_episode_steps: Any) -> int | None:
    """Steps until truncation; None and -1 (as in ``gymnasium.make``) mean no limit."""
    if max_episode_steps is None or (type(max_episode_steps) is int and max_episode_steps == -1):
        return None
    whole = isinstance(max_episode_steps, int | np.integer) and not isinstance(max_episode_steps, bool)
    if not whole or not 1 <= max_episode_steps < 2**62:
        raise ValueError(f"max_episode_steps must be a whole number above 0, or -1, not {str(max_episode_steps)[:40]}")
    return int(max_episode_steps)


def autoreset_mode(mode: Any) -> AutoresetMode:
    """One of Gymnasium's modes, given as such or as its name or value."""
    for known in AutoresetMode:
        if mode in (known, known.name, known.value):
            return known
    raise ValueError(f"autoreset_mode must be one of {', '.join(m.name for m in AutoresetMode)}, not {mode!r}")


def numbers(actions: Any) -> NDArray[Any]:
    """Actions as an array of real numbers; whether they lie in the action space is left to the world."""
    try:
        array = np.asarray(actions)
    except (ValueError, TypeError, OverflowError):  # rows of different lengths
        raise ValueError(f"actions must be numbers in one array, not {type(actions).__name__}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"actions must be real numbers, not {array.dtype} ({str(actions)[:40]})")
    return array


def idle_actions(space: spaces.Space[Any], masks: NDArray[np.bool_] | None, n: int) -> NDArray[Any]:
    """``n`` legal actions that mean nothing: the first allowed choice (``masks`` is (n, choices)), or zeros."""
    if isinstance(space, spaces.Discrete):
        first = np.zeros(n, dtype=np.int64) if masks is None else masks.argmax(axis=1)
        return first + int(space.start)
    low, high = getattr(space, "low", 0), getattr(space, "high", 0)
    return np.broadcast_to(np.clip(np.zeros(space.shape or ()), low, high), (n, *(space.shape or ())))
