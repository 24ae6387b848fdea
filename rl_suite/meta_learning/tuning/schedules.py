"""Factors on a learning rate over time, and what a history of losses says."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from rl_suite.errors import UserError

Schedule = Literal["constant", "cosine", "step", "exponential", "plateau"]
SCHEDULES = ("constant", "cosine", "step", "exponential", "plateau")
STEPS_PER_DROP, DROP = 3, 0.1  # "step": so many drops by so much over the whole
EXPONENTIAL_END = 0.01  # "exponential": what is left at the end
PATIENCE, PLATEAU_DROP = 10, 0.5  # "plateau": windows without a better mean, and the factor then
WINDOW = 50  # losses that are looked at together
TOLERANCE = 1e-3  # relative change between two windows that counts as none


def factor_at(schedule: Schedule, step: int, total: int | None) -> float:
    """What the learning rate is multiplied by at a step; ``"plateau"`` depends on losses, see :class:`Plateau`.

    >>> [round(factor_at("cosine", step, 100), 3) for step in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    if schedule in ("constant", "plateau"):
        return 1.0
    if total is None or total < 1:
        raise UserError(f"schedule {schedule!r} needs total_steps")
    done = min(step / total, 1.0)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if schedule == "exponential":
        return float(EXPONENTIAL_END**done)
    return float(DROP ** min(math.floor(done * (STEPS_PER_DROP + 1)), STEPS_PER_DROP))


class Plateau:
    """Halves the rate when the mean loss of ten windows in a row is no better than the best before."""

    def __init__(self) -> None:
        self.factor, self.best, self.waited = 1.0, math.inf, 0

    def see(self, mean: float) -> None:
        """The mean loss of one more window."""
        if mean < self.best * (1 - TOLERANCE * math.copysign(1, self.best)) or not math.isfinite(self.best):
            self.best, self.waited = mean, 0
            return
        self.waited += 1
        if self.waited >= PATIENCE:
            self.factor, self.waited = self.factor * PLATEAU_DROP, 0


def trend(losses: Sequence[float]) -> dict[str, float | bool]:
    """Slope per step of the last window, and whether the last two windows are the same as far as noise lets one see.

    Converged means: two whole windows, and a difference of their means that is below ``TOLERANCE`` of their size and
    within two standard errors.
    """
    recent = np.asarray(losses[-2 * WINDOW :], dtype=float)
    last = recent[-WINDOW:]
    slope = float(np.polyfit(np.arange(len(last)), last, 1)[0]) if len(last) > 1 else 0.0
    converged = False
    if len(recent) == 2 * WINDOW:
        before = recent[:WINDOW]
        gap = abs(float(before.mean() - last.mean()))
        error = math.sqrt((before.var() + last.var()) / WINDOW)
        converged = gap <= TOLERANCE * max(abs(float(last.mean())), TOLERANCE) and gap <= 2 * error + 1e-12
    return {"slope": slope, "improving": slope < 0 and not converged, "converged": converged}
