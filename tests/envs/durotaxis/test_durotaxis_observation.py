import math

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the world
from envs.durotaxis import layout

WORLD = "rl_suite/Durotaxis-v0"
SMALL = {"start_nodes": 6, "critical_nodes": 10, "node_limit": 40, "max_nodes": 40, "noise_range": (0.0, 0.0)}


def columns(names, chosen):
    return [names.index(name) for name in chosen]


def test_names_and_spaces_agree():
    env = gym.make(WORLD)
    shapes = {key: space.shape for key, space in env.observation_space.spaces.items()}
    assert shapes == {
        "x": (128, 11), "edge_index": (2, 127), "edge_attr": (127, 3), "graph": (19,), "num_nodes": (1,),
        "num_edges": (1,), "node_mask": (128,), "action_mask": (384,),
    }  # fmt: skip
    assert (len(layout.NODE_FEATURES), len(layout.EDGE_FEATURES), len(layout.GRAPH_FEATURES)) == (11, 3, 19)
    assert env.action_space.nvec.tolist() == [len(layout.OPERATIONS)]
    assert env.action_space.n_continuous == len(layout.CONTROLS)
    ratio = gym.make(WORLD, action_mode="delete_ratio", edges="knn", neighbours=3, max_nodes=20)
    assert "action_mask" not in ratio.observation_space.spaces
    assert ratio.observation_space["edge_index"].shape == (2, 60)
    assert ratio.action_space.shape == (3,)


def test_a_small_colony_by_hand():
    """A star: node 0 in the middle, the others 20 px around it, stiffness 10 + 0.05 x."""
    env = gym.make(WORLD, direction=0, **SMALL).unwrapped
    env.reset(seed=0)
    colonies = env.world.colonies
    angles = np.arange(5) * 2 * np.pi / 5
    colonies.x[0, 1:6], colonies.y[0, 1:6] = 20 * np.cos(angles), 20 * np.sin(angles)
    colonies.x[0, 0] = colonies.y[0, 0] = 0.0
    colonies.parent[0, :6] = [-1, 0, 0, 0, 0, 0]
    action = np.zeros((40, 5), np.float32)
    action[:, 0] = layout.STAY
    seen = env.step(action.ravel())[0]
    x, graph = seen["x"], dict(zip(layout.GRAPH_FEATURES, seen["graph"].tolist(), strict=True))
    node = {name: x[:6, i] for i, name in enumerate(layout.NODE_FEATURES)}
    np.testing.assert_allclose(node["x"][1:], np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(node["y"][1:], np.sin(angles), atol=1e-6)
    np.testing.assert_allclose(node["intensity"][1:], np.cos(angles), atol=1e-6)
    assert node["in_degree"].tolist() == [0.0] + [0.25] * 5
    assert node["out_degree"].tolist() == [1.25] + [0.0] * 5
    assert node["centrality"][0] == pytest.approx(1.0)
    ring = (20 + 2 * 40 * (math.sin(math.pi / 5) + math.sin(2 * math.pi / 5))) / 5
    assert node["centrality"][3] == pytest.approx(20 / ring, rel=1e-6)
    assert node["on_hull"].tolist() == [0.0] + [1.0] * 5
    assert node["is_new"].tolist() == [0.0] * 6
    assert node["age"].tolist() == pytest.approx([0.01] * 6)
    assert node["stagnation"].tolist() == pytest.approx([0.02] * 6)
    assert graph["num_nodes"] == pytest.approx(0.6)
    assert graph["num_edges"] == pytest.approx(0.5)
    assert graph["density"] == pytest.approx(10 * 5 / 30)
    assert graph["box_max_x"] == pytest.approx(20 / 150)
    assert graph["hull_area"] == pytest.approx(2.5 * 400 * math.sin(2 * math.pi / 5) / 150**2)
    assert (graph["mean_degree"], graph["max_degree"]) == (pytest.approx(10 / 6 / 4), pytest.approx(1.25))
    assert (graph["mean_intensity"], graph["max_intensity"]) == (pytest.approx(1.0), pytest.approx(1.1))
    assert graph["sum_intensity"] == pytest.approx(0.6)
    assert seen["num_edges"][0] == 5
    assert seen["edge_index"][:, :5].tolist() == [[0] * 5, [1, 2, 3, 4, 5]]
    np.testing.assert_allclose(seen["edge_attr"][:5, 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(seen["edge_attr"][:5, 1:], np.stack([np.cos(angles), np.sin(angles)], 1), atol=1e-6)


def test_padding_is_zero_and_may_only_stay():
    env = gym.make(WORLD)
    seen = env.reset(seed=0)[0]
    assert seen["node_mask"].tolist() == [1] * 56 + [0] * 72
    assert not seen["x"][56:].any()
    assert not seen["edge_attr"][55:].any()
    assert not seen["edge_index"][:, 55:].any()
    assert seen["action_mask"].reshape(128, 3)[56:].tolist() == [[0, 0, 1]] * 72


def test_births_are_new_for_one_step_and_append_to_the_end():
    env = gym.make(WORLD, **SMALL).unwrapped
    env.reset(seed=0)
    action = np.zeros((40, 5), np.float32)
    action[:, 0] = layout.STAY
    action[2, 0], action[4, 0] = layout.SPAWN, layout.SPAWN
    new = layout.NODE_FEATURES.index("is_new")
    assert env.step(action.ravel())[0]["x"][:9, new].tolist() == [0] * 6 + [1, 1, 0]
    action[:, 0] = layout.STAY
    seen = env.step(action.ravel())[0]
    assert not seen["x"][:, new].any()
    assert seen["edge_index"][:, 5:7].tolist() == [[2, 4], [6, 7]], "mothers and children"


def test_intensities_are_filled_on_every_field_and_of_order_one():
    for substrate in ("linear", "exponential", "step", "gaussian", "optimum", "radial"):
        seen = gym.make(WORLD, substrate=substrate).reset(seed=4)[0]
        contrast = seen["x"][:56, layout.NODE_FEATURES.index("intensity")]
        assert 0.2 < contrast.std() < 3, substrate
        level = columns(layout.GRAPH_FEATURES, ["mean_intensity", "max_intensity", "sum_intensity"])
        assert (np.abs(seen["graph"][level]) > 0.5).all()
        assert np.abs(seen["graph"]).max() < 4
        assert np.abs(seen["x"]).max() < 10
    flat = gym.make(WORLD, substrate="flat").reset(seed=4)[0]
    assert not flat["x"][:, layout.NODE_FEATURES.index("intensity")].any()


def test_the_direction_can_be_read_from_the_observation_and_from_nothing_else():
    """A plane through the intensities points up the gradient; no single feature tells the direction."""
    env = gym.make_vec(WORLD, num_envs=400)
    seen, infos = env.reset(seed=0)
    x, y, z = np.moveaxis(seen["x"][:, :56, :3].astype(float), 2, 0)
    design = np.stack([x, y], axis=2)
    slope = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(design, z, strict=True)])
    error = (np.degrees(np.arctan2(slope[:, 1], slope[:, 0])) - infos["direction"] + 180) % 360 - 180
    assert np.abs(error).max() < 0.01
    towards = np.radians(infos["direction"])
    flat = gym.make_vec(WORLD, num_envs=400, substrate="flat").reset(seed=0)[0]
    for key in ("x", "edge_attr", "graph"):
        features = flat[key].reshape(400, -1).astype(float)
        features = features[:, features.std(axis=0) > 1e-6]
        for part in (np.cos(towards), np.sin(towards)):
            z = (features - features.mean(axis=0)) / features.std(axis=0) * (part - part.mean())[:, None] / part.std()
            assert np.abs(z.mean(axis=0)).max() < 0.26, f"{key} tells the direction"  # 400 pairs: sd 0.05


def test_a_colony_that_outgrows_the_padding_shows_its_softest_and_stiffest_nodes():
    env = gym.make(WORLD, max_nodes=10, direction=0, edges="knn", neighbours=3, noise_range=(0.0, 0.0)).unwrapped
    seen = env.reset(seed=2)[0]
    colonies = env.world.colonies
    order = np.argsort(colonies.x[0, :56])
    shown = np.sort(np.concatenate([order[:5], order[-5:]]))
    centroid = colonies.metrics[0, 0]
    np.testing.assert_allclose(seen["x"][:, 0], (colonies.x[0, shown] - centroid) / 20, atol=1e-6)
    assert seen["num_nodes"][0] == 10
    assert seen["graph"][0] == pytest.approx(56 / 64), "the graph features speak of the whole colony"
    edges = seen["num_edges"][0]
    assert 0 < edges < 30
    assert seen["edge_index"][:, :edges].max() < 10
    names = colonies.identity[0, :56].copy()
    action = np.zeros((10, 5), np.float32)
    action[:, 0] = layout.DELETE
    env.step(action.ravel())
    left = colonies.identity[0, : colonies.nodes[0]].tolist()
    assert left == [name for slot, name in enumerate(names.tolist()) if slot not in shown]


def test_nearest_neighbours_are_the_nearest():
    env = gym.make(WORLD, edges="knn", neighbours=4).unwrapped
    seen = env.reset(seed=6)[0]
    at = np.stack([env.world.colonies.x[0, :56], env.world.colonies.y[0, :56]], axis=1)
    distance = np.linalg.norm(at[:, None] - at, axis=2)
    np.fill_diagonal(distance, np.inf)
    source, target = seen["edge_index"][:, : seen["num_edges"][0]]
    for i in range(56):
        assert source[target == i].tolist() == np.argsort(distance[i])[:4].tolist()
    few = gym.make(WORLD, edges="knn", neighbours=6, start_nodes=3, critical_nodes=4, node_limit=9)
    assert few.reset(seed=0)[0]["num_edges"][0] == 6, "three nodes have two neighbours each"


def test_what_is_felt_has_an_error_of_its_own_for_every_node_and_step_and_the_ground_has_none():
    exact, noisy = (
        gym.make_vec(WORLD, num_envs=8, direction=0.0, sensing_noise=noise, action_mode="delete_ratio")
        for noise in (0.0, 0.5)
    )
    errors = []
    for step in range(3):
        action = np.zeros((8, 3), np.float32)
        seen = [env.reset(seed=1) if step == 0 else env.step(action) for env in (exact, noisy)]
        (truth, *_, truths), (felt, *_, measured) = seen
        np.testing.assert_array_equal(truth["edge_index"], felt["edge_index"])
        np.testing.assert_array_equal(truths["stiffness_front_kpa"], measured["stiffness_front_kpa"])
        present = felt["node_mask"].astype(bool)
        errors.append((felt["x"][..., 2] - truth["x"][..., 2])[present])
        again = noisy.unwrapped.world.observe(np.arange(8))
        np.testing.assert_array_equal(again["x"], felt["x"])  # to look twice is to see the same
    for error in errors:
        assert abs(error.mean()) < 1e-6  # what nodes feel is measured from their mean
        assert 0.45 < error.std() < 0.55
    assert len(np.unique(np.concatenate(errors))) == sum(map(len, errors))
    assert abs(np.corrcoef(errors[0][:300], errors[1][:300])[0, 1]) < 0.2


def test_one_cell_can_be_seen_and_stepped():
    env = gym.make(WORLD, start_nodes=1, critical_nodes=1, node_limit=2, max_nodes=8, action_mode="delete_ratio")
    observation, info = env.reset(seed=0)
    assert observation["num_nodes"].tolist() == [1]
    assert observation["num_edges"].tolist() == [0]
    assert info["area_um2"] == 0.0
    for _ in range(20):
        observation, reward, terminated, _, info = env.step(np.zeros(3, np.float32))
        assert all(np.isfinite(value).all() for value in observation.values())
        assert math.isfinite(reward)
        if terminated:
            break
    assert env.observation_space.contains(observation)
