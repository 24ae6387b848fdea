"""Random input on every surface; ``make fuzz`` tries FUZZ_CASES of it, this a few.

A worker of the suite that takes what others wrote has its surface in one of the ``*_surfaces`` modules.
"""

import fuzzing
import learner_surfaces
import pytest
import settings_surfaces
import symbolic_surfaces
import tool_surfaces
import world_surfaces

SURFACES = [
    surface
    for module in (settings_surfaces, symbolic_surfaces, world_surfaces, learner_surfaces, tool_surfaces)
    for surface in module.SURFACES
]


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name.replace(" ", "_"))
def test_everything_is_played_or_refused(surface: fuzzing.Surface, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        fuzzing.fuzz(surface)


def compute_for_ever() -> None:
    with fuzzing.limits():
        while True:
            pass


def test_limits_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MemoryError), fuzzing.limits():
        bytearray(2 * fuzzing.MEMORY)
    monkeypatch.setattr(fuzzing, "CPU_SECONDS", 0.01)
    with pytest.raises(fuzzing.OverLimitError):
        compute_for_ever()
