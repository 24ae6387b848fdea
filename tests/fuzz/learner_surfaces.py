"""Surfaces: histories of any shape, compression of them, adapters in networks, and what a network may be built from."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from fuzzing import Surface, any_array, dtypes, mostly, numbers, scalars, texts, values
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from agents.actor_critic import HybridOptions
from agents.ptm.models import PTMConfig
from rl_suite.distillation.compression.strategies import STRATEGIES, compress_history
from rl_suite.distillation.dataset import Windows
from rl_suite.distillation.doctor import diagnose
from rl_suite.distillation.histories import Histories, Manifest, join, load_shard, save_shard
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.meta_learning.adapters.config import AdapterConfig, AdapterType
from rl_suite.meta_learning.adapters.model import AdapterModel
from rl_suite.meta_learning.tuning.architecture import ALGORITHMS, NeuralArchitectureSearch
from rl_suite.meta_learning.tuning.cells import build_model_from_architecture, create_nas_search_space
from rl_suite.meta_learning.tuning.ranges import read_ranges

FAMILY = TaskFamily.named("rl_suite/DarkRoom-v0", {})


def columns(n: int, t: int, width: int) -> dict[str, np.ndarray]:
    """Arrays of good histories of a dark room."""
    step = np.zeros((n, t), np.int64)
    return {
        "observations": np.full((n, t, width), 4),
        "actions": step + 4,
        "rewards": step.astype(np.float32),
        "next_observations": np.full((n, t, width), 4),
        "first": np.tile(np.arange(t) % 20 == 0, (n, 1)),
        "labels": step + 4,
        "tasks": np.zeros(n, np.int64),
    }


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], int, int]:
    """(columns of each part, length of an episode, steps of a window)."""
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        n, t = draw(mostly(st.integers(1, 3), st.integers(0, 3))), draw(st.integers(0, 45) | st.sampled_from([40, 60]))
        part: dict[str, Any] = columns(n, t, draw(mostly(st.just(2), st.integers(0, 3))))
        for _ in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from(sorted(part)))
            array = part[name]
            if draw(st.booleans()):
                array = draw(mostly(dtypes.map(array.astype), any_array()))
            if array.size and array.dtype.kind in "biuf":
                array = array.copy()
                array.reshape(-1)[draw(st.integers(0, array.size - 1))] = draw(st.integers(0, 1) | st.integers(0, 100))
            part[name] = array
        if draw(mostly(st.just(False), st.just(True))):
            part["lengths"] = draw(any_array(1) | st.just(np.full(n, max(2, t - 3))))
        parts.append(part)
    return parts, draw(mostly(st.just(20), st.integers(-1, 60))), draw(st.integers(0, 50))


def read_histories(case: tuple[list[dict[str, Any]], int, int]) -> None:
    """Write and read every part, join them, let the doctor look, and draw windows for training."""
    parts, episode, window = case
    made = []
    with TemporaryDirectory() as folder:
        for number, part in enumerate(parts):
            made.append(load_shard(Path(folder), save_shard(Path(folder), number, Histories(**part))))
    joined = join(made)
    manifest = Manifest("rl_suite/DarkRoom-v0", {}, {"name": "mine"}, "train", episode, 5, 0, len(joined), [])
    found = list(diagnose(joined, manifest, FAMILY))
    assert all(len(finding.text) < 2000 for finding in found)
    if not any(finding.verdict == "problem" for finding in found):
        steps, labels = Windows(joined, 5, window, 0.5, False, "history", 0).batch(0, 4)
        assert len(labels) == 4
        assert steps.action.max() <= 5


@st.composite
def compressions(draw: st.DrawFn) -> tuple[list[Any], int, str]:
    """(states, actions, rewards, next states, attention; steps to keep; strategy)."""
    n = draw(st.integers(0, 9))
    good = arrays.arrays("float32", st.tuples(st.just(n), st.integers(0, 3)), elements=st.floats(-9, 9, width=32))
    attention = arrays.arrays("float32", (2, n), elements=st.floats(0, 1, width=32))
    parts = [draw(part) for part in (*[good] * 4, attention)]
    if draw(st.booleans()):
        parts[draw(st.integers(0, 4))] = draw(any_array(3))
    tensors = [torch.as_tensor(part.astype(np.float64)) for part in parts]
    return (
        tensors,
        draw(mostly(st.integers(1, max(1, n)), st.integers())),
        draw(mostly(st.sampled_from([*STRATEGIES]), texts)),
    )


def compress(case: tuple[list[Any], int, str]) -> None:
    """k steps stay, in every part."""
    parts, k, strategy = case
    kept = compress_history(*parts, k=k, strategy=strategy)
    assert {len(part) for part in kept} == {k}


def networks() -> list[nn.Module]:
    """Small networks of the usual kinds."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
    pictures = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return [plain, pictures, attention]


INPUTS = [torch.rand(2, 6), torch.rand(2, 1, 6, 6), torch.rand(2, 3, 8)]
FIELDS = sorted(set(AdapterConfig.model_fields) - {"adapter_type", "target_modules", "modules_to_save", "name"})
PATTERNS = st.sampled_from(["0", "*", "/2", "all-linear", "self_attn", "linear1", "1", "", "a.b", "[", "*" * 300])


@st.composite
def adapters(draw: st.DrawFn) -> tuple[int, list[dict[str, Any]]]:
    """(which network, arguments of each adapter)."""
    configs = []
    for number in range(draw(st.integers(0, 2))):
        config: dict[str, Any] = {"adapter_type": draw(mostly(st.sampled_from(AdapterType), values))}
        config |= draw(st.dictionaries(mostly(st.sampled_from(FIELDS), texts), mostly(st.integers(1, 8)), max_size=2))
        if draw(st.booleans()):
            config["target_modules"] = draw(PATTERNS | st.lists(PATTERNS, max_size=2) | values)
        if draw(mostly(st.just(True), st.just(False))):
            config["name"] = draw(mostly(st.just(f"a{number}"), texts))
        if draw(mostly(st.just(False), st.just(True))):
            config["modules_to_save"] = draw(st.lists(PATTERNS, max_size=2))
        configs.append(config)
    return draw(st.integers(0, 2)), configs


def adapt(case: tuple[int, list[dict[str, Any]]]) -> None:
    """At the start the outputs are the base's; merging changes none, and a file brings the adapters back."""
    which, configs = case
    base, seen = networks()[which].eval(), INPUTS[which]
    with torch.no_grad():
        plain = base(seen)
    model = AdapterModel(base, [AdapterConfig(**config) for config in configs])
    with torch.no_grad():
        torch.testing.assert_close(model(seen), plain)
    with TemporaryDirectory() as folder:
        model.save_adapters(Path(folder) / "a.safetensors")
        model.load_adapters(Path(folder) / "a.safetensors")
    model.summary()
    model(seen).sum().backward()


choices = mostly(st.lists(scalars | st.integers(0, 3), min_size=1, max_size=3), values)
spaces = mostly(st.dictionaries(texts, choices, max_size=3), values)
OPERATIONS = ["none", "skip", "conv1", "conv3", "average3", "max3", "linear_relu", "linear_tanh", "odd"]
cells = st.fixed_dictionaries(
    {},
    optional={
        "operations": mostly(st.lists(st.sampled_from(OPERATIONS), min_size=6, max_size=6), values),
        "input_shape": mostly(st.sampled_from([(1, 9, 9), (5,), [3, 8, 8]]), values),
        "channels": mostly(st.integers(1, 8), values),
        "num_layers": mostly(st.integers(1, 3), values),
        "num_classes": mostly(st.integers(1, 4), values),
    },
)
drawn = st.tuples(st.sampled_from([(1, 9, 9), (5,)]), st.integers(0, 9999))
hybrid = st.dictionaries(
    mostly(st.sampled_from(list(HybridOptions.__dataclass_fields__)), texts.filter(bool)),
    st.sampled_from(["gnn", "features", "actor", True, False, 8]) | values,
    max_size=3,
)
PTM_FIELDS = list(PTMConfig.__dataclass_fields__)
pretrained = mostly(
    st.dictionaries(mostly(st.sampled_from(PTM_FIELDS), texts), st.just("graph_cnn") | values, max_size=3).map(
        lambda config: {"model_type": "graph_cnn", **config}
    ),
    values,
)
kinds = {
    "search": st.tuples(spaces, mostly(st.sampled_from(ALGORITHMS), texts), mostly(st.integers(1, 4), numbers)),
    "ranges": mostly(
        st.dictionaries(texts, st.tuples(numbers, numbers) | st.tuples(numbers, numbers, st.just("log")) | choices),
        values,
    ),
    "cell": cells,
    "drawn cell": drawn,
    "policy": hybrid,
    "pretrained": pretrained,
}
architectures = st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.tuples(st.just(kind), kinds[kind]))


def build(case: tuple[str, Any]) -> None:
    """Search a space, or build what a description says."""
    kind, told = case
    if kind == "search":
        space, algorithm, budget = told
        search = NeuralArchitectureSearch(space, algorithm)
        search.search_architecture(lambda architecture: float(len(str(architecture))), budget)
        search.get_search_summary()
    elif kind == "ranges":
        read_ranges(told)
    elif kind == "cell":
        network = build_model_from_architecture(told)
        assert torch.isfinite(network.eval()(torch.rand(2, *told["input_shape"]))).all()
    elif kind == "drawn cell":
        shape, seed = told
        space = create_nas_search_space(shape, 3, 3)
        network = build_model_from_architecture(space.decode(space.draw(np.random.default_rng(seed))))
        assert network.eval()(torch.rand(2, *shape)).shape == (2, 3)
    elif kind == "policy":
        HybridOptions(**{name: value for name, value in told.items() if name in HybridOptions.__dataclass_fields__})
    else:
        PTMConfig.of(told)


LORA = {"adapter_type": AdapterType.LORA}
SURFACES = [
    Surface("episode shapes", histories(), read_histories, ([columns(2, 40, 2)], 20, 10), (ValueError, UserError)),
    Surface("compression", compressions(), compress, ([torch.rand(6, 2)] * 4 + [torch.rand(6)], 3, "merged")),
    Surface("adapters", adapters(), adapt, (0, [LORA]), (ValueError, UserError)),
    Surface("architectures", architectures, build, ("drawn cell", ((5,), 0)), (ValueError, UserError)),
]
