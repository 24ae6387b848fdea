"""Searches find, count honestly and end; nothing is paid for twice."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_suite.benchmarks import Options, nas
from rl_suite.errors import UserError
from rl_suite.meta_learning import (
    NeuralArchitectureSearch,
    benchmark_nas_algorithms,
    build_model_from_architecture,
    create_nas_search_space,
    load_architecture_table,
)
from rl_suite.meta_learning.tuning.architecture import ALGORITHMS
from rl_suite.meta_learning.tuning.cells import EDGES, IMAGE_OPERATIONS, cell_expression
from rl_suite.meta_learning.tuning.spaces import Space
from rl_suite.meta_learning.tuning.tabular import LINKS

algorithms = pytest.mark.parametrize("algorithm", ALGORITHMS)
SPACE = {"link": list("abcd"), "op1": list(range(5)), "op2": list(range(5)), "op3": list(range(5))}


def value_of(architecture):
    return sum(architecture[f"op{i}"] for i in (1, 2, 3)) + 2 * (architecture["link"] == "c")


@algorithms
def test_a_search_of_a_plain_mapping_spends_its_budget_and_repeats_for_a_seed(algorithm):
    searches = [NeuralArchitectureSearch(SPACE, algorithm, 10, random_state=3) for _ in range(2)]
    found = [search.search_architecture(value_of, num_evaluations=60) for search in searches]
    assert searches[0].history == searches[1].history
    assert found[0] == found[1]
    assert len({item.key for item in searches[0].history}) == len(searches[0].history) == 60
    assert found[0][1] == value_of(found[0][0]) == max(item.value for item in searches[0].history)
    assert searches[0].best_so_far() == sorted(searches[0].best_so_far())


def test_what_learns_beats_random_search():
    result = benchmark_nas_algorithms(SPACE, value_of, 30, seeds=6)
    assert result.against("bayesian").low > 0
    assert result.against("local").low > 0
    assert result.curves["bayesian"].shape == (6, 30)
    assert result.as_json()["local"]["seeds"] == 6


@algorithms
def test_a_space_of_three_cells_ends(algorithm):
    calls = []
    search = NeuralArchitectureSearch({"cell": ["x", "y", "z"]}, algorithm)
    best = search.search_architecture(lambda a: calls.append(a) or len(calls), num_evaluations=50)
    assert len(calls) == 3
    assert best[1] == 3
    search.search_architecture(value_of, num_evaluations=5)  # nothing is left
    assert len(calls) == len(search.history) == 3


@algorithms
def test_failures_are_recorded_and_the_search_goes_on(algorithm):
    def evaluate(architecture):
        if architecture["link"] == "a":
            raise RuntimeError("out of memory")
        return math.nan if architecture["link"] == "b" else value_of(architecture)

    search = NeuralArchitectureSearch(SPACE, algorithm, random_state=1)
    architecture, value = search.search_architecture(evaluate, 60)
    assert architecture["link"] in "cd"
    summary = search.get_search_summary()
    assert summary["total_evaluations"] == 60
    assert summary["failed_evaluations"] == sum(item.architecture["link"] in "ab" for item in search.history) > 0
    assert any(item.error == "RuntimeError: out of memory" for item in search.history)
    assert summary["best_performance"] == value
    assert 0 <= summary["search_efficiency"]["improvement_rate"] <= 1


def test_bad_input_is_one_line():
    for space, problem in (
        ({}, "an empty space"),
        ({"a": []}, "'a' needs a list"),
        ({"a": "xyz"}, "'a' needs a list"),
        ({"a": [1, 1]}, "twice"),
        ([1, 2], "a mapping of names"),
    ):
        with pytest.raises(UserError, match=problem):
            NeuralArchitectureSearch(space)
    with pytest.raises(UserError, match="unknown algorithm"):
        NeuralArchitectureSearch(SPACE, "annealing")
    search = NeuralArchitectureSearch(SPACE, "random")
    with pytest.raises(UserError, match="at least 1"):
        search.search_architecture(value_of, 0)
    for budget in (1.0, None, True, "3", math.inf):
        with pytest.raises(UserError, match="num_evaluations must be a whole number"):
            search.search_architecture(value_of, budget)
    with pytest.raises(UserError, match="all 3 evaluations failed"):
        search.search_architecture(lambda architecture: math.nan, 3)
    for change, problem in (
        ({"operations": None}, "a cell has 6 operations"),
        ({"operations": [{}] * 6}, "a cell has 6 operations"),
        ({"input_shape": 5}, "input_shape is"),
        ({"input_shape": [3, 0, 8]}, "input_shape is"),
        ({"channels": 2**40}, "channels is a whole number"),
        ({"num_layers": 1.5}, "num_layers is a whole number"),
        ({"num_classes": True}, "num_classes is a whole number"),
    ):
        good = {"num_layers": 1, "channels": 4, "operations": ["skip"] * 6, "input_shape": (5,), "num_classes": 2}
        with pytest.raises(UserError, match=problem):
            build_model_from_architecture({**good, **change})
    with pytest.raises(UserError, match="is no choice"):
        Space(SPACE).encode({"link": "a", "op1": 9, "op2": 0, "op3": 0})


def test_the_order_of_names_does_not_matter():
    space = Space(SPACE)
    architecture = {"op3": 1, "op1": 2, "link": "b", "op2": 3}
    assert space.decode(space.encode(architecture)) == architecture
    assert space.key(space.encode(architecture)) == Space(dict(reversed(SPACE.items()))).key((1, 3, 2, 1))


@settings(max_examples=40)
@given(operations=st.lists(st.sampled_from(IMAGE_OPERATIONS), min_size=6, max_size=6), depth=st.integers(1, 4))
def test_cells_build_and_dead_edges_do_not_count(operations, depth):
    shape = {"num_layers": depth, "channels": 8, "input_shape": (2, 8, 8), "num_classes": 3}
    architecture = {**shape, "operations": operations}
    if not cell_expression(operations):
        with pytest.raises(UserError, match="does not depend"):
            build_model_from_architecture(architecture)
        return
    model = build_model_from_architecture(architecture)
    assert model(torch.rand(2, 2, 8, 8)).shape == (2, 3)
    for place, (a, b) in enumerate(EDGES):  # an edge that was not built may be anything without a change of the key
        if f"{a}{b}" not in model.cells[0].edges:
            pruned = [*operations[:place], "none", *operations[place + 1 :]]
            assert cell_expression(pruned) == cell_expression(operations)


def test_the_space_of_cells_as_documented():
    search_space = create_nas_search_space(input_shape=(3, 32, 32), num_classes=10, max_layers=20)
    nas_search = NeuralArchitectureSearch(search_space_config=search_space, algorithm="bayesian", population_size=50)

    def your_eval_function(architecture):
        return -abs(architecture["num_layers"] - 6) + architecture["operations"].count("conv3")

    best_arch, best_performance = nas_search.search_architecture(
        evaluation_function=your_eval_function, num_evaluations=30
    )
    assert best_performance > 0
    assert build_model_from_architecture({**best_arch, "num_layers": 2})(torch.rand(1, 3, 32, 32)).shape == (1, 10)
    reordered = dict(reversed(best_arch.items()))
    assert search_space.key(search_space.encode(reordered)) == search_space.key(search_space.encode(best_arch))


def test_found_networks_train():
    """Vectors of two interleaved classes; the best of a few cells tells them apart."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 4, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()

    def train_and_evaluate(architecture):
        torch.manual_seed(0)
        model = build_model_from_architecture(architecture)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(40):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[:128]), y[:128]).backward()
            optimizer.step()
        return float((model(x[128:]).argmax(1) == y[128:]).float().mean())

    space = create_nas_search_space((4,), 2, max_layers=2)
    search = NeuralArchitectureSearch(space, "evolutionary", population_size=4)
    assert search.search_architecture(train_and_evaluate, 8)[1] > 0.85


def test_tables_of_measured_architectures(shared_data, monkeypatch):
    monkeypatch.setenv("RL_SUITE_DATA", str(shared_data))
    table = load_architecture_table("proteins")
    assert table.space.size == 2021
    rng = np.random.default_rng(0)
    code = table.space.draw(rng)
    assert all(table.space.has(near) for near in table.space.neighbours(code))
    search = NeuralArchitectureSearch(table.space, "bayesian")
    best, value = search.search_architecture(table.evaluate, 60)
    assert table.regret(value) < 0.3
    assert 0 < table.measure(best, "test") < 1
    operations = ["gcn", "sage", "arma", "fc", "skip"]  # those of Proteins; two of three combinations were not trained
    plain = {"link": [list(link) for link in LINKS], **{f"op{i}": operations for i in range(1, 5)}}
    search = NeuralArchitectureSearch(plain, algorithm="bayesian", random_state=0)
    search.search_architecture(table.evaluate, num_evaluations=60)
    failed = [math.isnan(item.value) for item in search.history]
    assert sum(failed[30:]) < sum(failed[:30])  # it learns what was not trained
    with pytest.raises(UserError, match="unknown table"):
        load_architecture_table("citeseer")
    with pytest.raises(UserError, match="cora"):
        load_architecture_table("cora", shared_data)


def test_a_damaged_table_is_refused(tmp_path):
    arrays = {key: np.zeros(2, np.float32) for key in ("valid", "test", "latency", "parameters")}
    for change, problem in (
        ({"architecture": np.full((2, 5), 9, np.uint8)}, "codes of architectures"),
        ({"architecture": np.zeros((0, 5), np.uint8)}, "no table"),
        ({"valid": np.full(2, np.nan, np.float32)}, "column 'valid'"),
        ({"test": np.zeros(3, np.float32)}, "column 'test'"),
    ):
        np.savez(tmp_path / "cora.npz", **{"architecture": np.zeros((2, 5), np.uint8), **arrays, **change})
        with pytest.raises(UserError, match=problem):
            load_architecture_table("cora", tmp_path)


def test_the_benchmark_of_searches_still_works(shared_data, monkeypatch):
    monkeypatch.setenv("RL_SUITE_DATA", str(shared_data))
    result = nas.run(Options(quick=True))
    assert len(result.trials) == 2 * len(ALGORITHMS)
    assert all(trial["regret_estimate"] >= 0 for trial in result.trials)
