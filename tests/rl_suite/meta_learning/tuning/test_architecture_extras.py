"""Several objectives, early ends, batches on executors, and the search by gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rl_suite.errors import UserError
from rl_suite.meta_learning import CellTask, NeuralArchitectureSearch, create_nas_search_space
from rl_suite.meta_learning.tuning.darts.search import preferred, rank_cells, skip_share
from rl_suite.meta_learning.tuning.darts.supernet import Supernet, mixture_gradient
from rl_suite.meta_learning.tuning.objectives import front, judge
from rl_suite.meta_learning.tuning.spaces import Space
from rl_suite.meta_learning.tuning.strategies import SurrogateSearch
from rl_suite.meta_learning.tuning.surrogate import ArchitectureProcess, Candidates

SPACE = {"depth": [1, 2, 3, 4, 5, 6], "width": [8, 16, 32, 64, 128], "kind": ["a", "b", "c"]}
OBJECTIVES = {"accuracy": "max", "parameters": "min"}


def value_of(architecture):
    """At module level, so that worker processes find it."""
    return architecture["depth"] * np.log(architecture["width"]) - 3 * (architecture["kind"] == "b")


def measure(architecture):
    size = architecture["depth"] * architecture["width"] ** 2
    return {"accuracy": np.tanh(size / 20_000) - 0.1 * (architecture["kind"] == "b"), "parameters": size}


def test_the_front_by_hand_and_scores_under_weights():
    assert front([(1.0, 1.0), (2.0, 0.0), (0.0, 2.0), (0.5, 0.5), (2.0, -1.0)]) == [0, 1, 2]
    rng = np.random.default_rng(0)
    assert judge([(3.0,), (1.0,)], rng).tolist() == [3.0, 1.0]
    winners = {int(judge([(1.0, 3.0), (3.0, 1.0), (2.0, 0.0)], rng).argmax()) for _ in range(40)}
    assert winners == {0, 1}  # never the one that the second beats


@pytest.mark.parametrize("algorithm", ["random", "evolutionary", "bayesian"])
def test_two_objectives_find_a_front(algorithm):
    search = NeuralArchitectureSearch(SPACE, algorithm, 10, random_state=1, objectives=OBJECTIVES)
    best, accuracy = search.search_architecture(measure, 45)
    found = [item.measured for item in search.front()]
    for one in found:
        for other in found:
            beaten = other["accuracy"] >= one["accuracy"] and other["parameters"] <= one["parameters"]
            assert not beaten or other == one
    assert len(found) >= 5
    assert accuracy == max(item.value for item in search.history) == measure(best)["accuracy"]


def test_the_surrogate_finds_a_better_front_than_random_search():
    """Mean over budgets of parameters of the best accuracy within them; four more choices have a right value each."""
    space = {**SPACE, **{f"right{i}": ["no", "yes", "never"] for i in range(4)}}

    def measure_all(architecture):
        found = measure(architecture)
        wrong = sum(architecture[f"right{i}"] != "yes" for i in range(4))
        return {**found, "accuracy": found["accuracy"] - 0.1 * wrong}

    def worth(algorithm, seed):
        search = NeuralArchitectureSearch(space, algorithm, random_state=seed, objectives=OBJECTIVES)
        search.search_architecture(measure_all, 40)
        within = [[item.value for item in search.front() if item.measured["parameters"] <= top] for top in (4e3, 3e4)]
        return np.mean([max(values, default=-1.0) for values in within])

    assert np.mean([worth("bayesian", seed) - worth("random", seed) for seed in range(4)]) > 0.03


def test_bad_objectives_are_one_line():
    for more, problem in (
        ({"objectives": {"a": "max"}}, "two or more"),
        ({"objectives": OBJECTIVES, "algorithm": "local"}, "another algorithm"),
        ({"objectives": {"a": "up", "b": "max"}}, "unknown direction"),
        ({"darts_order": "second"}, "'darts' only"),
        ({"algorithm": "darts"}, "a space of cells"),
    ):
        with pytest.raises(UserError, match=problem):
            NeuralArchitectureSearch(SPACE, **more)
    search = NeuralArchitectureSearch(SPACE, "random", objectives=OBJECTIVES)
    with pytest.raises(UserError, match="'parameters'"):
        search.search_architecture(lambda a: {"accuracy": 1.0}, 3)


@pytest.mark.parametrize("algorithm", ["random", "evolutionary", "local", "bayesian"])
def test_bad_candidates_end_early(algorithm):
    steps = []

    def train(architecture):
        for epoch in range(1, 11):
            steps.append(epoch)
            yield value_of(architecture) * (1 - 0.5**epoch)

    search = NeuralArchitectureSearch(SPACE, algorithm, random_state=2)
    best, value = search.search_architecture(train, 50)
    summary = search.get_search_summary()
    assert summary["stopped_early"] > 5
    assert len(steps) == sum(len(item.curve) for item in search.history) < 0.9 * 500
    whole = [item for item in search.history if not item.stopped]
    assert all(len(item.curve) == 10 for item in whole)
    assert value == max(item.value for item in whole)
    assert value_of(best) > np.median([value_of(item.architecture) for item in search.history])


def test_an_evaluation_that_yields_nothing_or_nan_has_failed():
    search = NeuralArchitectureSearch(SPACE, "random")
    with pytest.raises(UserError, match="must yield a number"):
        search.search_architecture(lambda a: iter(()), 2)
    search.search_architecture(lambda a: iter((1.0, float("nan") if a["kind"] == "a" else 2.0)), 20)
    assert {item.architecture["kind"] for item in search.history[2:] if np.isnan(item.value)} == {"a"}


@pytest.mark.parametrize("algorithm", ["random", "evolutionary", "local", "bayesian"])
def test_a_batch_knows_what_is_being_evaluated(algorithm):
    search = NeuralArchitectureSearch(SPACE, algorithm, 8, random_state=0)
    search.search_architecture(value_of, 33, batch_size=4)
    assert len({item.key for item in search.history}) == 33
    again = NeuralArchitectureSearch(SPACE, algorithm, 8, random_state=0)
    again.search_architecture(value_of, 33, batch_size=4)
    assert again.history == search.history


def test_processes_give_the_serial_search():
    searches = [NeuralArchitectureSearch(SPACE, "bayesian", random_state=4) for _ in range(2)]
    searches[0].search_architecture(value_of, 12, batch_size=12)
    searches[1].search_architecture(value_of, 12, batch_size=12, executor="processes", workers=1)
    assert searches[0].history == searches[1].history


def test_the_process_is_the_textbooks_and_forgets_what_failed():
    space = Space(SPACE)
    codes = list(space.all())
    pool = Candidates(space, codes)
    process = ArchitectureProcess(space)
    observed, scores = [codes[3], codes[40], codes[71]], np.array([1.0, -0.5, 0.2])
    process.see([observed[0], codes[9], codes[10]], pool)  # two that fail afterwards
    process.see(observed, pool)
    kernel = np.stack([pool.similarity(space, code)[0] for code in observed]).astype(float)  # (3, n)
    among = np.stack([Candidates(space, observed).similarity(space, code)[0] for code in observed]).astype(float)
    inverse = np.linalg.inv(among + 0.3 * np.eye(3))
    centre = scores.mean()
    np.testing.assert_allclose(process.mean(pool, scores), centre + kernel.T @ inverse @ (scores - centre), atol=1e-5)
    expected = 1.0 - np.einsum("in,ij,jn->n", kernel, inverse, kernel)
    np.testing.assert_allclose(pool.variance, expected, atol=1e-5)


def test_graphs_are_found_in_plain_mappings_and_described_by_hand():
    operations = ["gcn", "gat", "skip"]
    space = Space({"link": [[0, 1, 1], [0, 0, 2]], "a": operations, "b": operations, "c": operations})
    assert space.graph is not None
    row = space.describe_graph([(0, 0, 2, 1)])[0]  # a = gcn reads the input; b = skip and c = gat read a
    follows, last, lengths = row[:12].reshape(4, 3), row[12:15], row[15:19]
    assert follows.tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]  # after gcn, gat, skip, the input
    assert last.tolist() == [0, 1, 1]
    assert lengths.tolist() == [0, 1, 1, 0]  # skip makes no path longer
    assert row[19:].reshape(2, 4).argmax(1).tolist() == [2, 1]  # the longest and the shortest
    for other in ({"link": [[0, 1], [0, 0]]}, {"link": [[0, 2, 1]]}, {"link": ["abc"]}, {"link": [[0, 0, True]]}):
        assert Space({**other, "a": operations, "b": operations, "c": operations}).graph is None
    assert Space(SPACE).graph is None


def test_large_spaces_are_drawn_from():
    space = Space({f"op{i}": list("abcdefgh") for i in range(8)})
    search = NeuralArchitectureSearch(space, "bayesian")
    _, value = search.search_architecture(lambda a: sum(v == "c" for v in a.values()), 40)
    assert isinstance(search._strategy, SurrogateSearch)
    assert search._strategy.everything is None
    assert value >= 5


def task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 4, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    return CellTask(x[:200], y[:200], x[200:], y[200:], steps=50)


@pytest.mark.parametrize("order", ["first", "second"])
def test_darts_finds_a_cell_that_learns(order):
    space = create_nas_search_space((4,), 2, max_layers=1)
    search = NeuralArchitectureSearch(space, "darts", darts_order=order)
    _, value = search.search_architecture(task(), 2)
    summary = search.get_search_summary()
    assert value > 0.75  # it may collapse to skips here, which is a network of one layer, and says so
    assert summary["order"] == order
    assert summary["collapsed"] == (summary["skip_share"] >= 0.5)
    assert all("none" not in item.architecture["operations"] for item in search.history)
    with pytest.raises(UserError, match="CellTask"):
        NeuralArchitectureSearch(space, "darts").search_architecture(value_of, 3)


def test_the_second_order_gradient_is_that_of_a_finite_difference():
    torch.manual_seed(0)
    space = create_nas_search_space((3,), 2, max_layers=1)
    net = Supernet(space, 1, 4).double()
    mixture = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    data = [(torch.randn(8, 3, dtype=torch.float64), torch.randint(2, (8,))) for _ in range(2)]
    found = mixture_gradient(net, mixture, *data, rate=0.5)
    weights = dict(net.named_parameters())

    def loss(values):
        slopes = torch.autograd.grad(F.cross_entropy(net(data[0][0], values), data[0][1]), list(weights.values()))
        moved = {name: w - 0.5 * g for (name, w), g in zip(weights.items(), slopes, strict=True)}
        outputs = torch.func.functional_call(net, moved, (data[1][0], values))
        return float(F.cross_entropy(outputs, data[1][1]).detach())

    step = torch.zeros_like(mixture)
    step[2, 3] = 1e-5
    slope = (loss(mixture.detach() + step) - loss(mixture.detach() - step)) / 2e-5
    assert float(found[2, 3]) == pytest.approx(slope, rel=1e-4)
    first = mixture_gradient(net, mixture, *data, rate=0.0)
    assert not torch.allclose(first, found)


def test_a_collapse_to_skips_is_said(monkeypatch, capsys):
    space = create_nas_search_space((4,), 2, max_layers=1)
    skips = torch.zeros(6, 5)
    skips[:4, 1] = 3.0  # of none, skip, linear_relu, linear_gelu, linear_tanh
    skips[4:, 2] = 3.0
    skips[:, 0] = 9.0  # "none" is never chosen
    monkeypatch.setattr("rl_suite.meta_learning.tuning.darts.search.train_mixture", lambda *given: skips)
    search = NeuralArchitectureSearch(space, "darts")
    search.search_architecture(task(), 1)
    assert search.get_search_summary()["collapsed"]
    assert search.get_search_summary()["skip_share"] == pytest.approx(4 / 6)
    assert "67% of the best cell are skip connections" in capsys.readouterr().err
    cell = preferred(space, skips.numpy())
    assert skip_share(cell) == pytest.approx(4 / 6)
    assert space.decode(rank_cells(space, skips.numpy())[0])["operations"] == cell
