"""What all tests of runs share."""

import pytest

from rl_suite import rehearsal


@pytest.fixture(autouse=True)
def no_rehearsal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process, and those forked from it, begin at once: the rehearsal takes as long as a smoke run."""
    if request.node.get_closest_marker("rehearsed") is None:
        monkeypatch.setattr(rehearsal, "rehearse", lambda train, config: None)
