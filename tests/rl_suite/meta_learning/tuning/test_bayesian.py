"""Bayesian optimisation: finds the optimum, in either direction alike, and goes on whatever the objective does."""

import math

import numpy as np
import pytest

from rl_suite.errors import UserError
from rl_suite.meta_learning import BayesianOptimizer, draw_search

SQUARE = {"x": (-5.0, 10.0), "y": (0.0, 15.0)}


def branin(p):
    """Branin's function minus its minimum (0.397887)."""
    x, y = p["x"], p["y"]
    valley = (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2
    return valley + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10 - 0.397887


def points(search):
    return [item["params"] for item in search.get_optimization_history()]


def test_branin_is_found_and_minimising_visits_the_same_points():
    down = BayesianOptimizer(SQUARE, maximize=False, random_state=1)
    up = BayesianOptimizer(SQUARE, random_state=1)
    best, regret = down.optimize(branin, n_iterations=30)
    assert 0 <= regret < 0.02
    assert branin(best) == regret
    assert up.optimize(lambda p: -branin(p), n_iterations=30)[0] == best
    assert points(up) == points(down)


@pytest.mark.parametrize("acquisition", ["ei", "ucb", "pi"])
def test_every_acquisition_beats_its_own_random_start(acquisition):
    search = BayesianOptimizer({"x": (0.0, 1.0)}, acquisition)
    search.optimize(lambda p: -((p["x"] - 0.3) ** 2), n_iterations=16)
    curve = [item["best_score"] for item in search.get_optimization_history()]
    assert curve[-1] > curve[9]
    assert curve[-1] > -5e-3


def test_acquisitions_differ():
    def visit(acquisition, **more):
        search = BayesianOptimizer(SQUARE, acquisition, n_initial_points=4, **more)
        search.optimize(branin, n_iterations=7)
        return points(search)

    assert len({str(visit(name)) for name in ("ei", "ucb", "pi")}) == 3
    assert visit("ucb", exploration_weight=0.1) != visit("ucb", exploration_weight=5.0)


def test_the_documents_example():
    def your_objective(params):
        assert isinstance(params["batch_size"], int)
        return -abs(np.log10(params["learning_rate"]) + 3)

    parameter_space = {"learning_rate": (1e-5, 1e-2), "batch_size": (16, 128), "weight_decay": (1e-6, 1e-3)}
    optimizer = BayesianOptimizer(parameter_space=parameter_space, acquisition_function="ei")
    best_params, best_score = optimizer.optimize(objective_function=your_objective, n_iterations=14)
    assert set(best_params) == set(parameter_space)
    assert best_score > -1


def test_kinds_of_ranges_and_conditions():
    space = {"rate": (1e-6, 1.0, "log"), "kind": ["adam", "sgd"], "momentum": (0.0, 0.99)}
    search = BayesianOptimizer(space, conditions={"momentum": ("kind", ["sgd"])}, n_initial_points=6)
    seen = []
    search.optimize(lambda p: seen.append(p) or len(seen) * 0.1 - abs(math.log10(p["rate"]) + 3), n_iterations=9)
    assert all(("momentum" in p) == (p["kind"] == "sgd") for p in seen)
    assert {p["kind"] for p in seen} == {"adam", "sgd"}
    assert min(p["rate"] for p in seen) < 1e-3 < max(p["rate"] for p in seen)
    assert points(search) == seen


def test_failures_are_recorded_and_the_search_goes_on():
    def fragile(p):
        if p["x"] > 0.7:
            raise RuntimeError("diverged")
        return math.nan if p["x"] < 0.1 else p["x"]

    search = BayesianOptimizer({"x": (0.0, 1.0)}, random_state=2, n_initial_points=6)
    best, score = search.optimize(fragile, n_iterations=16)
    assert 0.1 <= best["x"] == score <= 0.7
    history = search.get_optimization_history()
    assert len(history) == 16
    assert any(math.isnan(item["score"]) for item in history)
    with pytest.raises(UserError, match="no evaluation succeeded"):
        BayesianOptimizer({"x": (0.0, 1.0)}).optimize(lambda p: math.nan, 3)


def test_a_search_goes_on_from_its_file_as_if_it_had_never_stopped(tmp_path):
    whole = BayesianOptimizer(SQUARE, random_state=5, n_initial_points=4)
    whole.optimize(branin, n_iterations=8)
    BayesianOptimizer(SQUARE, random_state=5, n_initial_points=4, storage=tmp_path / "s.log").optimize(branin, 5)
    rest = BayesianOptimizer(SQUARE, random_state=5, n_initial_points=4, storage=tmp_path / "s.log")
    rest.optimize(branin, 3)
    assert points(rest) == points(whole)
    with pytest.raises(UserError, match="other direction"):
        BayesianOptimizer(SQUARE, maximize=False, storage=tmp_path / "s.log")


def test_batches_and_points_of_ones_own():
    search = BayesianOptimizer(SQUARE, n_initial_points=4)
    search.tell({"x": 3.0, "y": 2.0}, -branin({"x": 3.0, "y": 2.0}))
    for _ in range(2):
        batch = search.suggest_batch(3)
        assert len({str(p) for p in batch}) == 3
        for p in reversed(batch):
            search.tell(p, -branin(p))
    assert len(search.get_optimization_history()) == 7
    assert search.best()[1] == max(item["score"] for item in search.get_optimization_history())
    with pytest.raises(UserError, match="must name x, y"):
        search.tell({"x": 1.0}, 0.0)


def test_what_breaks_a_constraint_is_not_the_best():
    search = BayesianOptimizer({"x": (0.0, 1.0)}, n_initial_points=4)
    for _ in range(12):
        p = search.suggest_next_point()
        search.tell(p, p["x"], constraints=[p["x"] - 0.5])
    best, score = search.best()
    assert 0.4 < best["x"] == score <= 0.5


@pytest.mark.slow
def test_an_optimum_at_the_bound_runs_200_trials():
    search = BayesianOptimizer({"x": (0.0, 1.0), "n": (1, 8)})
    best, _ = search.optimize(lambda p: p["x"] + p["n"], n_iterations=200)
    assert best == {"x": 1.0, "n": 8}


def test_an_optimum_at_the_bound_is_reached_without_error():
    search = BayesianOptimizer({"x": (0.0, 1.0), "n": (1, 8)}, n_initial_points=4)
    best, _ = search.optimize(lambda p: p["x"] + p["n"], n_iterations=25)
    assert best == {"x": 1.0, "n": 8}


@pytest.mark.parametrize(
    ("space", "more", "problem"),
    [
        ({}, {}, "an empty space"),
        ({"x": (1.0, 0.0)}, {}, "lower bound 1.0 is not below"),
        ({"x": (0.0, 1.0, "log")}, {}, "begins above 0"),
        ({"x": (0.0, math.inf)}, {}, "finite"),
        ({"x": []}, {}, "different choices"),
        ({"x": 3}, {}, "give .low, high."),
        (3, {}, "an empty space"),
        ({"x": (0, 10**400)}, {}, "bounds are finite numbers"),
        ({"x": (-(10**400), 0.5)}, {}, "bounds are finite numbers"),
        ({"x": (0, 1)}, {"acquisition_function": "eii"}, "unknown acquisition"),
        ({"x": (0, 1)}, {"exploration_weight": 1.0}, "'ucb' only"),
        ({"x": (0, 1)}, {"n_initial_points": 0}, "at least 1"),
        ({"x": (0, 1)}, {"conditions": {"y": ("x", [1])}}, "unknown parameter"),
        ({"x": (0, 1)}, {"conditions": {"x": ("x", [1])}}, "another parameter"),
    ],
)
def test_bad_input_is_one_line(space, more, problem):
    with pytest.raises(UserError, match=problem):
        BayesianOptimizer(space, **more)


@pytest.mark.parametrize(
    "point", [{"x": 5.0, "n": 2, "kind": "a"}, {"x": 0.5, "n": 2.5, "kind": "a"}, {"x": 0.5, "n": 2, "kind": "c"},
              {"x": "much", "n": 2, "kind": "a"}, {"x": math.nan, "n": 2, "kind": "b"}]
)  # fmt: skip
def test_points_outside_are_one_line(point):
    search = BayesianOptimizer({"x": (0.0, 1.0), "n": (1, 3), "kind": ["a", "b"]})
    with pytest.raises(UserError, match="does not lie in"):
        search.tell(point, 1.0)
    with pytest.raises(UserError, match="does not lie in"):
        search.propose(point)
    assert len(search) == 0


def test_no_budget_is_an_error():
    with pytest.raises(UserError, match="at least 1"):
        BayesianOptimizer({"x": (0, 1)}).optimize(lambda p: 0.0, 0)


def valley(p):
    """At module level, so that worker processes find it."""
    return -((p["x"] - 3.0) ** 2) - (p["y"] - 4.0) ** 2


def test_processes_give_the_serial_search():
    def search(**more):
        optimizer = BayesianOptimizer(SQUARE, random_state=7, n_initial_points=3)
        optimizer.optimize(valley, 4, batch_size=2, **more)
        return optimizer.get_optimization_history()

    assert search() == search(executor="processes", workers=1)


def test_what_was_cut_short_is_finished_first(tmp_path):
    """A kill between two points of a batch changes nothing but the time that it takes."""
    whole = BayesianOptimizer(SQUARE, random_state=5, n_initial_points=3)
    whole.optimize(valley, 8, batch_size=4)

    def make():
        return BayesianOptimizer(SQUARE, random_state=5, n_initial_points=3, storage=tmp_path / "s.log")

    killed = make()
    batch = killed.suggest_batch(4)
    for p in batch[:2]:
        killed.tell(p, valley(p))
    rest = make()
    rest.optimize(valley, 6, batch_size=4)
    assert points(rest) == points(whole)


@pytest.mark.parametrize("maximize", [True, False])
def test_what_is_behind_is_ended_early(maximize):
    sign = 1 if maximize else -1
    steps = []

    def train(p):
        for step in range(1, 6):
            steps.append(step)
            yield sign * (1 - (p["x"] - 0.3) ** 2) * (1 - 0.5**step)

    search = BayesianOptimizer({"x": (0.0, 1.0)}, maximize=maximize, n_initial_points=12, random_state=1)
    best, score = search.optimize(train, 14)
    history = search.get_optimization_history()
    stopped = [item for item in history if item["stopped"]]
    assert 2 <= len(stopped) < 9
    assert len(steps) < 14 * 5
    assert abs(best["x"] - 0.3) < min(abs(item["params"]["x"] - 0.3) for item in stopped)
    assert sign * score == max(sign * item["score"] for item in history if not item["stopped"])


def test_a_search_is_drawn(tmp_path):
    space = {"rate": (1e-6, 1.0, "log"), "kind": ["adam", "sgd"], "momentum": (0.0, 0.99)}
    search = BayesianOptimizer(space, conditions={"momentum": ("kind", ["sgd"])})
    with pytest.raises(UserError, match="nothing to draw"):
        draw_search(search, tmp_path / "no.png")
    search.optimize(lambda p: math.nan if p["rate"] > 0.1 else math.log10(p["rate"]), 8)
    draw_search(search, tmp_path / "search.png")
    assert (tmp_path / "search.png").read_bytes()[:4] == b"\x89PNG"
