"""Searches side by side: same space, same budget, same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_suite.arguments import require_list
from rl_suite.evaluation.statistics import Interval
from rl_suite.loading import require_counts
from rl_suite.meta_learning.metrics import TaskScores, compare, mean_interval
from rl_suite.meta_learning.tuning.architecture import ALGORITHMS, NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.evaluations import Evaluate
from rl_suite.meta_learning.tuning.spaces import Space, as_space
from rl_suite.progress import ProgressBar


@dataclass(frozen=True)
class SearchComparison:
    """What each algorithm had found after each evaluation."""

    curves: Mapping[str, NDArray[np.float64]]
    """Algorithm -> best value so far (seeds, evaluations)."""

    def final(self, algorithm: str) -> Interval:
        """Mean of the best value at the end, with its 95 % interval over seeds."""
        return mean_interval(self.curves[algorithm][:, -1])

    def curve(self, algorithm: str) -> list[Interval]:
        """The same after each evaluation; NaN where a seed has no value yet."""
        return [mean_interval(column) for column in self.curves[algorithm].T]

    def against(self, algorithm: str, other: str = "random") -> Interval:
        """Mean of what ``algorithm`` found minus what ``other`` did, paired by seed."""
        mine, theirs = (TaskScores.of(self.curves[name][:, -1]) for name in (algorithm, other))
        return compare(mine, theirs).difference

    def as_json(self) -> dict[str, Any]:
        """Plain values per algorithm."""
        return {
            name: {
                "best": self.final(name)._asdict(),
                "seeds": len(values),
                "curve": [interval._asdict() for interval in self.curve(name)],
            }
            for name, values in self.curves.items()
        }


def benchmark_nas_algorithms(
    search_space: Space | Mapping[str, Sequence[Any]],
    evaluation_function: Evaluate,
    num_evaluations: int,
    seeds: int = 5,
    algorithms: Sequence[str] = ALGORITHMS,
) -> SearchComparison:
    """Give every algorithm the same budget on the same seeds.

    Args:
        search_space: see :class:`NeuralArchitectureSearch`.
        evaluation_function: an architecture -> a number, higher is better.
        num_evaluations: budget of one search.
        seeds: searches per algorithm, with seeds 0, 1, ...
        algorithms: names of algorithms.
    """
    require_counts(seeds=seeds, num_evaluations=num_evaluations)
    require_list("algorithms", algorithms, str)
    space = as_space(search_space)
    curves = {}
    with ProgressBar("searches", seeds * len(algorithms)) as progress:
        for place, algorithm in enumerate(algorithms):
            rows = np.full((seeds, num_evaluations), np.nan)
            for seed in range(seeds):
                search = NeuralArchitectureSearch(space, algorithm, random_state=seed)
                search.search_architecture(evaluation_function, num_evaluations)
                found = search.best_so_far()
                rows[seed] = found + found[-1:] * (num_evaluations - len(found))  # a space that was searched through
                progress.update(place * seeds + seed + 1)
            curves[algorithm] = rows
    return SearchComparison(curves)
