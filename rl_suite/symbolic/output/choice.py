"""Which law of a front is taken."""

import math
from collections.abc import Sequence

from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.laws.price import EXACT_NMSE

SELECTIONS = ("bits", "accuracy", "best")
TOLERATED = (
    1.5  # times the least squared error, up to which "best" considers a law (the rule of PySR's model_selection)
)


def choose(front: Sequence[Finished], cheapest: Finished, selection: str) -> Finished:
    """The law of least price ("bits"), of least error ("accuracy"), or of the steepest fall of the error ("best").

    "best": among the laws with at most ``TOLERATED`` times the least squared error, that whose logarithm of the
    error fell most per unit of complexity from the simpler law before it.
    """
    laws = [*front] if any(f is cheapest for f in front) else [*front, cheapest]
    laws.sort(key=lambda f: f.complexity)
    if selection == "bits":
        return cheapest
    if selection == "accuracy":
        return min(laws, key=lambda f: f.nmse)
    errors = [max(f.nmse, EXACT_NMSE) for f in laws]
    steps = [-math.inf]
    for before, (law, error) in enumerate(zip(laws[1:], errors[1:], strict=True)):
        fall = math.log(errors[before]) - math.log(error)
        steps.append(fall / max(1, law.complexity - laws[before].complexity))
    near = [i for i, error in enumerate(errors) if error <= TOLERATED * min(errors)]
    return laws[max(near, key=lambda i: steps[i])]
