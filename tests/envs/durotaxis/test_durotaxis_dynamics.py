import math

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs  # noqa: F401  # registers the world
from envs.durotaxis.dynamics import clutch_reach, fold_into_dish, hill_reach
from envs.durotaxis.layout import DELETE, SPAWN, STAY
from envs.durotaxis.state import ENDINGS

WORLD = "rl_suite/Durotaxis-v0"
STILL = {"substrate": "flat", "noise_range": (0.0, 0.0), "noise": 0.0}


def make(**options):
    env = gym.make(WORLD, **options).unwrapped
    env.reset(seed=3)
    return env


def per_node(env, operations, theta=0.0, gamma=0.0, alpha=0.0, noise=-1.0):
    """One flat action: an operation (or one per node) and the same controls for all."""
    parts = np.zeros((env.action_space.n_parts, 5), np.float32)
    parts[:, 0] = STAY
    operations = np.broadcast_to(operations, env.world.colonies.nodes[0])
    parts[: len(operations), 0] = operations
    parts[:, 1:] = gamma, alpha, noise, theta
    return parts.ravel()


def places(env):
    colonies = env.world.colonies
    n = colonies.nodes[0]
    return np.stack([colonies.x[0, :n], colonies.y[0, :n]], axis=1).copy()


def tree(env):
    """The edges as an undirected graph over the slots."""
    colonies = env.world.colonies
    n = int(colonies.nodes[0])
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((i, int(colonies.parent[0, i])) for i in range(n) if colonies.parent[0, i] >= 0)
    return graph


def test_reach_by_hand():
    assert hill_reach(5.0, 8.0, 5.0, 2.0) == 4.0  # half reach where stiffness equals alpha
    assert hill_reach(10.0, 8.0, 5.0, 2.0) == 6.4
    assert hill_reach(10.0, 8.0, 5.0, 3.0) == pytest.approx(8 / 1.125)
    assert clutch_reach(24.0, 5.0, 12.0) == 4.0


def test_a_child_stands_at_the_reach_of_its_mother_in_direction_theta():
    env = make(**STILL)
    mothers = places(env)
    env.step(per_node(env, SPAWN, theta=0.25, gamma=1.0, alpha=1.0))  # 45 degrees, gamma 8, alpha 10, stiffness 10
    children = places(env)[56:]
    np.testing.assert_allclose(children - mothers, np.full((56, 2), 4.0 * math.sqrt(0.5)), atol=1e-6)


def test_stiffer_ground_sends_children_further():
    env = make(substrate="linear", direction=0, noise_range=(0.0, 0.0))
    mothers, stiffness = places(env), env.world.colonies.intensity[0, :56].copy()
    env.step(per_node(env, SPAWN, theta=0.5))  # upwards; gamma 4.25, alpha 5.5 in the middle of their ranges
    reach = (places(env)[56:] - mothers)[:, 1]
    np.testing.assert_allclose(reach, 4.25 / (1 + (5.5 / stiffness) ** 2), rtol=1e-6)
    assert np.corrcoef(reach, mothers[:, 0])[0, 1] > 0.99


def test_noise_is_normal_and_drawn_anew_for_every_node_and_step():
    env = make(substrate="flat", noise_range=(1.5, 1.5), node_limit=500, max_nodes=500)
    offsets = []
    for _ in range(40):
        mothers = places(env)
        operations = np.where(np.arange(len(mothers)) % 2, DELETE, SPAWN)
        env.step(per_node(env, operations, theta=1.0, gamma=-1.0, alpha=1.0))  # reach 0.25 to the left
        offsets.append(places(env)[28:] - mothers[::2] + [0.25, 0.0])
        everybody = places(env)
        assert len(np.unique(everybody, axis=0)) == len(everybody), "two nodes in one place"
    offsets = np.concatenate(offsets)
    assert len(np.unique(offsets)) == offsets.size
    assert offsets.mean(axis=0) == pytest.approx([0, 0], abs=0.15)
    assert offsets.std(axis=0) == pytest.approx([1.5, 1.5], rel=0.08)
    assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.1


def test_directions_of_spawning_are_isotropic_in_delete_ratio_mode():
    env = make(action_mode="delete_ratio", **STILL)
    steps = []
    for _ in range(30):
        before = places(env)[np.argsort(places(env)[:, 0])[28:]]
        env.step(np.array([0, 1, 0], np.float32))
        children = places(env)[28:]
        nearest = np.linalg.norm(children[:, None] - before, axis=2)
        assert nearest.min(axis=1).max() <= 6.4 + 1e-9
        mothers = env.world.colonies.parent[0, 28:56].astype(int)
        steps.append(children - places(env)[mothers])
    steps = np.concatenate(steps)
    np.testing.assert_allclose(np.hypot(*steps.T), 6.4)
    assert np.hypot(*steps.mean(axis=0)) < 0.5


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from(["tree", "neighbour"]))
def test_deleting_removes_exactly_the_chosen_nodes_and_leaves_a_tree(seed, repair):
    env = make(repair=repair, **STILL)
    rng = np.random.default_rng(seed)
    for _ in range(4):
        before = env.world.colonies.identity[0, : env.world.colonies.nodes[0]].tolist()
        operations = rng.choice([SPAWN, DELETE, STAY], p=[0.3, 0.4, 0.3], size=len(before))
        env.step(per_node(env, operations, theta=rng.uniform(-1, 1)))
        after = env.world.colonies.identity[0, : env.world.colonies.nodes[0]].tolist()
        kept = [name for name, operation in zip(before, operations, strict=True) if operation != DELETE]
        assert after[: len(kept)] == kept
        assert len(after) == len(kept) + np.sum(operations == SPAWN)
        if not kept:
            break
        assert nx.is_tree(tree(env))


def test_a_hub_is_replaced_by_its_nearest_child_or_by_the_shortest_tree():
    for repair, expected in (("tree", {(0, 1), (0, 2), (0, 3)}), ("neighbour", {(0, 1), (1, 2), (0, 3)})):
        env = make(repair=repair, start_nodes=5, **STILL)
        colonies = env.world.colonies
        colonies.x[0, :5], colonies.y[0, :5] = [0.0, 1.0, 4.0, 6.0, -6.0], 0.0
        colonies.parent[0, :5] = [-1, 0, 0, 0, 0]
        env.step(per_node(env, [DELETE, STAY, STAY, STAY, STAY]))
        edges = {tuple(sorted(edge)) for edge in tree(env).edges}  # slots have moved down by one
        assert edges == expected
        assert colonies.parent[0, 0] == -1


def test_the_rearmost_along_the_chosen_direction_go():
    env = make(action_mode="delete_ratio")
    before, names = places(env), env.world.colonies.identity[0, :56].copy()
    angle = 2.1
    env.step(np.array([-0.5, math.cos(angle), math.sin(angle)], np.float32))  # a quarter
    ranked = names[np.argsort(before @ [math.cos(angle), math.sin(angle)])]
    gone = set(names.tolist()) - set(env.world.colonies.identity[0, : env.world.colonies.nodes[0]].tolist())
    assert gone == set(ranked[:14].tolist())
    assert env.world.colonies.nodes[0] == 84


def test_the_wall_reflects_and_holds_nobody():
    assert fold_into_dish(3.0, 4.0, 10.0) == (3.0, 4.0)
    assert fold_into_dish(0.0, -25.0, 10.0) == (0.0, 5.0)  # through the centre to the other side
    assert fold_into_dish(35.0, 0.0, 10.0) == pytest.approx((-5.0, 0.0))
    env = make(substrate="flat", goal_distance=30.0, safe_radius=40.0, dish_radius=41.0, noise_range=(0.0, 0.0))
    for _ in range(6):
        env.step(per_node(env, np.arange(env.world.colonies.nodes[0]) % 2, theta=0.1, gamma=1.0, alpha=-1.0))
    distance = np.hypot(*places(env).T)
    assert distance.max() <= 41.0
    assert np.sum(distance > 41.0 - 1e-6) == 0


def test_springs_relax_strain_and_leave_the_centroid():
    env = make(spring_stiffness=0.5, spring_rest=3.0, **STILL)
    lengths, centres = [], []
    for _ in range(30):
        env.step(per_node(env, STAY))
        at = places(env)
        lengths.append([math.dist(at[a], at[b]) for a, b in tree(env).edges])
        centres.append(at.mean(axis=0))
    strain = np.abs(np.array(lengths) - 3.0).mean(axis=1)
    assert strain[-1] < 0.1 * strain[0]
    np.testing.assert_allclose(centres, np.zeros((30, 2)), atol=1e-9)


def test_headings_persist_longer_on_stiff_ground():
    def turning(stiffness):
        env = make(motility=2.0, persistence=4.0, base_intensity=10.0, **STILL)
        env.world.colonies.task[0, 1] = stiffness  # the flat field's intensity
        before = env.world.colonies.heading[0, :56].copy()
        start = places(env)
        env.step(per_node(env, STAY))
        after = env.world.colonies.heading[0, :56]
        moved = places(env) - start
        np.testing.assert_allclose(moved, 2.0 * np.stack([np.cos(after), np.sin(after)], axis=1), atol=1e-9)
        return np.var(after - before)

    assert turning(10.0) == pytest.approx(2 / 4, rel=0.35)
    assert turning(40.0) == pytest.approx(2 / 16, rel=0.35)


def test_a_motor_clutch_reaches_furthest_at_its_optimum():
    def reach(stiffness):
        env = make(reach="motor_clutch", clutch_optimum=10.0, base_intensity=stiffness, **STILL)
        mothers = places(env)
        env.step(per_node(env, SPAWN, gamma=1.0))
        return np.hypot(*(places(env)[56:] - mothers).T).mean()

    assert reach(10.0) == pytest.approx(8.0)
    assert reach(5.0) == pytest.approx(6.4)
    assert reach(20.0) == pytest.approx(6.4)


def test_forbidden_operations_are_carried_out_as_stay():
    env = make(start_nodes=2, critical_nodes=2, node_limit=3, max_nodes=8, **STILL)
    assert env.action_masks().reshape(8, 3).tolist()[:3] == [[True] * 3, [True] * 3, [False, False, True]]
    env.step(per_node(env, [SPAWN, STAY]))
    assert env.action_masks().reshape(8, 3)[:3].tolist() == [[False, True, True]] * 3
    info = env.step(per_node(env, SPAWN))[4]
    assert info["nodes"] == 3
    assert ENDINGS[info["ending"]] == "running"
    env.step(per_node(env, [DELETE, DELETE, STAY]))
    assert env.action_masks().reshape(8, 3)[0].tolist() == [True, False, True]
    assert env.step(per_node(env, DELETE))[4]["nodes"] == 1
    narrow = make(allow_stay=False)
    assert not narrow.action_masks().reshape(128, 3)[:56, STAY].any()
    with pytest.raises(TypeError, match="no discrete actions to mask"):
        make(action_mode="delete_ratio").action_masks()


def test_growing_past_the_limit_or_dying_out_ends_the_episode():
    env = make(node_limit=100, **STILL)
    _, reward, terminated, truncated, info = env.step(per_node(env, SPAWN))
    assert (terminated, truncated, ENDINGS[info["ending"]]) == (True, False, "too_many_nodes")
    assert info["nodes"] == 100
    assert reward < -4
    env = make(**STILL)
    seen, reward, terminated, _, info = env.step(per_node(env, DELETE))
    assert (terminated, ENDINGS[info["ending"]], info["nodes"], info["deaths"]) == (True, "no_nodes", 0, 56)
    assert not seen["x"].any()
    assert seen["num_nodes"][0] == seen["num_edges"][0] == 0
    assert reward < -4


@pytest.mark.parametrize("mode", ["per_node", "delete_ratio"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.5, -3.0])
def test_actions_outside_the_space_are_refused(mode, value):
    env = make(action_mode=mode)
    action = np.zeros(env.action_space.shape, np.float32)
    action[2] = value
    before = env.world.get_state()
    with pytest.raises(ValueError, match="the action of row 0 is not in"):
        env.step(action)
    np.testing.assert_equal(env.world.get_state(), before)


def test_choices_and_shapes_must_fit():
    env = make()
    for choice in (0.5, 3.0, -1.0):
        action = np.zeros(env.action_space.shape, np.float32)
        action[5] = choice
        with pytest.raises(ValueError, match=r"choices whole numbers in 0\.\.2"):
            env.step(action)
    with pytest.raises(ValueError, match=r"must have shape \(640,\), not \(3,\)"):
        env.step(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="reset has no option 'goal'"):
        env.reset(options={"goal": 3})
    with pytest.raises(ValueError, match="direction must be a finite angle"):
        env.reset(options={"direction": math.nan})


@pytest.mark.parametrize("mode", ["per_node", "delete_ratio"])
@pytest.mark.parametrize("substrate", ["linear", "gaussian", "radial"])
def test_turning_field_and_agent_together_turns_the_trajectory(mode, substrate):
    turn = 73.0
    rotation = np.array([[math.cos(math.radians(turn)), -math.sin(math.radians(turn))],
                         [math.sin(math.radians(turn)), math.cos(math.radians(turn))]])  # fmt: skip
    options = {"action_mode": mode, "substrate": substrate, "spring_stiffness": 0.2, "motility": 0.5}
    one, other = (gym.make(WORLD, direction=20.0 + angle, **options).unwrapped for angle in (0.0, turn))
    one.reset(seed=8)
    other.reset(seed=8)
    rng = np.random.default_rng(0)
    for _ in range(15):
        if mode == "delete_ratio":
            heading = rng.uniform(-math.pi, math.pi)
            action = np.array([0, math.cos(heading), math.sin(heading)], np.float32)
            turned = np.array([0, *(rotation @ action[1:])], np.float32)
        else:
            parts = rng.uniform(-1, 1, (128, 5)).astype(np.float32)
            parts[:, 0] = rng.integers(0, 3, 128)
            action, again = parts.ravel(), parts.copy()
            again[:, 4] = (again[:, 4] + turn / 180 + 1) % 2 - 1
            turned = again.ravel()
        first, second = one.step(action), other.step(turned)
        np.testing.assert_allclose(places(other), places(one) @ rotation.T, atol=1e-4)  # actions are float32
        assert first[1] == pytest.approx(second[1], abs=1e-5)
        assert first[2] == second[2]
        if first[2]:
            break


def test_trajectories_do_not_depend_on_the_number_of_copies():
    rng = np.random.default_rng(5)
    actions = [np.concatenate([rng.normal(0, 0.1, (256, 1)), rng.uniform(-1, 1, (256, 2))], axis=1).clip(-1, 1)
               .astype(np.float32) for _ in range(25)]  # fmt: skip
    histories = []
    for n in (1, 64, 256):
        env = gym.make_vec(WORLD, num_envs=n, action_mode="delete_ratio", substrate="random", max_episode_steps=9)
        env.reset(seed=100)
        history = []
        for action in actions:
            seen, rewards, *_ = env.step(action[:n])
            history.append((seen["x"][0], seen["graph"][0], rewards[0]))
        histories.append(history)
    np.testing.assert_equal(histories[1], histories[0])
    np.testing.assert_equal(histories[2], histories[0])
