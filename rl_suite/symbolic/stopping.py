"""When a search has a reason to end before its budget: an exact law, or residuals that are only noise."""

from rl_suite.symbolic.laws.archive import Archive, noise_is_left
from rl_suite.symbolic.laws.polish import Polisher

GRACE, SHORT = 4_000, 16  # evaluations after an exact law of so many tokens
LONGER = 4.0  # times as many at least after a longer one, and in proportion to the square of its length
PATIENCE = 40_000  # evaluations without a better law before noise may end the search
# With so few rows the tests for noise are weak, and so small an error is rarely noise: wait so many times longer.
FEW_ROWS, FINE, DOUBT = 60, 1e-8, 4


def exact_long_enough(archive: Archive, evaluations: int) -> bool:
    """Whether the best law is exact, and a shorter form of it has had time to turn up."""
    best = archive.best
    if best is None or not archive.solved:
        return False
    longer = 1.0 if best.complexity <= SHORT else max(LONGER, (best.complexity / SHORT) ** 2)
    return evaluations - archive.found_at >= GRACE * longer


def noise_long_enough(archive: Archive, evaluations: int, polisher: Polisher) -> bool:
    """Whether nothing better was found for long, and what the best law leaves does not depend on the inputs."""
    best = archive.best
    if best is None:
        return False
    doubtful = sum(polisher.sizes) < FEW_ROWS or best.nmse < FINE
    patience = PATIENCE * (DOUBT if doubtful else 1)
    waited = evaluations - archive.found_at
    return waited > max(patience, 2 * archive.found_at) and noise_is_left(best, polisher)
