"""The one error that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend. The commands print it without a traceback and exit with code 2."""


class NonFiniteError(UserError):
    """A reward, observation, loss or parameter is NaN or infinite; the message names it and the step."""


class DamagedError(UserError):
    """A file was cut off or changed after it was written; an earlier one may serve."""


class NothingFoundError(UserError):
    """A search ended without a result; a longer one may find something."""
