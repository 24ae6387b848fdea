"""Surfaces: configurations and words of the command line, as far as the sizes that an experiment asks for."""

import copy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import yaml
from fuzzing import Surface, mostly, scalars, texts, values
from hypothesis import strategies as st

from rl_suite import experiments
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import KINDS, config_model, load_attribute, load_experiment
from rl_suite.loading import read_config

RAW = read_config(DEFAULT_CONFIG)
EXPERIMENTS = sorted(name for name, block in RAW["experiments"].items() if not block.get("modifier", False))
SHRINK = {kind: f"rl_suite.{kind}.sizes:shrink" for kind in KINDS if find_spec(f"rl_suite.{kind}.sizes")}


def leaves(block: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of nested mappings."""
    for key, item in block.items():
        if isinstance(item, dict) and item:
            yield from leaves(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def alike(value: Any) -> st.SearchStrategy[Any]:
    """The value or one of its type that nobody wrote down."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(min(0, 2 * value), 2 * abs(value) + 2)
    if isinstance(value, float):
        return st.floats(min(0.0, 2 * value), 2 * abs(value) + 1)
    return st.just(value)


SHIPPED = [pair for block in (RAW["defaults"], *RAW["experiments"].values()) for pair in leaves(block)]


def settings_of(name: str) -> list[tuple[str, Any]]:
    """What an experiment sets and what its kind reads of the defaults."""
    block = RAW["experiments"][name]
    fields = config_model(block.get("kind", RAW["defaults"]["kind"])).model_fields
    return [*leaves(block), *(pair for pair in leaves(RAW["defaults"]) if pair[0].partition(".")[0] in fields)]


OF_EACH = {name: settings_of(name) for name in EXPERIMENTS}


def load(words: list[str], raw: Any = RAW) -> None:
    """The experiment, and the sizes that it would ask the machine for; nothing is trained."""
    with mock.patch.object(experiments, "read_config", return_value=copy.deepcopy(raw)):
        config = load_experiment(DEFAULT_CONFIG, words)
    if config.kind in SHRINK:
        load_attribute(SHRINK[config.kind])(config)


def as_yaml(value: Any) -> str:
    """The value as it would be typed."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).split("\n...")[0].strip()


@st.composite
def overrides(draw: st.DrawFn) -> list[str]:
    """Words after ``train.py``."""
    name = draw(st.sampled_from(EXPERIMENTS))
    words = [f"experiment={name},smoke"]
    for _ in range(draw(st.integers(1, 3))):
        key, value = draw(mostly(st.sampled_from(OF_EACH[name]), st.sampled_from(SHIPPED)))
        text = as_yaml(draw(mostly(alike(value), values)))
        words.append(draw(mostly(st.just(f"{key}={text}"), texts | texts.map(f"{key}={{}}".format))))
    return words


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[str, Any]:
    """(experiment, content of a configuration file) with some values that nobody expects in it."""
    name = draw(st.sampled_from(EXPERIMENTS))
    blocks = {name: copy.deepcopy(RAW["experiments"][name]), "smoke": copy.deepcopy(RAW["experiments"]["smoke"])}
    raw = {"defaults": copy.deepcopy(RAW["defaults"]), "experiments": blocks}
    keys = sorted(leaves(raw), key=str)
    for _ in range(draw(st.integers(1, 3))):
        path, value = draw(st.sampled_from(keys))
        parts = path.split(".")
        place: Any = raw
        for key in parts[: draw(mostly(st.just(len(parts) - 1), st.integers(0, len(parts) - 1)))]:
            place = place[key] if isinstance(place.get(key), dict) else place
        if draw(mostly(st.just(True), st.just(False))):
            place[draw(mostly(st.just(parts[-1]), texts))] = draw(mostly(alike(value), values))
        else:
            place.pop(parts[-1], None)
    return name, raw


def read_and_load(case: tuple[str, Any] | str) -> None:
    """Write the file, read it and load its experiment; text that is no such file is only read."""
    content = case if isinstance(case, str) else yaml.safe_dump(case[1])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(content, encoding="utf-8", errors="surrogatepass")
        raw = read_config(path)
    if not isinstance(case, str):
        load([f"experiment={case[0]},smoke"], raw)


yaml_like = st.text(alphabet=": -[]{}&*!|>'\"%@`#,?\n\tab01~.", max_size=80)
SURFACES = [
    Surface("overrides", overrides(), load, ["experiment=darkroom,smoke", "seed=3"], (UserError,)),
    Surface(
        "configuration",
        mostly(damaged_files(), yaml_like | scalars.map(str)),
        read_and_load,
        ("darkroom", RAW),
        (UserError,),
    ),
]
