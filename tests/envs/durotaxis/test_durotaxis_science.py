"""The task is durotaxis: who looks wins, who does not is right by luck only."""

import math

import numpy as np
import pytest

from agents.durotaxis_baselines import BiasedRandom, UpGradient, constant_actions
from rl_suite.evaluation.rollouts import Jobs, make_batch, play

WORLD = "rl_suite/Durotaxis-v0"
EPISODES = 96
MODES = ("delete_ratio", "per_node")
JOBS = Jobs(np.arange(EPISODES), None)


def played(agent, env):
    return play(agent, env, JOBS).last_infos


def blind_agents(space, n_directions):
    """Constant actions over a grid, and random ones of every bias."""
    yield from constant_actions(space, n_directions).items()
    for direction, spread in ((0.0, 0.3), (2.0, 1.0), (0.0, math.inf)):
        for delete, stay in ((0.5, 0.0), (0.4, 0.2)):
            agent = BiasedRandom(space, direction, spread, delete=delete + stay / 2, stay=0.0, jitter=stay / 4)
            if hasattr(space, "n_parts"):
                agent = BiasedRandom(space, direction, spread, delete=delete, stay=stay)
            yield f"biased {direction}, {spread}, {delete}", agent


@pytest.mark.parametrize(("substrate", "n_directions"), [("linear", 4), ("exponential", 2)])
@pytest.mark.parametrize("mode", MODES)
def test_no_blind_policy_succeeds_on_more_than_a_fifth(mode, substrate, n_directions):
    env = make_batch(WORLD, EPISODES, action_mode=mode, substrate=substrate)
    agents = blind_agents(env.single_action_space, n_directions)
    rates = {name: played(agent, env)["is_success"].mean() for name, agent in agents}
    assert max(rates.values()) <= 0.20, max(rates, key=rates.get)
    assert max(rates.values()) > 0.03, "blind walks are strong enough to be right by luck"


@pytest.mark.parametrize("substrate", ["linear", "exponential", "rotated", "gaussian", "radial", "optimum", "random"])
@pytest.mark.parametrize("mode", MODES)
def test_the_observing_agent_succeeds_on_every_gradient(mode, substrate):
    env = make_batch(WORLD, EPISODES, action_mode=mode, substrate=substrate)
    infos = played(UpGradient(env.single_action_space), env)
    assert infos["is_success"].mean() >= 0.90
    assert infos["durotactic_index"].mean() > 0.8


@pytest.mark.parametrize("mode", MODES)
def test_its_index_on_flat_ground_is_zero(mode):
    env = make_batch(WORLD, EPISODES, action_mode=mode, substrate="flat", mode="assay")
    infos = played(UpGradient(env.single_action_space), env)
    index = infos["durotactic_index"]
    assert abs(index.mean()) < 1.96 * index.std(ddof=1) / math.sqrt(EPISODES), "the 95 % interval contains 0"


@pytest.mark.parametrize("mode", MODES)
def test_an_assay_ends_by_the_clock_alone(mode):
    env = make_batch(WORLD, 16, action_mode=mode, mode="assay", assay_steps=40, direction=0.0)
    for agent in (UpGradient(env.single_action_space), *constant_actions(env.single_action_space, 4).values()):
        episodes = play(agent, env, Jobs(np.arange(16), None))
        assert (episodes.lengths == 40).all()
        assert (episodes.last_infos["reward_termination"] == 0).all()


def test_edges_and_repair_and_mechanics_leave_it_able():
    for options in ({"edges": "knn"}, {"repair": "neighbour"}, {"spring_stiffness": 0.2}, {"reach": "motor_clutch"}):
        env = make_batch(WORLD, 32, action_mode="delete_ratio", **options)
        infos = play(UpGradient(env.single_action_space), env, Jobs(np.arange(32), None)).last_infos
        assert infos["is_success"].mean() >= 0.90, options


def test_durokinesis_drifts_without_sensing_where_persistence_follows_stiffness():
    """Nodes that only walk, longer on stiff ground, drift; on flat ground they do not (Novikova et al. 2017)."""
    options = {
        "motility": 3.0, "persistence": 4.0, "base_intensity": 10.0, "max_episode_steps": 100, "max_nodes": 56,
        "retreat_steps": 1000, "goal_distance": 100.0, "dish_radius": 160.0,
    }  # fmt: skip
    still = np.zeros((56, 5), np.float32)
    still[:, 0] = 2
    drift = {}
    for substrate in ("linear", "flat"):
        env = make_batch(WORLD, 64, substrate=substrate, **options)
        env.reset(seed=0)
        for _ in range(99):
            infos = env.step(np.tile(still.ravel(), (64, 1)))[4]
        drift[substrate] = infos["progress_px"]
    error = np.std(drift["linear"] - drift["flat"], ddof=1) / 8
    assert np.mean(drift["linear"] - drift["flat"]) > 2.5 * error
    assert abs(np.mean(drift["flat"])) < 2.5 * np.std(drift["flat"], ddof=1) / 8


def index_of(noise, **options):
    """Mean durotactic index of the observing agent in an assay."""
    env = make_batch(WORLD, EPISODES, action_mode="delete_ratio", mode="assay", sensing_noise=noise, **options)
    return played(UpGradient(env.single_action_space), env)["durotactic_index"].mean()


def colony(n):
    return {"start_nodes": n, "critical_nodes": n, "node_limit": 2 * n}


def test_with_noisy_senses_efficiency_grows_with_size_and_gradient_and_one_cell_has_none():
    """Sunyer et al. 2016: collective durotaxis needs a colony, and the more so the weaker the gradient is."""
    one, few, many = (index_of(1.0, gradient=0.02, **colony(n)) for n in (1, 12, 56))
    assert abs(one) < 0.12
    assert one + 0.1 < few < many - 0.15
    weak, strong = (index_of(1.0, gradient=gradient, **colony(12)) for gradient in (0.0005, 0.05))
    assert abs(weak) < 0.12
    assert weak + 0.1 < few < strong - 0.15
