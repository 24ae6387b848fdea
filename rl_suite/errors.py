"""The one error that a user is meant to read."""

LONGEST = 1000  # characters of one line of a message


class UserError(Exception):
    """Something the user can mend. The commands print it without a traceback and exit with code 2.

    Whatever a name or a file brought into it, no line of the message is longer than a screen can show.
    """

    def __str__(self) -> str:
        return "\n".join(map(_cut, super().__str__().split("\n")))


def _cut(line: str) -> str:
    """The line without its middle, if it is too long: the end of a message says what to do."""
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


class NonFiniteError(UserError):
    """A reward, observation, loss or parameter is NaN or infinite; the message names it and the step."""


class DamagedError(UserError):
    """A file was cut off or changed after it was written; an earlier one may serve."""


class NothingFoundError(UserError):
    """A search ended without a result; a longer one may find something."""
