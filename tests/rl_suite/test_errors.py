"""What a user is told can be read."""

import pytest

from rl_suite.errors import LONGEST, NonFiniteError, UserError


@pytest.mark.parametrize("error", [UserError, NonFiniteError])
def test_no_line_of_a_message_is_longer_than_a_screen(error: type[UserError]) -> None:
    said = str(error(f"the tool {'x' * 10**6} is none: choose another\nand {'y' * 10**6}"))
    assert all(len(line) <= LONGEST + 5 for line in said.split("\n"))
    assert said.startswith("the tool xxx")
    assert "is none: choose another\nand yyy" in said
    assert str(error("short")) == "short"
