"""The kernels of the durotaxis world against a plain version that shares none of their dynamics."""

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the world
from envs.durotaxis.state import ENDINGS
from rl_suite.benchmarks.durotaxis_numpy import KEEP, TO_DELETE, PlainDurotaxis

MARKS = {"": 0, KEEP: 1, TO_DELETE: 2}
GRID = np.add.outer(np.linspace(9, 5, 361), np.linspace(1, 9, 361) ** 1.5) + np.random.default_rng(0).random((361, 361))
SMALL = {"start_nodes": 12, "critical_nodes": 14, "node_limit": 30, "max_nodes": 30}
CASES = [
    {},
    {"action_mode": "delete_ratio"},
    {"action_mode": "delete_ratio", "edges": "knn", "neighbours": 4, "substrate": "exponential"},
    {"edges": "knn", "neighbours": 3, "substrate": "radial", **SMALL, "max_nodes": 10},
    {"repair": "neighbour", "substrate": "gaussian", "start_nodes": 30},
    {"action_mode": "delete_ratio", "repair": "neighbour", "substrate": "step", "reach": "motor_clutch"},
    {"substrate": "optimum", "delete_reward": "homeostatic", **SMALL},
    {"action_mode": "delete_ratio", "substrate": "flat", "shaping": 0.1, "weight_termination": 7.0, **SMALL},
    {
        "action_mode": "delete_ratio",
        "substrate": "random",
        "hill_exponent": 1.5,
        "shaping": 0.05,
        "horizon": 9,
        "weight_termination": 6.0,
        **SMALL,
    },
    {"action_mode": "delete_ratio", "substrate": "rotated", "direction": 20, "spring_stiffness": 0.3, "motility": 1.5},
    {"action_mode": "delete_ratio", "substrate": "image", "image": GRID, "direction": "measured", "angle": 30.0},
    {"substrate": "image", "image": GRID, "um_per_px": 2.0, "image_um_per_px": 2.0, "kpa_per_intensity": 0.5, **SMALL},
]


def wild_action(space, rng, nodes, target):
    """Random actions that keep a colony near its target size."""
    if space.shape == (3,):
        action = rng.uniform(-1, 1, 3)
        action[0] = np.clip(rng.normal(0.1 * (nodes - target) / target, 0.25), -1, 1)
        return action.astype(np.float32)
    parts = rng.uniform(-1, 1, (space.n_parts, space.part_size))
    parts[:, 0] = rng.choice(3, size=space.n_parts, p=[0.34, 0.33, 0.33] if nodes < target else [0.3, 0.4, 0.3])
    return parts.astype(np.float32).ravel()


@pytest.mark.parametrize("options", CASES, ids=lambda case: "-".join(str(v) for v in case.values() if v is not GRID))
def test_kernels_do_what_the_plain_version_says(options):
    single, plain = gym.make("rl_suite/Durotaxis-v0", **options).unwrapped, PlainDurotaxis(**options)
    rng, target, steps = np.random.default_rng(1), plain.options.critical_nodes, 0
    for seed in range(4):
        seen, expected = single.reset(seed=seed)[0], plain.reset(seed)
        assert seen.keys() == expected.keys()
        for _ in range(25):
            for key, value in expected.items():
                np.testing.assert_allclose(seen[key], value, rtol=1e-5, atol=2e-6, err_msg=key)
            action = wild_action(single.action_space, rng, len(plain.nodes), target)
            expected, reward, terminated, components = plain.step(action)
            seen, our_reward, our_terminated, _, info = single.step(action)
            steps += 1
            assert our_terminated == terminated
            assert our_reward == pytest.approx(reward, abs=1e-9)
            for name, value in components.items():
                assert info[name] == pytest.approx(value, abs=1e-9), name
            compare_nodes(single.world.colonies, plain)
            if terminated:
                break
        if plain.nodes and plain.step_number > 2:
            for name, value in plain.metrics().items():
                assert info[name] == pytest.approx(value, rel=1e-8, abs=1e-9), name
        assert info["births"] == plain.births
        assert info["deaths"] == plain.deaths
    assert steps > 30


def compare_nodes(colonies, plain):
    n = len(plain.nodes)
    assert colonies.nodes[0] == n
    if n == 0:
        return
    places = np.array([node.place for node in plain.nodes])
    np.testing.assert_allclose(np.stack([colonies.x[0, :n], colonies.y[0, :n]], axis=1), places, rtol=0, atol=1e-9)
    slots = {node: i for i, node in enumerate(plain.nodes)}
    for name, expected in {
        "identity": [node.identity for node in plain.nodes],
        "mother": [node.mother for node in plain.nodes],
        "born": [node.born for node in plain.nodes],
        "mark": [MARKS[node.mark] for node in plain.nodes],
        "deadline": [node.deadline for node in plain.nodes],
        "parent": [slots[node.parent] if node.parent is not None else -1 for node in plain.nodes],
    }.items():
        np.testing.assert_array_equal(getattr(colonies, name)[0, :n], expected, err_msg=name)


@pytest.mark.parametrize(
    ("ending", "ratio", "heading"),
    [("goal", 0, 0), ("out_of_bounds", 0, 70), ("retreat", 0, 180), ("too_many_nodes", -1, 0), ("no_nodes", 1, 0)],
)
def test_episodes_end_alike(ending, ratio, heading):
    options = {**SMALL, "action_mode": "delete_ratio", "direction": 40.0, "gamma": 10.0}
    if ending == "retreat":
        options["retreat_steps"] = 5
    single, plain = gym.make("rl_suite/Durotaxis-v0", **options).unwrapped, PlainDurotaxis(**options)
    single.reset(seed=2)
    plain.reset(2)
    angle = np.radians(40 + heading)
    action, terminated = np.array([ratio, np.cos(angle), np.sin(angle)], np.float32), False
    while not terminated:
        _, reward, terminated, components = plain.step(action)
        _, our_reward, our_terminated, _, info = single.step(action)
        assert our_terminated == terminated
        assert our_reward == pytest.approx(reward, abs=1e-9)
    assert plain.ending == ending == ENDINGS[info["ending"]]
    assert info["is_success"] is (ending == "goal")
    assert components["reward_termination"] == (5.0 if ending == "goal" else -5.0)
