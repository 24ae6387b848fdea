"""The numbers of an accuracy matrix, computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual import metrics

R = [[0.9, 0.2, 0.1], [0.7, 0.8, 0.3], [0.5, 0.6, 1.0]]


def test_hand_computed():
    assert metrics.average_accuracy(R) == pytest.approx(0.7)
    assert metrics.backward_transfer(R) == pytest.approx(((0.5 - 0.9) + (0.6 - 0.8)) / 2)
    assert metrics.forgetting(R) == pytest.approx(((0.9 - 0.5) + (0.8 - 0.6)) / 2)
    assert metrics.forward_transfer(R, [0.1, 0.1, 0.2]) == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)
    assert metrics.learned(R) == pytest.approx(0.9)


def test_forgetting_counts_from_the_best_that_ever_was():
    risen = [[0.5, 0.0, 0.0], [0.9, 0.8, 0.0], [0.6, 0.8, 0.7]]
    assert metrics.forgetting(risen) == pytest.approx((0.3 + 0.0) / 2)
    assert metrics.backward_transfer(risen) == pytest.approx((0.1 + 0.0) / 2)


def test_what_was_not_measured_before_teaching_may_be_missing():
    lower = np.array(R)
    lower[np.triu_indices(3, 1)] = np.nan
    assert metrics.summarise(lower).forgetting == pytest.approx(metrics.forgetting(R))


@pytest.mark.parametrize("bad", [[[1.0]], [[1.0, 0.0]], [[1.0, 0.0], [np.nan, 1.0]], [0.5, 0.5]])
def test_no_matrix(bad):
    with pytest.raises(UserError, match="accuracy"):
        metrics.summarise(bad)


@given(arrays(np.float64, (4, 4), elements=st.floats(0, 1)))
def test_without_gain_backward_transfer_is_negative_forgetting(matrix):
    falling = np.minimum.accumulate(matrix, axis=0)  # accuracies never rise, so the first row is the best
    np.fill_diagonal(falling, falling.max(0))
    falling = np.tril(falling)
    assert metrics.forgetting(falling) == pytest.approx(-metrics.backward_transfer(falling), abs=1e-9)
