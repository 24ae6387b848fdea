"""An estimator as a JSON file and back: values only, checked against a schema; nothing in it is imported or run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from envs.symbolic.tokens import Library
from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.reading import parse_json, read_bytes
from rl_suite.symbolic.laws.constants import Constant
from rl_suite.symbolic.laws.polish import Finished
from rl_suite.symbolic.laws.records import finished_record, read_finished
from rl_suite.symbolic.nature import read_nature

LARGEST_FILE = 20_000_000  # bytes
Label = str | int | float | bool


class SavedModel(BaseModel):
    """Everything that a fitted estimator predicts with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal["rl_suite symbolic model"] = "rl_suite symbolic model"
    parameters: dict[str, Any]
    variables: tuple[str, ...] = Field(min_length=1, max_length=1000)
    columns: tuple[int, ...]
    feature_names: tuple[str, ...] | None
    n_features: int = Field(ge=1, le=1_000_000)
    labels: tuple[Label, ...] = Field(min_length=1, max_length=10_000)
    front: tuple[dict[str, Any], ...] = Field(max_length=10_000)
    chosen: dict[str, Any]
    constants: tuple[tuple[dict[str, Any], ...], ...]
    stopped: str
    evaluations: int


def model_record(model: Any, variables: tuple[str, ...], chosen: Finished) -> SavedModel:
    """The record of a fitted estimator; parameters that are no plain values are saved as None."""
    names = getattr(model, "feature_names_in_", None)
    return SavedModel(
        parameters={name: _plain(value) for name, value in model.get_params(deep=False).items()},
        variables=variables,
        columns=tuple(int(i) for i in model._columns),
        feature_names=None if names is None else tuple(str(name) for name in names),
        n_features=int(model.n_features_in_),
        labels=tuple(model._labels),
        front=tuple(finished_record(f) for f in model.front_),
        chosen=finished_record(chosen),
        constants=tuple(tuple(vars(c) for c in model.constants_of_[label]) for label in model._labels),
        stopped=model.stopped_,
        evaluations=model.evaluations_,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else None


def write_model(record: SavedModel, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_atomically(path, (json.dumps(record.model_dump(), indent=1) + "\n").encode())


def read_model(path: Path, known: set[str]) -> tuple[SavedModel, Library, list[Finished], Finished]:
    """A record, the tokens of its laws, its front and the chosen law.

    Args:
        path: of the file.
        known: names of the estimator's parameters.

    Raises:
        UserError: the file is missing, too large, or not such a record.
    """
    content = parse_json(read_bytes(path, LARGEST_FILE, follow=True))
    try:
        record = SavedModel.model_validate_json(json.dumps(content))
        foreign = sorted(set(record.parameters) - known)
        if foreign:
            raise ValueError(f"unknown parameter {foreign[0]!r}")
        nature = [constant.name for constant in read_nature(record.parameters.get("nature") or ())]
        columns = record.variables[: len(record.variables) - len(nature)]
        if list(record.variables[len(columns) :]) != nature:
            raise ValueError("'variables' do not end with the constants of 'nature'")
        if len(set(record.columns)) != len(columns) or not all(0 <= i < record.n_features for i in record.columns):
            raise ValueError("'columns' are not places of the variables")
        if record.feature_names is not None and len(record.feature_names) != record.n_features:
            raise ValueError("'feature_names' are not as many as the features")
        library = Library("full", record.variables, constant=True)
        front = [_read_law(law, library, len(record.labels)) for law in record.front]
        chosen = _read_law(record.chosen, library, len(record.labels))
        if len(record.constants) != len(record.labels):
            raise ValueError("'constants' are not as many as the datasets")
        for constants in record.constants:
            for constant in constants:
                Constant(**constant)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UserError(f"{path}: not a saved model: {place}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise UserError(f"{path}: not a saved model: {str(error)[:200]}") from None
    return record, library, front, next((f for f in front if f.text == chosen.text), chosen)


def _read_law(record: Mapping[str, Any], library: Library, datasets: int) -> Finished:
    finished = read_finished(record, library)
    sizes = {len(law.constants) for law in finished.laws}
    if len(finished.laws) != datasets or len(sizes) != 1:
        raise ValueError("a law has not the constants of every dataset")
    return finished
