"""The data that the hole of a skeleton must explain, and the laws that it becomes when the hole is filled.

A skeleton is a formula of quantities: where units are known it is solved in SI base units, its hole has a unit of its
own, and the whole law is handed over in the numbers of the table. Errors stay errors of the target: rows where the
target hangs much on the hole count more.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rl_suite.symbolic.data import Data
from rl_suite.symbolic.laws.canonical import canonical
from rl_suite.symbolic.laws.law import Law
from rl_suite.symbolic.laws.pieces import piece_of
from rl_suite.symbolic.laws.skeleton import Skeleton
from rl_suite.symbolic.scaling import in_base_units, unit_scaling

Values = NDArray[np.float64]
STEP = 1e-6  # of the target's size: how far it is moved to see how much the hole moves
ALIKE = 1e-3  # relative difference of weights that are none


@dataclass(frozen=True)
class Hole:
    """A skeleton together with the data of its target and of its hole."""

    skeleton: Skeleton
    whole: Data
    data: Data
    """What the hole must explain; with units, in SI base units."""

    @classmethod
    def of(cls, text: str, whole: Data) -> "Hole":
        """Solve a skeleton for its hole.

        Raises:
            ValueError: it cannot be read, no value of the hole gives the target, or its units do not agree.
        """
        skeleton = Skeleton(text, whole.variables)
        base = in_base_units(whole)
        data = replace(base, y=skeleton.solve(base.X, base.y), weights=_weights(skeleton, base))
        if base.units is not None:
            data = replace(data, units=replace(base.units, target=skeleton.unit_of_hole(base.units)))
        return cls(skeleton, whole, data)

    def filled(self, law: Law) -> Law:
        """The law of the target, in the numbers of the table, out of one of the hole."""
        filled = self.skeleton.fill(law)
        if self.whole.units is None or not self.whole.units.scales:
            return filled
        return canonical(unit_scaling(self.whole).undo(piece_of(filled), self.whole.variables).law(law.library), {})


def _weights(skeleton: Skeleton, data: Data) -> Values | None:
    """Weights (n,) of the rows of the hole, which make its squared errors those of the target."""
    step = STEP * np.maximum(np.abs(data.y), STEP * np.abs(data.y).max())
    moved = []
    for side in (step, -step):  # one of them may lie where the hole has no value
        try:
            moved.append(np.abs(skeleton.solve(data.X, data.y + side) - skeleton.solve(data.X, data.y)) / step)
        except ValueError:
            continue
    given = data.weights
    if not moved:
        return given
    with np.errstate(divide="ignore", over="ignore"):
        weight: Values = moved[0] ** -2.0
    if not np.isfinite(weight).all() or not weight.max() > 0 or np.ptp(weight) < ALIKE * weight.max():
        return given
    return weight if given is None else weight * given
