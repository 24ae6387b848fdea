import math

import numpy as np
import pytest
import torch
from torch import nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning import EpisodeSource, FewShotLearner, MatchingNetwork, PrototypicalNetwork, RelationNetwork
from rl_suite.meta_learning.data.glyphs import draw_alphabets
from rl_suite.meta_learning.learners.few_shot import decide
from rl_suite.meta_learning.learners.few_shot_encoder import ConvEncoder
from rl_suite.meta_learning.learners.few_shot_heads import (
    ALGORITHMS,
    MatchingHead,
    NearestCentroidHead,
    PrototypicalHead,
    RelationHead,
    class_means,
)

TRAINED = ("prototypical", "relation", "matching")


@pytest.fixture(scope="module")
def glyphs():
    return draw_alphabets(range(2), 16, seed=0)


@pytest.fixture(scope="module")
def source(glyphs):
    return EpisodeSource(glyphs, 5, 2, 3, seed=0)


def encoder():
    torch.manual_seed(0)
    return ConvEncoder(1, (8, 16, 16, 16))


def test_prototypes_and_distances_by_hand():
    support = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 4.0]])
    places = torch.tensor([1, 1, 0])
    assert class_means(support, places, 2).tolist() == [[4, 4], [1, 0]]
    query = torch.tensor([[1.0, 1.0]])
    scores = PrototypicalHead()(support, places, query, 2)
    assert torch.allclose(scores, -torch.tensor([[18.0, 1.0]]) / math.sqrt(2))
    assert NearestCentroidHead()(support, places, query, 2).tolist() == [[-18, -1]]
    cosine = PrototypicalHead("cosine")(support, places, query, 2) * cosine_temperature()
    assert torch.allclose(cosine, torch.tensor([[1.0, math.sqrt(0.5)]]))


def cosine_temperature():
    return PrototypicalHead("cosine").log_temperature.exp().item()


def test_the_loss_of_relations_is_the_squared_error():
    head = RelationHead(torch.Size([4, 3, 3]))
    scores, targets = torch.tensor([[0.9, 0.2], [0.5, 0.5]]), torch.tensor([0, 1])
    assert head.loss(scores, targets).item() == pytest.approx((0.01 + 0.04 + 0.25 + 0.25) / 4)


def test_the_first_convolution_of_a_pair_is_the_sum_of_two():
    torch.manual_seed(0)
    head = RelationHead(torch.Size([4, 3, 3])).eval()
    support, query = torch.randn(2, 4, 3, 3), torch.randn(3, 4, 3, 3)
    both = nn.Conv2d(8, 64, 3, padding=1)
    both.weight.data = torch.cat([head.of_query.weight, head.of_class.weight], dim=1)
    both.bias.data = head.of_query.bias
    pair = torch.cat([query[2:], support[1:]], dim=1)
    expected = head.compare(both(pair)).sigmoid()
    assert torch.allclose(head(support, torch.tensor([0, 1]), query, 2)[2, 1], expected, atol=1e-5)


def test_matching_scores_are_log_probabilities():
    torch.manual_seed(0)
    head = MatchingHead(torch.Size([6]))
    scores = head(torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1]), torch.randn(4, 6), 3)
    assert torch.allclose(scores.exp().sum(1), torch.ones(4), atol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_permuting_classes_and_supports_permutes_predictions(algorithm, source):
    learner = FewShotLearner(algorithm, encoder(), learning_rate=3e-3)
    for i in range(30 * (algorithm in TRAINED)):
        learner.train_episode(*source.task(i))
    task = source.task(100)
    before = learner.predict(task.support_x, task.support_y, task.query_x)
    relabelled = torch.tensor([7, 3, 9, 1, 5])[task.support_y]
    after = learner.predict(task.support_x, relabelled, task.query_x)
    assert torch.equal(after, torch.tensor([7, 3, 9, 1, 5])[before])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    shuffled = learner.predict(task.support_x[order], task.support_y[order], task.query_x)
    assert torch.equal(shuffled, before)
    assert len(set(before.tolist())) > 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_query_is_judged_alone(algorithm, source):
    learner = FewShotLearner(algorithm, encoder())
    task = source.task(0)
    together = learner.scores(task.support_x, task.support_y, task.query_x)
    alone = learner.scores(task.support_x, task.support_y, task.query_x[4:5])
    assert torch.allclose(together[4:5], alone, atol=1e-4)


@pytest.mark.parametrize("algorithm", TRAINED)
def test_learns(algorithm, glyphs):
    """On alphabets that it never saw, within seconds."""
    train = EpisodeSource(glyphs, 8, 1, 2, seed=1)
    held_out = EpisodeSource(draw_alphabets(range(5, 6), 16, seed=0), 5, 1, 3, seed=2)
    learner = FewShotLearner(algorithm, encoder(), learning_rate=3e-3)
    before = learner.build(glyphs.images).evaluate(held_out, 60).interval.estimate
    losses = [learner.train_episode(*train.task(i))["loss"] for i in range(120)]
    after = learner.evaluate(held_out, 60).interval.estimate
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])
    assert after > max(before + 0.05, 0.55)


def test_an_untrained_learner_with_shuffled_labels_is_at_chance(source):
    learner = FewShotLearner("prototypical", encoder())
    generator = torch.Generator().manual_seed(0)
    tasks = [source.task(i) for i in range(300)]
    shuffled = [t._replace(support_y=t.support_y[torch.randperm(10, generator=generator)]) for t in tasks]
    scores = learner.evaluate(shuffled, 300).interval
    assert scores.low < 0.2 < scores.high


def test_labels_of_any_kind_come_back_as_they_were(source):
    learner = PrototypicalNetwork(nn.Flatten())
    task = source.task(1)
    names = ["zeta", "alpha", "mu", "pi", "chi"]
    texts = [names[y] for y in task.support_y]
    found = learner.predict(task.support_x, texts, task.query_x)
    assert isinstance(found, list)
    assert set(found) <= set(names)
    arrays = learner.predict(task.support_x, np.array(texts), task.query_x)
    assert arrays.tolist() == found
    one = learner.predict(task.support_x, texts, task.query_x[0])
    assert one == found[0]
    numbers = learner.predict(task.support_x, task.support_y * 10 - 3, task.query_x)
    assert [names[(n + 3) // 10] for n in numbers.tolist()] == found


def test_uneven_shots(source):
    learner = FewShotLearner("nearest_centroid", nn.Flatten())
    task = source.task(0)
    kept = [0, 2, 3, 4, 6, 7, 8]
    assert learner.predict(task.support_x[kept], task.support_y[kept], task.query_x).shape == (15,)


def test_symmetric_training_averages_both_directions(source):
    task = source.task(0)
    forward, backward, both = (FewShotLearner("prototypical", nn.Flatten(), symmetric=s) for s in (False, False, True))
    a = forward.train_episode(*task)["loss"]
    b = backward.train_episode(task.query_x, task.query_y, task.support_x, task.support_y)["loss"]
    assert both.train_episode(*task)["loss"] == pytest.approx((a + b) / 2)
    missing = task.query_y != 2
    with pytest.raises(UserError, match="every class"):
        both.train_episode(task.support_x, task.support_y, task.query_x[missing], task.query_y[missing])


def test_assignment_uses_each_class_once():
    scores = torch.tensor([[3.0, 2.9], [2.0, 0.0]])
    assert decide(scores).tolist() == [0, 0]
    assert decide(scores, "assignment").tolist() == [1, 0]
    with pytest.raises(UserError, match="cannot show 2 classes once each"):
        decide(torch.zeros(3, 2), "assignment")
    with pytest.raises(UserError, match="transductive must be"):
        decide(scores, "joint")


@pytest.mark.parametrize("network", [PrototypicalNetwork, RelationNetwork, MatchingNetwork])
def test_training_goes_on_from_its_state_with_the_same_bits(network, source, glyphs):
    one, other = network(encoder()), network(encoder())
    for i in range(2):
        one.train_episode(*source.task(i))
    with pytest.raises(UserError, match="build"):
        other.load_meta_state(one.get_meta_state())
    other.build(glyphs.images).load_meta_state(one.get_meta_state())
    for learner in (one, other):
        learner.train_episode(*source.task(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_documents_encoder(source):
    layers = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 5 * 5, 128),
    )  # fmt: skip
    learner = FewShotLearner(algorithm="prototypical", encoder=layers)
    task = EpisodeSource(draw_alphabets(range(1), 28, seed=0), 5, 1, 2, seed=0).task(0)
    support_x, support_y, query_x, query_y = task
    metrics = learner.train_episode(support_x, support_y, query_x, query_y)
    predictions = learner.predict(support_x, support_y, query_x)
    assert set(metrics) == {"loss", "accuracy"}
    assert predictions.shape == query_y.shape
    assert set(FewShotLearner("relation", layers).train_episode(*task)) == {"loss", "accuracy"}  # vectors, not maps


def test_bad_input(source):
    task = source.task(0)
    learner = FewShotLearner("prototypical", nn.Flatten())
    with pytest.raises(UserError, match="did you mean 'prototypical'"):
        FewShotLearner("prototypicall", nn.Flatten())
    with pytest.raises(UserError, match="only one class"):
        learner.predict(task.support_x, ["a"] * 10, task.query_x)
    with pytest.raises(UserError, match="10 images have 3 labels"):
        learner.predict(task.support_x, ["a", "b", "c"], task.query_x)
    with pytest.raises(UserError, match="label 5, which no support image has"):
        learner.train_episode(task.support_x, task.support_y, task.query_x, task.query_y + 4)
    with pytest.raises(UserError, match="no episodes"):
        learner.evaluate([])
    with pytest.raises(NonFiniteError, match="loss of an episode is nan"):
        learner.train_episode(task.support_x * math.nan, task.support_y, task.query_x, task.query_y)
    with pytest.raises(UserError, match="is a baseline"):
        FewShotLearner("fine_tuning", nn.Flatten()).train_episode(*task)
    with pytest.raises(UserError, match="scores are not finite"):
        learner.predict(task.support_x * math.nan, task.support_y, task.query_x)
    with pytest.raises(UserError, match="mixed sizes"):
        learner.predict(task.support_x, task.support_y, task.query_x[..., 1:])
    with pytest.raises(UserError, match="mixed sizes"):
        learner.train_episode(task.support_x, task.support_y, task.query_x[..., 1:], task.query_y)
    normalised = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.BatchNorm1d(4))
    single = FewShotLearner("prototypical", normalised).build(task.support_x)
    with pytest.raises(UserError, match="BatchNorm needs statistics"):
        single._encode_for_training(task.support_x[:1])
