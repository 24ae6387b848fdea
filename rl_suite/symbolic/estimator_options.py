"""What the estimator's options mean: checked with one line each, and how long a search goes on."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d

from envs.symbolic.tokens import OPERATIONS
from envs.symbolic.units import Units
from rl_suite.progress import ProgressBar, tell
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.search import Search

LOSSES, SELECTIONS = ("squared", "relative", "huber", "absolute"), ("bits", "accuracy")
SHOWN_LAW = 60  # characters of the best law beside the progress bar
LENGTHS, SMALLEST_POPULATION, FEWEST_POINTS = (3, 128), 10, 4


def require_options(model: Any) -> Options:
    """The search's options out of an estimator; ValueError for what cannot be."""
    _whole(model.budget, "budget", 1)
    _whole(model.max_length, "max_length", *LENGTHS)
    if model.population is not None:
        _whole(model.population, "population", SMALLEST_POPULATION)
    if model.search_points is not None:
        _whole(model.search_points, "search_points", FEWEST_POINTS)
    if model.time_limit is not None and not model.time_limit > 0:
        raise ValueError(f"time_limit={model.time_limit}: must be seconds, more than 0, or None")
    _one_of(model.loss, "loss", LOSSES)
    _one_of(model.model_selection, "model_selection", SELECTIONS)
    for name in model.functions or ():
        _one_of(name, "functions", tuple(OPERATIONS))
    if model.free_constants and model.units is None:
        raise ValueError("free_constants=True: says something of units only; give units and target_unit")
    if model.units is not None and (model.skeleton is not None or model.known is not None):
        raise ValueError("units cannot be used together with a skeleton or a known part")
    return Options(
        functions=Options.functions if model.functions is None else tuple(model.functions),
        literals=Options.literals if model.literals is None else tuple(str(number) for number in model.literals),
        max_length=model.max_length,
        population=Options.population if model.population is None else model.population,
        search_points=Options.search_points if model.search_points is None else model.search_points,
        inner_constants=model.inner_constants,
        stop_at_noise=model.stop_at_noise,
        known=model.known,
        loss=model.loss,
        prior=None if model.prior is None else Path(model.prior),
    )


def _whole(value: Any, name: str, least: int, most: int | None = None) -> None:
    fits = isinstance(value, int | np.integer) and value >= least and (most is None or value <= most)
    if not fits or isinstance(value, bool):
        upper = "" if most is None else f" to {most}"
        raise ValueError(f"{name}={value!r}: must be a whole number from {least}{upper or ' on'}")


def _one_of(value: Any, name: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: {value!r} is not known; known: {', '.join(known)}")


def seed_of(random_state: Any) -> int:
    """A seed out of whatever scikit-learn takes: None, a number, a RandomState or a Generator."""
    if random_state is None:
        return 0
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def row_weights(y: NDArray[np.float64], sample_weight: Any, y_error: Any, loss: str) -> NDArray[np.float64] | None:
    """Weights (n,) of the rows; None if all count alike."""
    if sample_weight is not None and y_error is not None:
        raise ValueError("sample_weight and y_error say the same; give one of them")
    weights = None
    if y_error is not None:
        error = np.broadcast_to(np.asarray(y_error, dtype=np.float64), y.shape) if np.ndim(y_error) == 0 else y_error
        error = np.asarray(column_or_1d(error), dtype=np.float64)
        check_consistent_length(y, error)
        if not (np.isfinite(error).all() and (error > 0).all()):
            raise ValueError("y_error must be finite and more than 0 in every row")
        weights = (error.min() / error) ** 2
    elif sample_weight is not None:
        weights = np.asarray(sample_weight, dtype=np.float64)
        weights = np.full(y.shape, weights) if weights.ndim == 0 else np.asarray(column_or_1d(weights))
        check_consistent_length(y, weights)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError("sample_weight must be finite, not negative, and not zero in every row")
    if loss == "relative":
        if not y.all():
            raise ValueError(
                f"loss='relative': y is 0 in row {int(np.flatnonzero(y == 0)[0])}, which has no relative error"
            )
        size = np.abs(y)
        relative = (size.min() / size) ** 2
        weights = relative if weights is None else weights * relative
    return weights if weights is None or np.ptp(weights) > 0 else None


def chosen_columns(columns: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Places of the chosen columns; ValueError for one that X lacks."""
    if columns is None:
        return list(range(len(names)))
    missing = [str(name) for name in columns if str(name) not in names]
    if missing or not len(columns):
        raise ValueError(f"columns: {', '.join(missing) or 'none'} given; X has {', '.join(names)}")
    return [list(names).index(str(name)) for name in columns]


def units_of(model: Any, given: Sequence[str], used: Sequence[int], names: Sequence[str]) -> Units | None:
    """Units of the used columns under their names in formulas."""
    if model.units is None:
        return None
    if model.target_unit is None:
        raise ValueError("units were given; target_unit is needed too ('1' for a pure number)")
    unknown = [name for name in model.units if name not in list(given)]
    chosen = {names[k]: model.units[given[i]] for k, i in enumerate(used) if given[i] in model.units}
    return Units.from_text(names, chosen | dict.fromkeys(unknown, "1"), model.target_unit, model.free_constants)


def run_for(search: Search, seconds: float | None, verbose: bool) -> str:
    """Run a search; why it ended: its own reason, "time" or "interrupted" (Ctrl-C)."""
    deadline = math.inf if seconds is None else time.monotonic() + seconds

    def late(search: Search) -> bool:
        return time.monotonic() > deadline

    try:
        if not verbose:
            search.run(late)
        else:
            with ProgressBar("evaluations", search.budget) as progress:

                def show(search: Search) -> bool:
                    best = search.archive.best
                    error = 1.0 if best is None else math.sqrt(best.nmse)
                    done = min(search.evaluations, search.budget)
                    progress.update(done, error=error, law=search.text()[:SHOWN_LAW])
                    return late(search)

                search.run(show)
    except KeyboardInterrupt:
        tell(f"interrupted after {search.evaluations} programs; the best law so far: {search.text() or 'none'}")
        return "interrupted"
    return search.reason or "time"
