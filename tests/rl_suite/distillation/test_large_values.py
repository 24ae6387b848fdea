"""Histories hold what was seen, however large the numbers are."""

import numpy as np
import pytest

from rl_suite.distillation.histories import compact
from rl_suite.distillation.sources.rollout import roll_out
from rl_suite.distillation.worlds import TaskFamily


class Eastward:
    """Walks to the last column."""

    def begin_episode(self):
        """Nothing to remember."""

    def act(self, observations):
        """Action 4 of every room, whatever it does, and as its label."""
        actions = np.full(len(observations), 3)
        return actions, actions

    def learn(self, observations, rewards):
        """Nothing to learn."""


def test_rooms_wider_than_a_byte_do_not_wrap():
    family = TaskFamily.named("rl_suite/DarkRoom-v0", {"size": 601, "start": [300, 300]})
    histories = roll_out(
        family.make(2, "train"), Eastward(), family.tasks("train").take(np.arange(2)), 1, 20, np.random.default_rng(0)
    )
    assert (histories.observations[:, 0] == 300).all()
    assert histories.next_observations.max() >= 300


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 65535), (-5, 5), (-(2**40), 2**40)])
def test_whole_numbers_survive(low, high):
    values = np.array([low, high])
    np.testing.assert_array_equal(compact(values), values)


def test_positions_stay_positions():
    np.testing.assert_allclose(compact(np.array([0.25, -1.5])), [0.25, -1.5])
