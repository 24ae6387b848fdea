import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_toys import marked

from rl_suite.errors import UserError
from rl_suite.meta_learning.data.draws import distinct, fractions, random_bits
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.images import as_images, from_arrays, from_dataset
from rl_suite.meta_learning.data.jitter import Jitter

STREAM = [[13693419961088809291, 4075375536560467960], [16068185920074195935, 14894559818049123225]]
JITTER = Jitter(rotation=10, scale=0.1, shear=0.1, shift=0.1, elastic=0.05)


def marks(pixels):
    """(class, number) of marked images."""
    return (pixels[..., 0, :2] * 255).round().long()


def test_a_draw_is_a_hash_of_seed_index_and_slot():
    bits = random_bits(3, np.arange(4), 2)
    assert np.array_equal(random_bits(3, np.array([2]), 2)[0], bits[2])
    assert len(np.unique(np.concatenate([bits.ravel(), random_bits(4, np.arange(4), 2).ravel()]))) == 16
    assert bits[0].tolist() == [random_bits(3, np.array([0]), 1)[0, 0], bits[0, 1]]


def test_the_stream_stays_what_it_is():
    """Another hash would change every episode of every stored result."""
    assert random_bits(0, np.arange(2), 2).tolist() == STREAM


def test_uniform_draws_are_uniform():
    u = fractions(random_bits(0, np.arange(20000), 2))
    assert abs(u.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.02
    assert np.histogram(u, 10, (0, 1))[0].min() > 3700


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(3, 12), min_size=1, max_size=5), st.integers(0, 1000))
def test_draws_without_replacement_are_distinct_and_in_range(sizes, seed):
    drawn = distinct(random_bits(seed, np.arange(len(sizes)), 3), np.array(sizes))
    for row, size in zip(drawn, sizes, strict=True):
        assert len(set(row.tolist())) == 3
        assert 0 <= row.min() <= row.max() < size


def test_every_ordered_pair_is_equally_likely():
    drawn = distinct(random_bits(0, np.arange(12000), 2), np.full(12000, 4))
    counts = np.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16).reshape(4, 4)
    assert np.diag(counts).sum() == 0
    off = counts[~np.eye(4, dtype=bool)]
    assert abs(off - 1000).max() < 130


@pytest.mark.parametrize("jitter", [None, JITTER])
def test_episode_i_is_the_same_in_every_batch(jitter):
    source = EpisodeSource(marked(), 3, 2, 3, seed=5, within=0.0, jitter=jitter)
    batch = source.batch(4, 3)
    for i in range(3):
        for part, whole in zip(source.task(4 + i), batch, strict=True):
            assert torch.equal(part, whole[i])
    again = EpisodeSource(marked(), 3, 2, 3, seed=5, jitter=jitter)
    assert torch.equal(again.task(5).query_x, batch.query_x[1])
    assert not torch.equal(source.task(6).support_x, source.task(5).support_x)
    assert not torch.equal(
        EpisodeSource(marked(), 3, 2, 3, seed=6, jitter=jitter).task(5).support_x, batch.support_x[1]
    )


def test_shapes_and_label_order():
    task = EpisodeSource(marked(), 3, 2, 4, seed=0).task(0)
    assert task.support_x.shape == (6, 1, 8, 8)
    assert task.query_x.shape == (12, 1, 8, 8)
    assert task.support_y.tolist() == [0, 0, 1, 1, 2, 2]
    assert task.query_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_classes_are_distinct_and_support_and_query_share_no_image():
    source = EpisodeSource(marked(), 4, 3, 5, seed=1)
    for i in range(50):
        task = source.task(i)
        support, query = marks(task.support_x[:, 0]), marks(task.query_x[:, 0])
        classes = support[::3, 0]
        assert len(set(classes.tolist())) == 4
        assert torch.equal(support[:, 0], classes[task.support_y])
        assert torch.equal(query[:, 0], classes[task.query_y])
        images = {tuple(mark) for mark in torch.cat([support, query]).tolist()}
        assert len(images) == 4 * 8


def test_labels_say_nothing_about_the_class():
    """Whoever sorts class ids lets an unadapted network beat chance."""
    source = EpisodeSource(marked(), 3, 1, 1, seed=0)
    classes = source.draw(0, 3000).classes
    sorted_place = classes.argsort(1).argsort(1)
    chance = (sorted_place == np.arange(3)).mean()
    assert abs(chance - 1 / 3) < 0.03


def test_within_one_group():
    groups = ["a", "a", "a", "b", "b", "b", "b", "c"]
    data = marked(8, 4, groups=groups)
    drawn = EpisodeSource(data, 3, 1, 1, seed=0, within=1.0).draw(0, 400).classes
    names = np.array(groups)[drawn]
    assert (names == names[:, :1]).all()
    assert set(names[:, 0]) == {"a", "b"}
    assert abs((names[:, 0] == "a").mean() - 0.5) < 0.1
    half = np.array(groups)[EpisodeSource(data, 3, 1, 1, seed=0, within=0.5).draw(0, 400).classes]
    assert 0.4 < (half == half[:, :1]).all(1).mean() < 0.7
    with pytest.raises(UserError, match="no group has 5 classes"):
        EpisodeSource(data, 5, 1, 1, seed=0, within=0.5)


@pytest.mark.parametrize(
    ("n_way", "k_shot", "k_query", "message"),
    [
        (7, 1, 1, "7-way episodes need 7 classes; the data has 6"),
        (5, 4, 5, "'class0' has 8 images; 4 support \\+ 5 query images need 9"),
        (1, 1, 1, "at least 2 classes"),
        (3, 0, 1, "1 support"),
    ],
)
def test_impossible_episodes(n_way, k_shot, k_query, message):
    with pytest.raises(UserError, match=message):
        EpisodeSource(marked(), n_way, k_shot, k_query, seed=0)


def test_no_jitter_is_the_identity_and_jitter_moves_ink_a_little():
    image = torch.zeros(2, 1, 28, 28)
    image[:, :, 12:16, 8:20] = 1
    middle = torch.full((2, JITTER.numbers), 0.5)
    assert torch.allclose(JITTER(image, middle), image, atol=1e-5)
    moved = JITTER(image, torch.rand(2, JITTER.numbers, generator=torch.Generator().manual_seed(0)))
    assert not torch.allclose(moved[0], moved[1])
    overlap = (moved * image).sum((1, 2, 3)) / image.sum((1, 2, 3))
    assert (overlap > 0.3).all()
    shift = Jitter(rotation=0, scale=0, shear=0, shift=0.25, elastic=0)
    right = shift(image, torch.tensor([[0.5, 0.5, 0.5, 0.5, 1.0, 0.5]]).expand(2, -1))
    assert torch.allclose(right[..., :21], image[..., 7:], atol=1e-4)


def test_symmetries_are_classes_and_groups_of_their_own():
    data = marked(3, 3, groups="aab")
    eight = data.with_symmetries(8)
    assert eight.n_classes == 24
    assert len(set(eight.groups)) == 16
    first = [eight.images[eight.classes == 1 + 3 * turn][2, 0] for turn in range(8)]
    assert len({tuple(image.flatten().tolist()) for image in first}) == 8
    assert torch.equal(first[1], torch.rot90(first[0]))
    assert torch.equal(first[4], first[0].flip(-1))
    assert data.with_symmetries(1) is data
    with pytest.raises(UserError, match="1, 4 or 8"):
        data.with_symmetries(3)


def test_only_groups_and_joined():
    data = marked(4, 2, groups="abab")
    b = data.only_groups(["b"])
    assert b.names == ("class1", "class3")
    assert marks(b.images[:, 0] / 255)[:, 0].tolist() == [1, 1, 3, 3]
    both = b.joined(data)
    assert both.names == ("class1", "class3", "class0", "class2")
    assert marks(both.images[both.classes == 2][:, 0] / 255)[:, 0].tolist() == [0, 0]
    with pytest.raises(UserError, match="no group 'z'"):
        data.only_groups(["z"])


def test_labels_of_any_kind_and_layouts_of_any_kind():
    images = np.random.default_rng(0).integers(0, 255, (4, 6, 5, 3), dtype=np.uint8)
    data = from_arrays(images, ["cat", "dog", "cat", "dog"])
    assert data.names == ("cat", "dog")
    assert data.shape == (3, 6, 5)
    assert data.classes.tolist() == [0, 1, 0, 1]
    assert as_images(np.zeros((2, 4, 4), dtype=bool)).dtype == torch.uint8
    listed = from_dataset([(torch.zeros(1, 4, 4), 9), (torch.ones(1, 4, 4), torch.tensor(2))])
    assert listed.names == ("9", "2")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([np.zeros((4, 4)), np.zeros((5, 4))], [0, 1], "mixed sizes"),
        (np.full((2, 4, 4), np.nan), [0, 1], "image 0 holds NaN"),
        (np.zeros((2, 4, 4), dtype=np.uint8), [1, 1], "only one class"),
        (np.zeros((2, 4, 4), dtype=np.uint8), [1], "2 images have 1 labels"),
        (np.zeros((2, 4, 4), dtype=np.uint8), ["a", None], "label None"),
        (np.zeros((2, 4, 4), dtype=np.int64), [0, 1], "uint8, bool or floats"),
        (np.zeros((2, 4), dtype=np.uint8), [0, 1], "images must be"),
    ],
)
def test_bad_arrays(images, labels, message):
    with pytest.raises(UserError, match=message):
        from_arrays(images, labels)


def test_a_dataset_of_something_else():
    with pytest.raises(UserError, match="item 0 of the dataset is no"):
        from_dataset([torch.zeros(1, 4, 4)])
