"""The search on BoTorch: better than random, the same after a stop, and one line where the extra is missing."""

import importlib.util
import sys

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rl_suite.errors import UserError
from rl_suite.meta_learning import BayesianOptimizer
from rl_suite.meta_learning.tuning.unit_cube import UnitCube

needs_botorch = pytest.mark.skipif(importlib.util.find_spec("botorch") is None, reason="needs the extra botorch")
SPACE = {"rate": (1e-4, 1.0, "log"), "size": (1, 9), "kind": ["a", "b"]}


def worth(p):
    return -abs(np.log10(p["rate"]) + 2) - abs(p["size"] - 6) / 4 - (p["kind"] == "a")


def make(acquisition="ei", maximize=True, **more):
    return BayesianOptimizer(SPACE, acquisition, 5, maximize=maximize, random_state=3, engine="botorch", **more)


@needs_botorch
@pytest.mark.parametrize("acquisition", ["ei", "ucb", "pi"])
def test_every_acquisition_beats_its_own_random_start(acquisition):
    search = make(acquisition)
    search.optimize(worth, 12)
    scores = [item["score"] for item in search.get_optimization_history()]
    assert max(scores[5:]) > max(scores[:5])


@needs_botorch
def test_it_minimises_goes_on_from_its_file_and_knows_what_is_being_tried(tmp_path):
    whole = make(maximize=False)
    whole.optimize(lambda p: -worth(p), 8)
    make(maximize=False, storage=tmp_path / "s.log").optimize(lambda p: -worth(p), 6)
    rest = make(maximize=False, storage=tmp_path / "s.log")
    rest.optimize(lambda p: -worth(p), 2)
    assert rest.get_optimization_history() == whole.get_optimization_history()
    batch = rest.suggest_batch(2)
    assert batch[0] != batch[1]


@needs_botorch
def test_constraints_are_refused():
    search = make()
    for _ in range(5):
        search.tell(point := search.suggest_next_point(), worth(point), constraints=[-1.0])
    with pytest.raises(UserError, match="no constraints"):
        search.suggest_next_point()


def test_without_the_extra_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(UserError, match=r"rl_suite\[botorch\]"):
        make().suggest_next_point()
    with pytest.raises(UserError, match="engine"):
        BayesianOptimizer(SPACE, engine="botroch")


def test_the_cube_and_back():
    cube = UnitCube(
        {
            "rate": FloatDistribution(1e-4, 1.0, log=True),
            "size": IntDistribution(1, 9),
            "power": IntDistribution(1, 64, log=True),
            "kind": CategoricalDistribution([True, 1.5, "b"]),
        }
    )
    rng = np.random.default_rng(0)
    assert cube.encode([]).shape == (0, 6)
    for point in rng.random((50, 6)):
        settings = cube.decode(point)
        (again,) = cube.encode([settings])
        assert cube.decode(again) == pytest.approx(settings)
        assert (again >= 0).all()
        assert (again <= 1).all()
    sizes = [cube.decode(np.array([0, x, 0, 1, 0, 0]))["size"] for x in np.linspace(0, 1, 901)]
    assert np.bincount(sizes)[1:].tolist() == pytest.approx([100] * 9, abs=2)  # every whole number owns the same share
