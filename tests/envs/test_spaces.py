"""HybridBox: a Box for whom does not know it, choices and values for whom does."""

import pickle

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.preprocessing import get_action_dim, is_image_space

from envs.spaces import HybridBox

shapes = st.tuples(st.lists(st.integers(1, 6), max_size=3), st.integers(0, 3), st.integers(1, 4)).filter(
    lambda shape: shape[0] or shape[1]
)


@given(shape=shapes, seed=st.integers(0, 99))
def test_samples_are_members_and_survive_split_and_join(shape: tuple[list[int], int, int], seed: int) -> None:
    nvec, n_continuous, n_parts = shape
    space = HybridBox(nvec, n_continuous, n_parts, seed=seed)
    sample = space.sample()
    assert sample in space
    assert sample in spaces.Box(space.low, space.high)
    choices, values = space.split(sample)
    assert choices.shape == (n_parts, len(nvec))
    assert values.shape == (n_parts, n_continuous)
    assert (choices >= 0).all()
    assert (choices < np.array(nvec, dtype=np.int64)).all()
    np.testing.assert_array_equal(space.join(choices, values), sample)
    np.testing.assert_array_equal(np.clip(sample, space.low, space.high), sample, "SB3 clips actions")
    assert get_action_dim(space) == n_parts * space.part_size
    assert not is_image_space(space)


@given(shape=shapes, n=st.integers(1, 5))
def test_batches(shape: tuple[list[int], int, int], n: int) -> None:
    space = HybridBox(*shape, seed=0)
    batch = batch_space(space, n)
    assert isinstance(batch, HybridBox)
    assert batch.shape == (n, *space.shape)
    sample = batch.sample()
    assert sample in batch
    rows = list(iterate(batch, sample))
    assert all(row in space for row in rows)
    np.testing.assert_array_equal(concatenate(space, rows, create_empty_array(space, n)), sample)
    choices, _ = batch.split(sample)
    np.testing.assert_array_equal(choices[-1], space.split(rows[-1])[0])


def test_choices_must_be_whole() -> None:
    space = HybridBox([3], 1)
    assert np.array([2, 0.5], dtype=np.float32) in space
    for wrong in ([1.5, 0.5], [3, 0.0], [-1, 0.0], [0, 1.5], [0, 0, 0]):
        assert np.array(wrong, dtype=np.float32) not in space
    assert np.array([1.5, 0.5], dtype=np.float32) in spaces.Box(space.low, space.high)


def test_equality_seeding_and_pickling() -> None:
    space = HybridBox([4, 2], 2, n_parts=3, seed=5)
    assert space == HybridBox([4, 2], 2, n_parts=3)
    assert space != HybridBox([4, 2], 2, n_parts=2)
    assert space != spaces.Box(space.low, space.high)
    assert spaces.Box(space.low, space.high) != space
    twin = pickle.loads(pickle.dumps(space))
    assert twin == space
    np.testing.assert_array_equal(twin.sample(), space.sample())
    space.seed(1)
    twin.seed(1)
    np.testing.assert_array_equal(twin.sample(), space.sample())
    assert repr(space) == "HybridBox(nvec=[4, 2], n_continuous=2, n_parts=3)"


def test_all_choices_and_the_whole_range_are_sampled() -> None:
    space = HybridBox([3, 1], 1, n_parts=2, seed=0)
    choices, values = zip(*(space.split(space.sample()) for _ in range(300)), strict=True)
    assert {tuple(choice) for choice in np.concatenate(choices).tolist()} == {(0, 0), (1, 0), (2, 0)}
    assert np.concatenate(values).min() < -0.95
    assert np.concatenate(values).max() > 0.95


def test_bad_arguments_are_refused() -> None:
    for nvec, n_continuous, n_parts in (([], 0, 1), ([2], -1, 1), ([2], 1, 0)):
        with pytest.raises(ValueError, match="a part needs at least one choice or value"):
            HybridBox(nvec, n_continuous, n_parts)
    with pytest.raises(ValueError, match="nvec must be a list of positive integers"):
        HybridBox([2, 0], 1)
    with pytest.raises(ValueError, match="takes neither mask nor probability"):
        HybridBox([2], 1).sample(mask=np.ones(2))
