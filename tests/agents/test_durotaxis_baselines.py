import math

import numpy as np
import pytest
from gymnasium import spaces

from agents.durotaxis_baselines import (
    BiasedRandom,
    Constant,
    DurotaxisActions,
    UpGradient,
    constant_actions,
    plane_slope,
    treadmill,
)
from agents.protocol import Agent
from envs.spaces import HybridBox

RATIO, PER_NODE = spaces.Box(-1.0, 1.0, (3,), np.float32), HybridBox(nvec=[3], n_continuous=4, n_parts=60)
SPAWN, DELETE, STAY = range(3)


def colonies(direction, n_nodes=50, n=7, slope=1.0, n_parts=60, critical=64, seed=0):
    """Observations of n colonies on planes that rise in ``direction``."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, n_parts, 11), np.float32)
    places = rng.normal(size=(n, n_nodes, 2))
    places -= places.mean(axis=1, keepdims=True)
    x[:, :n_nodes, :2] = places
    x[:, :n_nodes, 2] = slope * places @ [math.cos(direction), math.sin(direction)]
    graph = np.zeros((n, 19), np.float32)
    graph[:, 0] = n_nodes / critical
    return {"x": x, "node_mask": np.tile(np.arange(n_parts) < n_nodes, (n, 1)).astype(np.int8), "graph": graph}


@pytest.mark.parametrize("space", [RATIO, PER_NODE], ids=["ratio", "per_node"])
@pytest.mark.parametrize("make", [UpGradient, BiasedRandom, treadmill], ids=["scripted", "biased", "constant"])
def test_every_baseline_acts_inside_the_space(space, make):
    agent = make(space)
    assert isinstance(agent, Agent)
    for n_nodes in (2, 50, 60):
        actions, _ = agent.predict(colonies(1.0, n_nodes=n_nodes))
        assert actions.shape == (7, *space.shape)
        assert all(action in space for action in actions)


@pytest.mark.parametrize("direction", [0.3, 2.0, -2.9])
def test_the_scripted_agent_reads_the_slope(direction):
    ratio = UpGradient(RATIO).predict(colonies(direction))[0]
    assert np.arctan2(ratio[:, 2], ratio[:, 1]) == pytest.approx(direction, abs=1e-3)
    np.testing.assert_allclose((1 + ratio[:, 0]) / 2 * 50, 50 - 0.875 * 64 / 2 + 0.5, rtol=1e-5)
    seen = colonies(direction)
    parts = UpGradient(PER_NODE, fan=0.0).predict(seen)[0].reshape(7, 60, 5)
    assert parts[:, :50, 4] * math.pi == pytest.approx(direction, abs=1e-3)
    for part, softness in zip(parts[:, :50, 0], seen["x"][:, :50, 2], strict=True):
        assert np.sum(part == DELETE) == 22
        assert np.sum(part == SPAWN) == 28
        assert softness[part == DELETE].max() < softness[part == SPAWN].min()


def test_it_keeps_a_small_colony_alive():
    for n_nodes in (1, 2, 20):
        parts = UpGradient(PER_NODE).predict(colonies(0.0, n_nodes=n_nodes))[0].reshape(7, 60, 5)
        assert (parts[:, :n_nodes, 0] == SPAWN).all()
        ratio = UpGradient(RATIO).predict(colonies(0.0, n_nodes=n_nodes))[0]
        assert ((1 + ratio[:, 0]) / 2 * n_nodes < 1).all()


def test_on_flat_ground_it_takes_all_directions():
    agent = UpGradient(RATIO)
    angles = np.concatenate(
        [np.arctan2(a[:, 2], a[:, 1]) for a in (agent.predict(colonies(0, slope=0.0))[0] for _ in range(60))]
    )
    assert np.histogram(angles, bins=4, range=(-math.pi, math.pi))[0].min() > 70


def test_a_colony_on_a_line_invents_no_slope_across_it():
    x = np.zeros((1, 5, 11))
    x[0, :, 0] = x[0, :, 2] = np.arange(5.0) - 2
    x[0, :, 1] = [1e-9, -1e-9, 0, 0, 0]
    slope = plane_slope(x, np.ones((1, 5), bool))[0]
    assert slope == pytest.approx([1, 0], abs=2e-3)


def test_blind_agents_do_not_look():
    one, other = colonies(0.0), colonies(2.5, n_nodes=20, seed=1)
    for space in (RATIO, PER_NODE):
        for make in (lambda space=space: BiasedRandom(space, seed=3), lambda space=space: treadmill(space, 0.4)):
            np.testing.assert_array_equal(make().predict(one)[0], make().predict(other)[0])


def test_biased_random_keeps_its_probabilities():
    agent = BiasedRandom(PER_NODE, direction=1.0, spread=0.1, delete=0.2, stay=0.3)
    parts = np.concatenate([agent.predict(colonies(0.0))[0] for _ in range(40)]).reshape(-1, 5)
    shares = np.bincount(parts[:, 0].astype(int), minlength=3) / len(parts)
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=0.02)
    assert parts[:, 4].mean() * math.pi == pytest.approx(1.0, abs=0.02)
    assert parts[:, 4].std() * math.pi == pytest.approx(0.1, abs=0.01)
    free = BiasedRandom(RATIO, spread=math.inf)
    angles = np.concatenate([np.arctan2(*free.predict(colonies(0.0))[0][:, 2:0:-1].T) for _ in range(60)])
    assert np.histogram(angles, bins=4, range=(-math.pi, math.pi))[0].min() > 70
    with pytest.raises(ValueError, match="must be probabilities"):
        BiasedRandom(RATIO, delete=0.8, stay=0.4)


def test_the_grid_of_constants_covers_directions_and_ways():
    assert len(constant_actions(RATIO, 8)) == 8
    grid = constant_actions(PER_NODE, 6, n_nodes=20)
    assert len(grid) == 18
    for name, agent in grid.items():
        parts = agent.action.reshape(60, 5)
        assert np.sum(parts[:20, 0] == DELETE) == 10, name
    headings = {round(float(agent.action.reshape(60, 5)[0, 4]), 4) for agent in grid.values()}
    assert len(headings) == 6


def test_other_spaces_are_refused():
    for space in (spaces.Discrete(3), spaces.Box(-1, 1, (4,))):
        with pytest.raises(ValueError, match="need parts of 1 \\+ 4 or a Box"):
            DurotaxisActions(space)
    with pytest.raises(TypeError, match="a dict of arrays"):
        UpGradient(RATIO).predict(np.zeros((2, 3)))
    assert Constant(np.zeros(3)).predict(np.zeros((4, 9)))[0].shape == (4, 3)
