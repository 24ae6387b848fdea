from dataclasses import fields

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the world
from envs.durotaxis.env import Durotaxis
from envs.durotaxis.options import Options
from envs.durotaxis.replay import changed_options

BAD = [
    ({"substrate": "lunar"}, "substrate must be one of linear, exponential"),
    ({"action_mode": "both"}, "action_mode must be one of per_node, delete_ratio"),
    ({"gradient": float("nan")}, "gradient must be a finite number"),
    ({"gradient": "steep"}, "gradient must be a finite number"),
    ({"gradient": 0.0}, 'a constant field is substrate="flat"'),
    ({"gradient": -0.05}, "gradient must not be negative"),
    ({"base_intensity": 0}, "base_intensity must be above 0"),
    ({"start_nodes": 5.0}, "start_nodes must be a whole number"),
    ({"allow_stay": 1}, "allow_stay must be true or false"),
    ({"direction": "north"}, 'direction must be degrees, "random" or "measured"'),
    ({"direction": float("inf")}, "direction must be degrees"),
    ({"direction": "measured"}, 'is for substrate="image"'),
    ({"peak_distance": -3.0}, "peak_distance must be above 0"),
    ({"gamma_range": (5.0, 1.0)}, r"gamma_range must be \(low, high\)"),
    ({"gamma_range": (1.0,)}, "must be two numbers"),
    ({"random_kinds": "linear"}, "random_kinds must be a list"),
    ({"random_kinds": ["linear", "flat"]}, "random_kinds must be some of"),
    ({"substrate": "image"}, "go together"),
    ({"image": np.ones((9, 9))}, "go together"),
    ({"goal_distance": 160.0}, "0 < goal_distance < safe_radius < dish_radius"),
    ({"start_radius": 150.0}, "start_radius 150.0 must be below goal_distance"),
    ({"start_nodes": 0}, "1 <= start_nodes <= critical_nodes < node_limit"),
    ({"start_nodes": 70}, "1 <= start_nodes <= critical_nodes < node_limit"),
    ({"critical_nodes": 128}, "1 <= start_nodes <= critical_nodes < node_limit"),
    ({"edges": "knn", "neighbours": 128}, "neighbours must be below max_nodes"),
    ({"max_ratio": 1.5}, r"max_ratio must be in \(0, 1\]"),
    ({"spring_stiffness": 0.7}, "spring_stiffness must be at most 0.5"),
    ({"weight_termination": 1.0}, "a failing episode could return more than a winning one"),
    ({"shaping": 0.5}, "weight_termination must be above 10.8"),
    ({"curriculum": [{"max_nodes": 64}]}, "curriculum stage 0 cannot change 'max_nodes'"),
    ({"curriculum": [{}, {"node_limit": 10}]}, "start_nodes <= critical_nodes < node_limit"),
    ({"gradient": 0.06}, "the linear field reaches -0.8 inside the dish"),
    ({"substrate": "optimum", "peak_distance": 60.0}, "does not rise from the start to the goal line"),
    ({"substrate": "random", "random_gradient": [0.5, 1.4]}, "stiffness must be above 0"),
    ({"curriculum": [3]}, "curriculum stage 0 must be a mapping"),
    ({"random_kinds": [["linear"]]}, "random_kinds must be some of"),
    ({"gamma_range": (1.0, "wide")}, "must be two numbers"),
    ({"curriculum": [{"gradient": 0.02}, {"substrate": "radial", "gradient": 0.08}]}, "the radial field reaches"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_impossible_options_are_refused_before_anything_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        gym.make("rl_suite/Durotaxis-v0", **options)


NUMBERS = [field.name for field in fields(Options) if type(field.default) in (int, float)]


HARMLESS_NEAR_ZERO = {
    "sensing_noise",
    "angle", "noise", "mark_margin", "shaping", "spring_stiffness", "motility", "weight_delete", "weight_distance",
    "max_ratio", "shaping_gamma", "advance_at",
}  # fmt: skip
FAR_OUT = [10**400, -(10**400), 2**62, 1.7e308, -1.7e308, 5e-324, float("nan"), 1j, "5", None, [1]]


@pytest.mark.parametrize("value", FAR_OUT, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_refused_by_name_or_makes_a_world(name, value):
    if value == 5e-324 and name in HARMLESS_NEAR_ZERO:
        world = Durotaxis(2, **{name: value})
        world.sample_tasks(world.all_rows, np.arange(2, dtype=np.uint64), {})
        world.start_episodes(world.all_rows, np.arange(2, dtype=np.uint64))
        assert all(np.isfinite(column).all() for column in world.info(world.all_rows).values())
    else:
        with pytest.raises(ValueError, match=name):
            Durotaxis(2, **{name: value})


def test_lists_and_whole_numbers_do_where_tuples_and_reals_are_meant():
    options = Options.of({"gamma_range": [1, 4], "gradient": 0.05, "base_intensity": 10, "direction": 90})
    assert options.gamma_range == (1, 4)
    env = gym.make("rl_suite/Durotaxis-v0", gamma_range=[1, 4], base_intensity=10, direction=90)
    env.reset(seed=0)
    assert env.unwrapped.world.physics.gamma_high == 4.0


def test_every_option_can_be_given_to_make():
    """All defaults, spelled out, make the same world as none."""
    plain = gym.make("rl_suite/Durotaxis-v0").unwrapped.world.options
    spelled = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    assert gym.make("rl_suite/Durotaxis-v0", **spelled).unwrapped.world.options == plain
    assert changed_options(plain) == {}
    changed = changed_options(Options(edges="knn", curriculum=({"gradient": 0.02},), gamma_range=(1.0, 2.0)))
    assert changed == {"edges": "knn", "curriculum": [{"gradient": 0.02}], "gamma_range": [1.0, 2.0]}
    assert Options.of(changed) == Options(edges="knn", curriculum=({"gradient": 0.02},), gamma_range=(1.0, 2.0))


def test_chance_level_is_the_share_of_directions_that_meet_the_goal_line():
    options = Options()
    angles = np.linspace(0, 2 * np.pi, 100_000)
    assert options.chance_level == pytest.approx(
        np.mean(options.safe_radius * np.cos(angles) >= options.goal_distance), abs=1e-4
    )
    assert options.chance_level < 0.12


def test_ablations_keep_the_end_of_the_episode():
    assert Options().weights == (1.0, 0.1, 5.0)
    assert Options(reward="delete_only").weights == (1.0, 0.0, 5.0)
    assert Options(reward="distance_only").weights == (0.0, 0.1, 5.0)
    assert Options(reward="termination_only").weights == (0.0, 0.0, 5.0)


def test_stages_change_what_they_name_and_nothing_else():
    stages = Options(curriculum=({"node_limit": 90, "goal_distance": 60.0}, {})).stages()
    assert [stage.node_limit for stage in stages] == [90, 128]
    assert stages[0].goal_distance == 60.0
    assert stages[1] == Options()
    assert Options().stages() == (Options(),)
