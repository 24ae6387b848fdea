"""A curriculum that acts: every copy of the world climbs its own ladder of stages on measured success.

A stage is a set of changes to the options (fields, node limits, goal, reward weights). A copy moves up when
its success rate over its last ``advance_window`` episodes of the stage reaches ``advance_at``; it never moves
down. The copies climb alone, so that a trajectory does not depend on the size of the batch.
"""

import numpy as np

from envs.durotaxis.options import Options
from envs.durotaxis.state import AT_GOAL, Colonies

NO_OUTCOME = -1


class Curriculum:
    """The ladder of one world; its memory is ``stage`` and ``outcomes`` of the colonies.

    Args:
        options: those of the world; ``options.stages()`` are the rungs, ``options.curriculum`` may be empty.
    """

    def __init__(self, options: Options):
        self.stages = options.stages()
        self._advance_at = options.advance_at

    def record(self, colonies: Colonies, row: int) -> None:
        """Note how the episode of a row ended, if it took a step, and move the row up if it has earned it."""
        if colonies.step[row] == 0 or len(self.stages) == 1:
            return
        outcomes = colonies.outcomes[row]
        outcomes[:-1] = outcomes[1:]
        outcomes[-1] = colonies.ending[row] == AT_GOAL
        full = outcomes[0] != NO_OUTCOME
        if full and np.mean(outcomes) >= self._advance_at and colonies.stage[row] < len(self.stages) - 1:
            self.enter(colonies, row, int(colonies.stage[row]) + 1)

    def enter(self, colonies: Colonies, row: int, stage: int) -> None:
        """Put a row on a stage, with nothing recorded there yet."""
        if not isinstance(stage, int | np.integer) or not 0 <= stage < len(self.stages):
            raise ValueError(f"stage must be one of 0..{len(self.stages) - 1}, not {str(stage)[:40]}")
        colonies.stage[row] = stage
        colonies.outcomes[row] = NO_OUTCOME
