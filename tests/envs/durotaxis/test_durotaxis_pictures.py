import math

import gymnasium as gym
import numpy as np
import pytest

import envs  # noqa: F401  # registers the world
from envs.drawing import AGENT, GOLD, ROSE

WORLD = "rl_suite/Durotaxis-v0"


def picture(steps=0, **options):
    env = gym.make(WORLD, render_mode="rgb_array", action_mode="delete_ratio", **options)
    env.reset(seed=1)
    for _ in range(steps):
        env.step(np.array([0, 1, 0], np.float32))
    return env, env.render()


def close_to(image, colour, tolerance=40):
    return np.abs(image.astype(int) - colour).sum(axis=2) < tolerance


@pytest.mark.parametrize("direction", [0, 90, 200])
def test_the_goal_line_lies_where_the_gradient_points(direction):
    _, image = picture(direction=direction)
    assert image.shape == (640, 940, 3)
    rows, columns = np.nonzero(close_to(image[:, :640], GOLD))
    assert len(rows) > 100
    angle = math.degrees(math.atan2(320 - rows.mean(), columns.mean() - 320))
    assert (angle - direction + 180) % 360 - 180 == pytest.approx(0, abs=3)


def test_stiff_ground_is_brighter_and_flat_ground_is_even():
    _, image = picture(direction=0)
    assert image[320, 560].sum() > image[320, 80].sum() + 100
    _, flat = picture(direction=0, substrate="flat")
    inside = flat[100:250, 100:250].reshape(-1, 3)
    assert np.ptp(np.median(flat[100:250:7, 100:250:7].reshape(-1, 3), axis=0)) < 120
    assert inside.std(axis=0).max() < 25


def test_the_colony_stands_where_its_nodes_are():
    env, image = picture(steps=8, direction=0)
    rows, columns = np.nonzero(close_to(image[:, :640], AGENT, 60))
    x, y = env.unwrapped.world.colonies.trail[0, 8 % 17]
    scale = (320 - 12) / 180
    assert columns.mean() == pytest.approx(320 + scale * x, abs=6)
    assert rows.mean() == pytest.approx(320 - scale * y, abs=6)


def test_marked_nodes_are_rose_and_kept_ones_ringed():
    env = gym.make(WORLD, render_mode="rgb_array", start_nodes=20, critical_nodes=20, node_limit=60)
    env.reset(seed=0)
    before = close_to(env.render(), ROSE).sum()
    action = np.zeros((128, 5), np.float32)
    action[10:, 0] = 2
    env.step(action.ravel())
    assert close_to(env.render(), ROSE).sum() > before + 100


@pytest.mark.parametrize("options", [{"edges": "knn"}, {"substrate": "radial"}, {"um_per_px": 0.03}])
def test_variants_can_be_drawn(options):
    assert picture(steps=2, **options)[1].std() > 5


def test_a_colony_without_nodes_can_be_drawn():
    env = gym.make(WORLD, render_mode="rgb_array", action_mode="delete_ratio")
    env.reset(seed=0)
    env.step(np.array([1, 0, 0], np.float32))
    assert env.render().shape == (640, 940, 3)
    assert "no nodes" in env.unwrapped.world.render(0, "ansi")


def test_text_shows_nodes_centroid_goal_and_numbers():
    env = gym.make(WORLD, render_mode="ansi", direction=0, start_nodes=9)
    env.reset(seed=0)
    text = env.render()
    lines = text.splitlines()
    assert len(lines) == 26
    assert lines[12][24] == "@", "the centroid starts in the middle"
    assert lines[12].rstrip(".").endswith("++"), "the goal is to the right"
    assert sum(int(letter) for line in lines[:25] for letter in line if letter.isdigit()) >= 1
    assert "linear field, 0 degrees | step 0, running | 9 nodes" in lines[25]
