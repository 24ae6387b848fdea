import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import envs  # noqa: F401  # registers the world
from envs.durotaxis import rewards
from envs.durotaxis.layout import DELETE, SPAWN, STAY
from envs.durotaxis.marking import next_mark
from envs.durotaxis.options import Options
from envs.durotaxis.state import AT_GOAL, KEEP, TO_DELETE, UNMARKED

WORLD = "rl_suite/Durotaxis-v0"
SIX = {
    "start_nodes": 4,
    "critical_nodes": 4,
    "node_limit": 8,
    "max_nodes": 8,
    "direction": 0,
    "weight_termination": 9.0,
}
PARTS = ("reward_delete", "reward_distance", "reward_termination", "reward_shaping")


def six_nodes(x=(-30.0, -20.0, -10.0, 10.0, 20.0, 30.0), **options):
    """A colony of six nodes at these places on the x axis, two above the critical number, gradient to the right."""
    env = gym.make(WORLD, **{**SIX, **options}).unwrapped
    env.reset(seed=0)
    colonies = env.world.colonies
    colonies.nodes[0] = 6
    colonies.x[0, :6], colonies.y[0, :6], colonies.intensity[0, :6] = x, 0.0, 10 + 0.05 * np.array(x)
    colonies.parent[0, :6] = np.arange(-1, 5)
    colonies.identity[0, :6], colonies.mark[0, :6] = np.arange(6), UNMARKED
    return env


def act(env, *operations, theta=0.0):
    parts = np.zeros((env.action_space.n_parts, 5), np.float32)
    parts[:, 0], parts[: len(operations), 0] = STAY, operations
    parts[:, 4] = theta
    return env.step(parts.ravel())


def marks(env):
    return env.world.colonies.mark[0, : env.world.colonies.nodes[0]].tolist()


def test_components_by_hand():
    assert rewards.growth_reward(44, 64.0) == pytest.approx(0.5 * math.exp(-0.5))
    assert rewards.growth_reward(65, 64.0) == pytest.approx(-0.5 * math.exp(-1 / 800))
    assert rewards.deletion_reward(True, 10, 10, 10) == 0.5  # window 3, spread 2
    assert rewards.deletion_reward(True, 8, 10, 10) == pytest.approx(0.5 * math.exp(-0.5))
    assert rewards.deletion_reward(True, 6, 10, 10) == -0.5
    assert rewards.homeostatic_reward(70, 48, 64.0) == 0.6  # the lower end of the band
    assert rewards.homeostatic_reward(47, 47, 64.0) == -0.8
    assert rewards.homeostatic_reward(40, 47, 64.0) == -0.2
    assert rewards.progress(8.0, 10.0, 4.0) == -0.5
    assert rewards.progress(-99.0, 10.0, 4.0) == -1.0
    assert rewards.shaping_reward(2.0, 3.0, 0.9, False) == pytest.approx(0.7)


def test_marks_follow_their_rules():
    def after(mark, intensity, forced=False):
        return next_mark(mark, intensity, 10.0, 0.1, forced)

    assert after(UNMARKED, 9.8) == after(KEEP, 9.8) == TO_DELETE
    assert after(UNMARKED, 10.2) == KEEP
    assert after(UNMARKED, 9.95) == after(UNMARKED, 10.05) == UNMARKED
    assert after(UNMARKED, 9.95, forced=True) == TO_DELETE
    assert after(UNMARKED, 10.0, forced=True) == after(KEEP, 9.95, forced=True) == KEEP
    assert after(TO_DELETE, 12.0, forced=True) == TO_DELETE


def test_the_state_machine_by_hand():
    """Six nodes, two too many. Step 1 marks them; their deadline is step 3."""
    env = six_nodes(mark_margin=0.6, weight_delete=1.0, horizon=10)  # margin: 12 px
    _, _, _, _, info = act(env)
    assert marks(env) == [TO_DELETE, TO_DELETE, UNMARKED, UNMARKED, KEEP, KEEP]
    assert env.world.colonies.deadline[0, :6].tolist() == [3, 3, 0, 0, 0, 0]
    growth = -0.5 * math.exp(-4 / 800)
    first = growth - 0.5 * 2 / 4 + 0.5 * 4 / 6  # two unmarked; bonus for four marked
    assert info["reward_delete"] == pytest.approx(first / 10)
    _, _, _, _, info = act(env, DELETE, STAY, STAY, STAY, STAY, DELETE)  # one in time (a step early), one kept node
    early = 0.5 * math.exp(-1 / (2 / 1.5**2))
    assert info["reward_delete"] == pytest.approx((0.5 + early - 0.5) / 10)  # growth: four nodes are as many as wished
    act(env)
    _, _, _, _, info = act(env)  # step 4: node 1 is overdue
    assert info["reward_delete"] == pytest.approx((0.5 - 0.5) / 10)
    _, _, _, _, info = act(env, DELETE)  # step 5 is outside the window of one step
    growth = 0.5 * math.exp(-1 / 800)
    assert info["reward_delete"] == pytest.approx((growth - 0.5) / 10)


def test_undecided_nodes_are_forced_after_ten_steps():
    env = six_nodes(x=(-1.0, -0.5, -0.2, 0.2, 0.5, 1.0), mark_margin=1.0)
    for _ in range(9):
        act(env)
    assert marks(env) == [UNMARKED] * 6
    act(env)
    assert marks(env) == [TO_DELETE] * 3 + [KEEP] * 3
    assert env.world.colonies.deadline[0, :3].tolist() == [12] * 3


def test_the_delete_component_stops_at_the_horizon():
    env = six_nodes(horizon=3, delete_reward="homeostatic")
    paid = [act(env)[4]["reward_delete"] for _ in range(5)]
    assert paid == [pytest.approx(-0.8 / 3)] * 3 + [0.0, 0.0]


def test_distance_is_stiffness_gained_in_body_lengths():
    env = six_nodes(weight_distance=0.2, body_length=10.0)  # deleting node 0 moves the centroid from 0 to 6
    assert act(env, DELETE)[4]["reward_distance"] == pytest.approx(0.2 * 6.0 / 10)
    env = six_nodes(substrate="flat")
    assert act(env, DELETE)[4]["reward_distance"] == 0.0


def episode(mode, policy, seed, max_steps=200, **options):
    env = gym.make(WORLD, action_mode=mode, **options).unwrapped
    env.reset(seed=seed)
    rng, history = np.random.default_rng(seed), []
    for _ in range(max_steps):
        _, reward, terminated, _, info = env.step(policy(env, rng))
        assert reward == pytest.approx(sum(info[part] for part in PARTS), abs=1e-12)
        history.append((reward, info))
        if terminated:
            break
    return history


def straight(offset):
    def policy(env, rng):
        angle = math.radians(env.world.info(env.world.all_rows)["direction"][0] + offset)
        return np.array([0, math.cos(angle), math.sin(angle)], np.float32)

    return policy


def ratio(value):
    return lambda env, rng: np.array([value, *rng.uniform(-1, 1, 2)], np.float32)


POLICIES = [straight(0), straight(15), straight(60), straight(180), ratio(-1.0), ratio(1.0), ratio(0.0), ratio(-0.05)]


@pytest.mark.parametrize("delete_reward", ["state_machine", "homeostatic"])
@pytest.mark.parametrize("reward", ["full", "delete_only", "distance_only", "termination_only"])
@pytest.mark.parametrize("substrate", ["linear", "radial"])
def test_winning_returns_more_than_failing(reward, delete_reward, substrate):
    options = {"reward": reward, "delete_reward": delete_reward, "substrate": substrate}
    returns = {True: [], False: []}
    for policy in POLICIES:
        for seed in range(2):
            history = episode("delete_ratio", policy, seed, **options)
            returns[history[-1][1]["is_success"]].append(sum(reward for reward, _ in history))
    assert len(returns[True]) >= 3
    assert len(returns[False]) >= 8
    assert min(returns[True]) > max(returns[False])


walks = st.lists(st.tuples(st.floats(-1, 1), st.floats(-50, 50)), min_size=1, max_size=60)


@given(win=walks, loss=walks, weight_delete=st.floats(0, 3), weight_distance=st.floats(0, 1), body=st.floats(1, 50))
def test_winning_returns_more_by_construction(win, loss, weight_delete, weight_distance, body):
    """Whatever the steps of two episodes were, for the smallest weight of success that the options accept."""
    least = 2 * weight_delete + 2 * weight_distance * 140.0 / body
    options = Options(
        weight_delete=weight_delete, weight_distance=weight_distance, body_length=body, horizon=60,
        weight_termination=least * 1.001 + 1e-6,
    )  # fmt: skip

    def collected(steps, end):
        potentials = [0.0, *(rewards.progress(10 + gain, 10.0, 7.0) for _, gain in steps)]
        total = sum(rewards.distance_reward(a, b, 140.0, body) for a, b in pairwise(potentials)) * weight_distance
        total += weight_delete * sum(delete for delete, _ in steps) / options.horizon
        return total + options.weight_termination * end

    assert collected(win, 1.0) > max(collected(loss, 0.0), collected(loss, -1.0))


def test_shaping_changes_no_ranking():
    """Its discounted sum is minus the first potential, for every policy and every episode that ends."""
    gamma, rows = 0.97, []
    options = {"shaping": 0.3, "shaping_gamma": gamma, "weight_termination": 20.0, "horizon": 50}
    for policy in POLICIES[:6]:
        for seed in range(2):
            history = episode("delete_ratio", policy, seed, **options)
            assert history[-1][1]["ending"] != 0, "the episode has ended"
            discounts = gamma ** np.arange(len(history))
            shaped = float(np.sum(discounts * [reward for reward, _ in history]))
            added = float(np.sum(discounts * [info["reward_shaping"] for _, info in history]))
            assert added == pytest.approx(0.0, abs=1e-9)  # the potential is 0 at the start
            rows.append((shaped, shaped - added))
            if len(history) > 5:
                assert any(abs(info["reward_shaping"]) > 1e-3 for _, info in history)
    shaped, plain = np.array(rows).T
    assert (np.argsort(shaped) == np.argsort(plain)).all()


def test_shaping_starts_from_the_potential_of_the_state():
    """A colony that begins with overdue nodes gets their potential back, discounted or not."""
    env = six_nodes(shaping=0.5, shaping_gamma=0.9, weight_termination=60.0, weight_delete=0.0, weight_distance=0.0)
    env.world.colonies.mark[0, :3], env.world.colonies.deadline[0, :3] = TO_DELETE, -5
    total = -act(env)[4]["reward_shaping"] + 0.0
    assert total == pytest.approx(0.5 * (0.9 * 0.5 - 0.5))
    info = act(env, *[DELETE] * 6)[4]
    assert info["reward_shaping"] == pytest.approx(0.5 * 0.5)


def test_success_is_told_when_it_happens():
    history = episode("delete_ratio", straight(0), 1)
    flags = [info["is_success"] for _, info in history]
    assert flags == [False] * (len(flags) - 1) + [True]
    assert history[-1][1]["ending"] == AT_GOAL
    assert history[-1][1]["progress_px"] >= 139


def test_a_long_last_step_gains_nothing():
    """A centroid that leaves the safe radius is judged where it crosses it."""
    env = six_nodes(x=(139.0,) * 6)
    colonies = env.world.colonies
    colonies.y[0, :6] = [54.0, 54.0, 54.0, 54.0, 54.0, -40.0]
    colonies.metrics[0, 0], colonies.metrics[0, 1] = 139.0, 54.0  # where the centroid was, just inside
    colonies.x[0, :6] = [160.0, 160.0, 160.0, 160.0, 160.0, 100.0]
    colonies.y[0, :6] = 80.0
    info = act(env, STAY, STAY, STAY, STAY, STAY, DELETE)[4]
    assert info["progress_px"] == pytest.approx(160.0)
    assert info["ending"] == 4, "left the dish below the goal line"
    assert act(six_nodes(x=(141.0,) * 6), SPAWN)[4]["is_success"]
