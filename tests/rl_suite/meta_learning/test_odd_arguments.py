"""Whatever is given to the public classes of tuning, adapters and tools: one line, and nothing is learnt or written."""

import copy
import math
import os
import stat

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.meta_learning import (
    AdapterConfig,
    AdapterModel,
    AdapterType,
    AdaptiveOptimizer,
    BayesianOptimizer,
    MultiModalAdapter,
    NeuralArchitectureSearch,
    TaskProfile,
    ToolMetaLearner,
    ToolProfile,
    ToolType,
    benchmark_nas_algorithms,
    create_nas_search_space,
    create_tool_optimization_benchmark,
)

NAN, INF = math.nan, math.inf
NO_NUMBERS = (NAN, INF, -INF, -1, "x", "", [], (), {}, None, b"x", object(), np.zeros(3), torch.zeros(2), int)
TOOLS = {"search": ToolProfile("search", ToolType.SEARCH)}
TASK = TaskProfile("t", "kind")


def one_line(function):
    """The message of the UserError that ``function`` raises."""
    with pytest.raises(UserError) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def lora(**options):
    return AdapterConfig(**{"adapter_type": AdapterType.LORA, **options})


@pytest.mark.parametrize("value", [0, *(value for value in NO_NUMBERS if value is not None), 0.5, 10**30])
@pytest.mark.parametrize(
    "name", ["lora_r", "lora_alpha", "hidden_dim", "prefix_length", "phm_dim", "num_heads", "input_dim"]
)
def test_sizes_of_adapters(name, value):
    if name == "lora_alpha" and isinstance(value, float) and value == 0.5:
        return
    assert name in one_line(lambda: lora(**{name: value}))


@pytest.mark.parametrize("name", ["rank_pattern", "alpha_pattern"])
def test_a_pattern_of_ranks_that_no_layer_matches(name):
    base = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    assert "nearest names: 0, 1" in one_line(lambda: AdapterModel(base, lora(**{name: {"zero": 2}})))
    AdapterModel(base, lora(**{name: {"1": 2}}))


@pytest.mark.parametrize("configs", [None, 3, NAN, "lora", [], [None], {"a": 1}, lora])
def test_adapters_that_are_none(configs):
    one_line(lambda: AdapterModel(nn.Linear(2, 2), configs))


@pytest.mark.parametrize("which", [3, NAN, True, [3], "nobody", object()])
def test_adapters_that_nobody_named(which):
    model = AdapterModel(nn.Linear(2, 2), lora())
    one_line(lambda: model.enable_adapters(which))


def test_a_layer_without_inputs_has_nothing_to_adapt():
    with pytest.warns(UserWarning, match="zero-element"):  # torch's own
        empty = nn.Linear(0, 0)
    for kind in AdapterType:
        one_line(lambda kind=kind: AdapterModel(empty, AdapterConfig(adapter_type=kind)))


@pytest.mark.parametrize("sizes", [3, np.zeros(3), {"text": 0}, {"text": NAN}, {"smell": 3}, {"text": 10**12}])
def test_sizes_of_modalities(sizes):
    config = AdapterConfig(adapter_type=AdapterType.MULTI_MODAL, input_dim=8)
    one_line(lambda: MultiModalAdapter(config, sizes))


def test_what_is_no_file_is_never_written_over(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, tmp_path / ""):
        assert "cannot be written" in one_line(lambda path=path: write_atomically(path, b"x"))
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    model = AdapterModel(nn.Linear(2, 2), lora())
    for path in (pipe, ".", "", "a\0b"):
        one_line(lambda path=path: model.save_adapters(path))


@pytest.mark.parametrize("name", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, True, 1e308])
@pytest.mark.parametrize("base", ["adam", "sgd"])
def test_rates_of_optimisers(base, name, value):
    assert name in one_line(lambda: AdaptiveOptimizer(nn.Linear(2, 1), base, **{name: value}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("meta_learning_rate", [0, -1, 2, NAN, INF, "x", [], 10**30, True]),
        ("total_steps", [0, -1, 0.5, NAN, "x", [], np.zeros(3)]),
        ("use_meta_learning", [1, "no", [], np.zeros(3)]),
        ("schedule", ["cos", None, 3, np.zeros(3)]),
        ("adaptation", ["none", None, 3, np.zeros(3)]),
        ("betas", ["x", [], {}, {"a": 1}]),
        ("model", [None, 3, [], "net"]),
    ],
)
def test_other_options_of_optimisers(name, values):
    for value in values:
        one_line(lambda value=value: AdaptiveOptimizer(**{"model": nn.Linear(2, 1), name: value}))


def trained_optimizer(width=2):
    model = nn.Linear(width, 1)
    optimizer = AdaptiveOptimizer(model)
    model(torch.ones(3, width)).square().mean().backward()
    optimizer.step(1.0)
    return model, optimizer


@pytest.mark.parametrize("loss", ["x", [], {}, torch.zeros(2), np.zeros(3), object()])
def test_losses_that_are_none(loss):
    model, optimizer = trained_optimizer()
    model(torch.ones(3, 2)).square().mean().backward()
    one_line(lambda: optimizer.step(loss))


def test_states_of_something_else_change_nothing():
    _, optimizer = trained_optimizer()
    own = optimizer.save_state()
    wrong = [{"modifier": "x"}, {"plateau": [1]}, {"good": [torch.zeros(3)]}, {"losses": 3}, {"optimizer": {}}]
    other = trained_optimizer(3)[1].save_state()
    for state in [None, 3, {}, [], other, *({**own, **change} for change in wrong)]:
        one_line(lambda state=state: optimizer.load_state(copy.deepcopy(state)))
    now = optimizer.save_state()
    assert now["losses"] == own["losses"]
    assert now["modifier"] == own["modifier"]
    optimizer.load_state(own)


@pytest.mark.parametrize("seed", [-1, 0.5, NAN, "x", None, [1], object()])
def test_seeds(seed):
    for make in (
        lambda: BayesianOptimizer({"x": (0.0, 1.0)}, random_state=seed),
        lambda: NeuralArchitectureSearch({"x": [1, 2]}, random_state=seed),
        lambda: ToolMetaLearner(TOOLS, seed=seed),
    ):
        one_line(make)


@pytest.mark.parametrize("task", [None, 3, "task", {}, object()])
def test_tasks_that_are_none(task):
    learner = ToolMetaLearner(TOOLS)
    for call in (
        lambda: learner.optimize_task_execution(task),
        lambda: learner.pareto_front(task),
        lambda: learner.predict_success(task, ["search"]),
        lambda: learner.learn_from_execution(task, {"tool_sequence": ["search"], "success": True}),
    ):
        one_line(call)
    assert learner.get_meta_learning_report()["learning_summary"]["executions"] == 0


@pytest.mark.parametrize("kind", [None, 3, NAN, ["a"], object()])
def test_types_of_tasks(kind):
    assert "task_type" in one_line(lambda: TaskProfile("t", kind))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tasks", [None, 3, [], "x", [1], np.zeros(3)]),
        ("num_executions", [0, 0.5, NAN, None, "x"]),
        ("seeds", [1, 2.5, NAN, None, "x"]),
        ("agents", [None, 3, [], ["nobody"], [None]]),
    ],
)
def test_benchmarks_of_tools(name, values):
    for value in values:
        given = {"tools": TOOLS, "tasks": [TASK], "num_executions": 2, "seeds": 2, name: value}
        one_line(lambda given=given: create_tool_optimization_benchmark(**given))


@pytest.mark.parametrize(
    "bounds",
    [(-1e308, 1e308), (0, 2**63), (10**30, 10**31), (1, 10**9, "log"), (NAN, 1.0), (0.0, INF), (1, 0), (True, False)],
)
def test_bounds_that_cannot_be_searched(bounds):
    assert one_line(lambda: BayesianOptimizer({"rate": bounds})).startswith("rate: ")


@pytest.mark.parametrize("name", [(1, 2), b"x", None, NAN])
def test_names_that_are_none(name):
    one_line(lambda: BayesianOptimizer({name: (0.0, 1.0)}))
    one_line(lambda: NeuralArchitectureSearch({name: [1, 2]}))


SPACE = {"x": (0.0, 1.0), "kind": ["a", "b"]}


@pytest.mark.parametrize(
    "conditions",
    [
        3,
        NAN,
        np.zeros(3),
        {"x": 1},
        {"x": ("kind",)},
        {"x": ("kind", "a")},
        {"x": ("kind", ["c"])},
        {"x": ("y", ["a"])},
    ],
)
def test_conditions_that_never_hold(conditions):
    one_line(lambda: BayesianOptimizer(SPACE, conditions=conditions))


def test_what_is_told_to_a_search():
    search = BayesianOptimizer(SPACE)
    point = {"x": 0.5, "kind": "a"}
    for params in (None, 3, [], "x", {}, {"x": 0.5}, {**point, "x": NAN}, {**point, "x": True}, {**point, "z": 1}):
        one_line(lambda params=params: search.tell(params, 1.0))
        one_line(lambda params=params: search.propose(params))
    for score in ("x", None, [], torch.zeros(2), object()):
        one_line(lambda score=score: search.tell(point, score))
    for constraints in (3, "x", ["x"], [None], {1.0}):
        one_line(lambda constraints=constraints: search.tell(point, 1.0, constraints))
    assert len(search) == 0
    search.tell(point, 1.0)
    assert "as many constraints" in one_line(lambda: search.tell({"x": 0.1, "kind": "b"}, 1.0, [0.5]))
    for function in (None, 3, "x"):
        assert "must be a function" in one_line(lambda function=function: search.optimize(function, 2))
        nas = NeuralArchitectureSearch({"x": [1, 2]})
        assert "must be a function" in one_line(lambda function=function, nas=nas: nas.search_architecture(function, 2))
    for workers in (0, -1, "x", NAN, 1.5):
        one_line(lambda workers=workers: search.optimize(len, 2, executor="processes", workers=workers))


@pytest.mark.parametrize(
    ("shape", "classes", "layers"),
    [
        (3, 2, 1),
        ("x", 2, 1),
        ((0,), 2, 1),
        ((1.5,), 2, 1),
        ((NAN,), 2, 1),
        ((10**9,), 2, 1),
        ((1, 2), 2, 1),
        ((4,), "x", 1),
        ((4,), 0, 1),
        ((4,), 2.5, 1),
        ((4,), 2, None),
        ((4,), 2, 10**30),
    ],
)
def test_spaces_of_cells(shape, classes, layers):
    one_line(lambda: create_nas_search_space(shape, classes, layers))


@pytest.mark.parametrize("objectives", [0, 3, "x", [], ["a", "b"], {}, {"a": "max"}, {"a": "up", "b": "max"}])
def test_objectives(objectives):
    one_line(lambda: NeuralArchitectureSearch({"x": [1, 2]}, objectives=objectives))


def test_comparisons_of_searches():
    for options in (
        {"num_evaluations": 0},
        {"num_evaluations": NAN},
        {"seeds": 0},
        {"algorithms": []},
        {"algorithms": 3},
    ):
        given = {"num_evaluations": 2, "seeds": 2, **options}
        one_line(lambda given=given: benchmark_nas_algorithms({"x": [1, 2]}, len, **given))


@pytest.mark.parametrize("name", ["stages", "alternatives", "job_types", "calls", "drift", "latency_price"])
@pytest.mark.parametrize("value", [NAN, -1, "x", None, [], 10**30])
def test_the_world_of_tools(name, value):
    with pytest.raises(ValueError, match=rf"{name}|too much") as caught:
        gym.make("envs:rl_suite/ToolUse-v0", **{name: value})
    assert "\n" not in str(caught.value)
