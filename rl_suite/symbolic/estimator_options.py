"""What the estimator's options mean: checked with one line each, and how long a search goes on."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, column_or_1d

from envs.symbolic.units import Units
from rl_suite.progress import ProgressBar, tell
from rl_suite.symbolic.data import Options
from rl_suite.symbolic.forms.custom import read_functions
from rl_suite.symbolic.output.choice import SELECTIONS
from rl_suite.symbolic.search import Search
from rl_suite.symbolic.weighing import LOSSES, row_weights

SHOWN_LAW = 60  # characters of the best law beside the progress bar
MAX_SHOWN = 60  # characters of a bad value in a message
LENGTHS, SMALLEST_POPULATION, FEWEST_POINTS = (3, 128), 10, 4


def require_options(model: Any) -> Options:
    """The search's options out of an estimator; ValueError for what cannot be."""
    _whole(model.budget, "budget", 1)
    _whole(model.max_length, "max_length", *LENGTHS)
    if model.population is not None:
        _whole(model.population, "population", SMALLEST_POPULATION)
    if model.search_points is not None:
        _whole(model.search_points, "search_points", FEWEST_POINTS)
    limit = model.time_limit
    if limit is not None and not (_is_number(limit) and limit > 0):
        raise ValueError(f"time_limit={limit!r}: must be seconds, more than 0, or None")
    _kinds(model)
    if not isinstance(model.prior, str | Path | None):
        raise ValueError(f"prior={model.prior!r}: must be a file, 'shipped', 'auto', or None")
    _one_of(model.loss, "loss", LOSSES)
    _one_of(model.model_selection, "model_selection", SELECTIONS)
    _whole(model.proposals, "proposals", 1)
    functions, custom = read_functions(model.functions, Options.functions)
    if model.target_unit is not None and model.units is None:
        raise ValueError("target_unit: says something with units only; give the units of all columns too")
    if model.free_constants and model.units is None:
        raise ValueError("free_constants=True: says something of units only; give units and target_unit")
    return Options(
        functions=functions,
        custom=custom,
        literals=Options.literals if model.literals is None else tuple(str(number) for number in model.literals),
        max_length=model.max_length,
        population=Options.population if model.population is None else model.population,
        search_points=Options.search_points if model.search_points is None else model.search_points,
        polynomials=model.polynomials,
        inner_constants=model.inner_constants,
        policy=model.policy,
        proposals=model.proposals,
        stop_at_noise=model.stop_at_noise,
        known=model.known,
        loss=model.loss,
        prior=None if model.prior is None else Path(model.prior),
    )


def _kinds(model: Any) -> None:
    """Refuse options of the wrong kind."""
    for name in (
        "stop_at_noise",
        "free_constants",
        "inner_constants",
        "verbose",
        "warm_start",
        "polynomials",
        "policy",
    ):
        if not isinstance(getattr(model, name), bool | np.bool_):
            raise ValueError(f"{name}={getattr(model, name)!r}: must be True or False")
    for name in ("known", "skeleton", "target_unit"):
        if not isinstance(getattr(model, name), str | None):
            raise ValueError(f"{name}={getattr(model, name)!r}: must be text, or None")
    for name in ("columns", "literals"):
        if isinstance(getattr(model, name), str | int | float):
            raise ValueError(f"{name}={getattr(model, name)!r}: must be a list, or None")
    if model.units is not None and not isinstance(model.units, Mapping):
        raise ValueError(f"units={model.units!r}: must be a mapping of columns to units, such as {{'x0': 'm'}}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


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
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        shown = " ".join(repr(random_state).split())[:MAX_SHOWN]
        raise ValueError(
            f"random_state={shown}: must be a whole number from 0 on, a numpy RandomState or Generator, or None"
        ) from None


def weights_of(y: NDArray[np.float64], sample_weight: Any, y_error: Any, loss: str) -> NDArray[np.float64] | None:
    """Weights (n,) of the rows out of what ``fit`` is given: numbers for all rows, or one for each."""
    given = {"sample_weight": sample_weight, "y_error": y_error}
    weight, error = (None if rows is None else _of_each_row(rows, y, name) for name, rows in given.items())
    return row_weights(y, weight, error, loss)


def _of_each_row(given: Any, y: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    if isinstance(given, int | float | np.number):
        return np.full(y.shape, float(given))
    try:
        rows = np.asarray(column_or_1d(given), dtype=np.float64)
    except (TypeError, ValueError):
        shown = " ".join(repr(given).split())[:MAX_SHOWN]
        raise ValueError(f"{name}={shown}: must be a number, or one for each of the {len(y)} rows") from None
    check_consistent_length(y, rows)
    return rows


def chosen_columns(columns: Sequence[str] | None, names: Sequence[str]) -> list[int]:
    """Places of the chosen columns; ValueError for one that X lacks."""
    if columns is None:
        return list(range(len(names)))
    missing = [str(name) for name in columns if str(name) not in names]
    if missing or not len(columns):
        raise ValueError(f"columns: {', '.join(missing) or 'none'} given; X has {', '.join(names)}")
    twice = next((str(name) for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise ValueError(f"columns: {twice!r} is named twice")
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
