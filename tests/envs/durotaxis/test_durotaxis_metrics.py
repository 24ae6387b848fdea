import math

import gymnasium as gym
import numpy as np
import pytest
from scipy.spatial import ConvexHull

import envs  # noqa: F401  # registers the world
from envs.durotaxis import geometry, metrics
from envs.durotaxis.env import Durotaxis
from envs.durotaxis.metrics import METRICS

WORLD = "rl_suite/Durotaxis-v0"


def walk(world, points, start_step=0):
    """Lead the centroid of row 0 along points, in the coordinates (up, left) of the field."""
    colonies = world.colonies
    cos, sin = colonies.task[0, 5], colonies.task[0, 6]
    for step, (u, v) in enumerate(points, start_step):
        colonies.step[0] = step
        colonies.metrics[0, 0], colonies.metrics[0, 1] = u * cos - v * sin, u * sin + v * cos
        metrics.follow_centroid(colonies, 0)
        metrics.measure_motion(colonies, 0, world.physics)
    return dict(zip(METRICS, colonies.metrics[0].tolist(), strict=True))


@pytest.fixture
def world():
    world = Durotaxis(1, direction=50.0, um_per_px=2.0, min_per_step=5.0)
    streams = np.zeros(1, np.uint64)
    world.sample_tasks(world.all_rows, streams, {})
    world.start_episodes(world.all_rows, streams)
    world.colonies.sums[:] = 0
    return world


def test_a_straight_walk_up_the_gradient(world):
    m = walk(world, [(3.0 * t, 0.0) for t in range(21)])
    assert m["progress_px"] == pytest.approx(60)
    assert m["velocity_up"] == pytest.approx(3)
    assert m["velocity_up_um_h"] == pytest.approx(3 * 2 * 12)
    assert m["forward_migration_index"] == pytest.approx(1)
    assert m["durotactic_index"] == 1.0
    assert m["straightness"] == pytest.approx(1)
    assert m["turning_cosine"] == pytest.approx(1)
    assert m["persistence_h"] == pytest.approx(20 / 12)  # all the time so far
    assert m["msd_exponent"] == pytest.approx(2)
    assert m["velocity_across"] == pytest.approx(0)


def test_a_right_angle(world):
    m = walk(world, [(0, 0), (4, 0), (4, 3)])
    assert m["forward_migration_index"] == pytest.approx(4 / 7)
    assert m["straightness"] == pytest.approx(5 / 7)
    assert m["velocity_across"] == pytest.approx(1.5)
    assert m["velocity_across_um_h"] == pytest.approx(1.5 * 24)
    assert m["durotactic_index"] == 1.0  # the step across was neither up nor down
    assert m["turning_cosine"] == pytest.approx(0)
    assert m["persistence_h"] == pytest.approx(0, abs=0.01)


def test_to_and_fro(world):
    m = walk(world, [(0, 0), (5, 0), (0, 0), (5, 0), (0, 0), (5, 0)])
    assert m["durotactic_index"] == pytest.approx(1 / 5)
    assert m["turning_cosine"] == pytest.approx(-1)
    assert m["forward_migration_index"] == pytest.approx(5 / 25)


def test_turns_of_sixty_degrees_persist_for_one_step_and_a_half(world):
    points = [(0.0, 0.0)]
    for t in range(30):
        points.append((points[-1][0] + math.cos(t % 2 * math.pi / 3), points[-1][1] + math.sin(t % 2 * math.pi / 3)))
    m = walk(world, points)
    assert m["turning_cosine"] == pytest.approx(0.5)
    assert m["persistence_h"] == pytest.approx(1 / math.log(2) * 5 / 60)


def test_diffusion_has_exponent_one(world):
    steps = np.random.default_rng(0).normal(size=(4000, 2))
    m = walk(world, np.vstack([[0, 0], steps.cumsum(axis=0)]))
    assert m["msd_exponent"] == pytest.approx(1, abs=0.08)


def test_nothing_moves_nothing_is_divided_by_zero(world):
    m = walk(world, [(0.0, 0.0)] * 5)
    assert m["forward_migration_index"] == m["durotactic_index"] == m["straightness"] == m["msd_exponent"] == 0.0


def test_stiffness_and_gradient_at_three_places_in_declared_units():
    options = {"direction": 0, "um_per_px": 4.0, "kpa_per_intensity": 0.5, "substrate": "exponential"}
    env = gym.make(WORLD, action_mode="delete_ratio", **options)
    _, info = env.reset(seed=1)
    colonies = env.unwrapped.world.colonies
    x = colonies.x[0, :56]
    for name, place in (("centroid", x.mean()), ("front", x.max()), ("rear", x.min())):
        stiffness = 0.5 * 10 * math.exp(0.005 * place)
        assert info[f"stiffness_{name}_kpa"] == pytest.approx(stiffness)
        assert info[f"gradient_{name}_kpa_um"] == pytest.approx(0.005 * stiffness / 4.0)
    hull = ConvexHull(np.stack([x, colonies.y[0, :56]], axis=1))
    assert info["area_um2"] == pytest.approx(hull.volume * 16)
    assert info["perimeter_um"] == pytest.approx(hull.area * 4)
    front = x.max()
    info = env.step(np.array([0, 1, 0], np.float32))[4]
    assert info["front_velocity"] == pytest.approx(x.max() - front)
    assert (info["births"], info["deaths"], info["nodes"], info["components"]) == (28, 28, 56, 1)


def test_fragments_of_a_neighbour_graph_are_counted():
    env = gym.make(WORLD, edges="knn", neighbours=2, start_nodes=9, critical_nodes=9, node_limit=20).unwrapped
    env.reset(seed=0)
    colonies = env.world.colonies
    triangle = np.array([[0, 0], [1, 0], [0, 1]])
    at = np.concatenate([triangle, triangle + 40, triangle - 40])
    colonies.x[0, :9], colonies.y[0, :9] = at.T
    parts = np.zeros((128, 5), np.float32)
    parts[:, 0] = 2
    assert env.step(parts.ravel())[4]["components"] == 3


@pytest.mark.parametrize("n", [1, 2, 3, 8, 200])
def test_hulls_agree_with_scipy(n):
    rng = np.random.default_rng(n)
    for _ in range(30):
        x, y = rng.normal(size=n), rng.normal(size=n)
        order, hull = np.empty(n + 2, np.int64), np.empty(2 * n + 2, np.int64)
        size = geometry.convex_hull(x, y, n, order, hull)
        area, perimeter = geometry.area_and_perimeter(x, y, hull, size)
        if n < 3:
            assert size == n
            assert area == pytest.approx(0)
        else:
            expected = ConvexHull(np.stack([x, y], axis=1))
            assert set(hull[:size].tolist()) == set(expected.vertices.tolist())
            assert (area, perimeter) == (pytest.approx(expected.volume), pytest.approx(expected.area))


def test_collinear_points_have_no_area():
    x = np.arange(5.0)
    order, hull = np.empty(7, np.int64), np.empty(12, np.int64)
    size = geometry.convex_hull(x, 2 * x, 5, order, hull)
    assert sorted(hull[:size].tolist()) == [0, 4]
    assert geometry.area_and_perimeter(x, 2 * x, hull, size)[0] == 0.0


def test_info_metrics_stay_finite_in_wild_play():
    env = gym.make_vec(WORLD, num_envs=32, max_episode_steps=60)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(80):
        infos = env.step(env.action_space.sample())[4]
        for name in METRICS:
            assert np.isfinite(infos[name]).all(), name
        assert (np.abs(infos["durotactic_index"]) <= 1).all()
        assert (np.abs(infos["forward_migration_index"]) <= 1 + 1e-9).all()


@pytest.mark.parametrize("n", [1, 3])
def test_infos_do_not_change_after_they_were_told(n):
    env = gym.make_vec(WORLD, num_envs=n, action_mode="delete_ratio")
    infos = env.reset(seed=0)[1]
    kept = {name: value.copy() for name, value in infos.items()}
    for _ in range(3):
        env.step(np.tile(np.array([0, 1, 0], np.float32), (n, 1)))
    np.testing.assert_equal(infos, kept)
