import copy

import numpy as np
import pytest
import torch
from graph_toys import PointTheWay, observations
from gymnasium import spaces
from ptm_toys import FROZEN, IMAGES, TRAINED
from torch import nn

from agents.graph.batch import GraphBatch
from agents.graph.picture import graph_pictures
from agents.ptm.combiners import COMBINERS, WeightSharingAttention, attention_entropy
from agents.ptm.weight_sharing import MultiPTMFeatureExtractor, WSAEnhancedActor

pytestmark = pytest.mark.usefixtures("seeded", "no_downloads")


def test_attention_is_the_weighted_sum_and_rows_sum_to_one():
    attention = WeightSharingAttention(4, 3, scorer="linear", attention_temperature=0.5)
    context, embeddings = torch.randn(5, 3), torch.randn(5, 2, 4)
    combined, weights = attention(context, embeddings)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    w = torch.cat([attention.score_context.weight, attention.score_embedding.weight], dim=1)
    both = torch.cat([context.unsqueeze(1).expand(-1, 2, -1), embeddings], dim=2)  # the paper's [C; E_i]
    logits = nn.functional.leaky_relu((both @ w.t()).squeeze(-1) + attention.score_context.bias, 0.2)
    torch.testing.assert_close(weights, torch.softmax(logits / 0.5, dim=1))
    torch.testing.assert_close(combined, torch.einsum("bn,bnd->bd", weights, embeddings))


@pytest.mark.parametrize("scorer", ["linear", "mlp"])
def test_the_scorer_is_shared_and_nothing_else_tells_models_apart(scorer):
    attention = WeightSharingAttention(4, 3, scorer=scorer)
    context, embeddings = torch.randn(5, 3), torch.randn(5, 3, 4)
    combined, weights = attention(context, embeddings)
    turned, turned_weights = attention(context, embeddings.flip(1))
    torch.testing.assert_close(turned_weights, weights.flip(1))
    torch.testing.assert_close(turned, combined)


@pytest.mark.parametrize("scorer", ["linear", "mlp"])
def test_the_weights_respond_to_the_context(scorer):
    attention, embeddings = WeightSharingAttention(4, 3, scorer=scorer), torch.randn(1, 3, 4)
    first, second = (attention(torch.full((1, 3), c), embeddings)[1] for c in (-4.0, 4.0))
    assert (first - second).abs().max() > 1e-3


def test_no_score_is_ever_dead():
    """Far below zero a ReLU would leave uniform weights and no gradient; here both are alive."""
    attention, embeddings = WeightSharingAttention(4, 3, scorer="linear"), torch.randn(6, 3, 4)
    with torch.no_grad():
        attention.score_context.bias.fill_(-50.0)
    combined, weights = attention(torch.randn(6, 3), embeddings)
    assert (weights - 1 / 3).abs().max() > 1e-2
    combined.sum().backward()
    assert attention.score_embedding.weight.grad.abs().max() > 1e-4


def test_inactive_models_get_nothing_and_temperature_sharpens():
    context, embeddings = torch.randn(5, 3), torch.randn(5, 3, 4)
    attention = WeightSharingAttention(4, 3, attention_temperature=1.0)
    _, weights = attention(context, embeddings, torch.tensor([True, False, True]))
    assert (weights[:, 1] == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    sharp = copy.deepcopy(attention)
    sharp.log_temperature.data = torch.tensor(0.05).log()
    _, wide = attention(context, embeddings)
    assert attention_entropy(sharp(context, embeddings)[1]).mean() < attention_entropy(wide).mean()


def test_node_contexts_choose_their_own_weights():
    attention = WeightSharingAttention(4, 3)
    embeddings, rows = torch.randn(2, 3, 4), torch.tensor([0, 0, 1])
    context = torch.randn(3, 3)
    combined, weights = attention(context, embeddings, rows=rows)
    alone, alone_weights = attention(context[1:2], embeddings[:1])
    torch.testing.assert_close(combined[1:2], alone)
    torch.testing.assert_close(weights[1:2], alone_weights)


def test_the_entropy_regulariser_has_a_gradient_and_the_right_sign():
    embeddings, context = torch.randn(16, 3, 4) * 3, torch.randn(16, 3)
    attention = WeightSharingAttention(4, 3, entropy_coef=0.5)
    optimizer = torch.optim.Adam(attention.parameters(), lr=1e-2)
    before = attention_entropy(attention(context, embeddings)[1]).mean().item()
    for _ in range(40):
        optimizer.zero_grad()
        (attention(context, embeddings)[0].sum() * 0.0).backward()  # the algorithm wants nothing
        assert attention.score_embedding.weight.grad.abs().sum() > 0
        optimizer.step()
    after = attention_entropy(attention(context, embeddings)[1]).mean().item()
    assert after > before
    assert after == pytest.approx(np.log(3), abs=0.02)


def test_the_entropy_regulariser_bears_models_without_weight():
    """Of those that have not joined, and of those whose weight a large score of another rounds to 0."""
    attention = WeightSharingAttention(4, 3, entropy_coef=1.0)
    _, weights = attention(torch.randn(6, 3), torch.randn(6, 3, 4), active=torch.tensor([True, False, True]))
    weights.sum().backward()
    gradient = attention.score_context.weight.grad
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    logits = torch.tensor([[0.0, 200.0]], requires_grad=True)
    attention_entropy(torch.softmax(logits, dim=1)).sum().backward()
    assert logits.grad.tolist() == [[0.0, 0.0]]


def test_a_learned_temperature_is_learned():
    attention = WeightSharingAttention(4, 3, attention_temperature=2.0, learn_temperature=True)
    assert attention.log_temperature.exp().item() == pytest.approx(2.0)
    attention(torch.randn(5, 3), torch.randn(5, 3, 4))[0].pow(2).sum().backward()
    assert attention.log_temperature.grad.abs() > 0


@pytest.mark.parametrize("combiner", COMBINERS)
def test_every_combiner_serves_pixels_and_its_samples_are_independent(combiner):
    extractor = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED], embedding_dim=8, combiner=combiner)
    images = torch.rand(4, 3, 36, 36)
    features, weights = extractor(images, return_attention=True)
    assert features.shape == (4, extractor.features_dim)
    assert (weights is not None) == (combiner in ("wsa", "dot_product"))
    torch.testing.assert_close(extractor(images[2:3])[0], features[2], rtol=1e-4, atol=1e-5)
    assert features.std(dim=0).max() > 0
    if combiner != "reservoir":
        features.pow(2).sum().backward()
        assert extractor.ptms[1].backbone[0].weight.grad.abs().sum() > 0
    assert extractor.ptms[0].backbone[0].weight.grad is None


def test_reservoirs_have_the_spectral_radius_that_was_asked_for():
    extractor = MultiPTMFeatureExtractor(
        IMAGES, ptms=[FROZEN], embedding_dim=16, combiner="reservoir", spectral_radius=0.7
    )
    assert torch.linalg.eigvals(extractor.combiner.recurrent).abs().max().item() == pytest.approx(0.7, abs=1e-4)


def test_frozen_models_look_once_at_each_image():
    extractor = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED], embedding_dim=8, cache_size=16)
    images = torch.rand(6, 3, 36, 36)
    plain = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED], embedding_dim=8, cache_size=0)
    plain.load_state_dict(extractor.state_dict())
    for order in (torch.arange(6), torch.randperm(6), torch.tensor([3, 3, 1])):
        torch.testing.assert_close(extractor(images[order]), plain(images[order]))
    assert extractor.n_computed() == [6, 0]
    extractor.load_state_dict(
        MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED], embedding_dim=8, cache_size=0).state_dict()
    )
    extractor(images)
    assert extractor.n_computed() == [12, 0]


def test_models_join_and_unfreeze_in_time():
    late = {**TRAINED, "join_at": 100}
    thaw = {**FROZEN, "unfreeze_at": 200}
    extractor = MultiPTMFeatureExtractor(IMAGES, ptms=[thaw, late], embedding_dim=8)
    assert extractor.names == ["graph_cnn_0", "graph_cnn_1"]
    images = torch.rand(3, 3, 36, 36)
    with pytest.raises(ValueError, match="join_at and unfreeze_at do nothing by themselves"):
        extractor(images)
    assert extractor.advance(99) == []
    assert extractor(images, return_attention=True)[1].tolist() == [[1.0, 0.0]] * 3
    assert extractor.advance(100) == ["graph_cnn_1 joins"]
    weights = extractor(images, return_attention=True)[1]
    assert (weights > 0).all()
    assert extractor.advance(250) == ["graph_cnn_0 is trained from now on"]
    assert not extractor.ptms[0].frozen
    assert extractor.advance(300) == []


def test_leaving_one_model_out():
    extractor = MultiPTMFeatureExtractor(IMAGES, ptms=[FROZEN, TRAINED], embedding_dim=8)
    images = torch.rand(3, 3, 36, 36)
    with extractor.without("graph_cnn_1"):
        assert extractor(images, return_attention=True)[1][:, 1].tolist() == [0.0] * 3
        with pytest.raises(ValueError, match="only model"), extractor.without("graph_cnn_0"):
            pass
    assert (extractor(images, return_attention=True)[1][:, 1] > 0).all()
    for act in (extractor.freeze, extractor.unfreeze):
        with pytest.raises(
            ValueError, match="no pre-trained model 'resnet18' here; there are graph_cnn_0, graph_cnn_1"
        ):
            act("resnet18")


@pytest.mark.parametrize(
    ("space", "batch"),
    [
        (
            spaces.Dict({"camera": spaces.Box(0, 1, (3, 24, 24)), "speed": spaces.Box(-1, 1, (2,))}),
            {"camera": torch.rand(5, 3, 24, 24), "speed": torch.rand(5, 2)},
        ),
        (PointTheWay().observation_space, observations(5)),
    ],
)
def test_dict_and_graph_observations(space, batch):
    extractor = MultiPTMFeatureExtractor(space, ptms=[FROZEN, TRAINED], embedding_dim=8)
    features, weights = extractor(batch, return_attention=True)
    assert features.shape == (5, 8)
    torch.testing.assert_close(weights.sum(1), torch.ones(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"observation_space": spaces.Discrete(3)}, "need images"),
        ({"observation_space": spaces.Box(0, 1, (7,))}, "need images of shape"),
        ({"observation_space": spaces.Dict({"a": spaces.Box(0, 1, (7,))})}, "at least one image"),
        ({"observation_space": IMAGES, "combiner": "average"}, "combiner must be one of wsa, dot_product"),
        ({"observation_space": IMAGES, "scorer": "deep"}, "scorer must be"),
        ({"observation_space": IMAGES, "attention_temperature": 0.0}, "must be positive"),
        (
            {"observation_space": IMAGES, "temperature": 1.0},
            "combiner 'wsa' got an unexpected keyword argument 'temperature'",
        ),
        ({"observation_space": IMAGES, "ptms": "resnet18"}, "ptms is a list of mappings"),
        ({"observation_space": IMAGES, "embedding_dim": 0}, "embedding_dim must be a whole number from 1 on"),
        ({"observation_space": IMAGES, "context_dim": -1}, "context_dim must be a whole number from 1 on"),
        ({"observation_space": IMAGES, "cache_size": -1}, "cache_size must be a whole number from 0 on"),
        ({"observation_space": IMAGES, "entropy_coef": "big"}, "entropy_coef must be a finite number"),
        ({"observation_space": IMAGES, "ptms": [{**FROZEN, "join_at": 5}]}, "join_at: 0"),
        ({"observation_space": spaces.Box(0, 1, (3, 6, 6))}, "at least 8x8, not 6x6"),
        ({"observation_space": IMAGES, "combiner": "cnn_concat", "layers": 4}, "1 to 3 layers"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiPTMFeatureExtractor(**{"ptms": [FROZEN], **arguments})


def test_pictures_show_nodes_signal_and_edges():
    observation = observations(2)
    pictures = graph_pictures(GraphBatch(observation))
    assert pictures.shape == (2, 3, 24, 24)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    torch.testing.assert_close((pictures * 255).round(), pictures * 255, rtol=0, atol=1e-3)
    n = int(observation["num_nodes"][0])
    x = observation["x"][0, :n, 0]
    column = ((x / 2 + 1) * 12).long().clamp(0, 23)
    assert set((pictures[0, 0] > 0).any(dim=0).nonzero().flatten().tolist()) == set(column.tolist())
    moved = {key: value.clone() for key, value in observation.items()}
    moved["x"][0, 0, 1] = 1.9  # up: towards row 0
    assert (graph_pictures(GraphBatch(moved))[0, 0, 0] > 0).any()
    torch.testing.assert_close(graph_pictures(GraphBatch(moved))[1], pictures[1])


def test_without_attention_all_models_weigh_the_same():
    actor = WSAEnhancedActor(16, 16, 3, 2, use_wsa=False, ptms=[FROZEN, TRAINED, TRAINED])
    _, weights = actor(torch.randn(4, 16), torch.randn(1, 16), return_attention=True)
    torch.testing.assert_close(weights, torch.full((1, 3), 1 / 3))


def test_an_actor_says_what_it_misses():
    actor = WSAEnhancedActor(16, 16, 3, 2, ptms=[TRAINED], image="picture")
    with pytest.raises(ValueError, match="node_graph is needed"):
        actor(torch.randn(4, 16), torch.randn(2, 16))
    with pytest.raises(ValueError, match="pass pictures"):
        actor(torch.randn(4, 16), torch.randn(1, 16))
    with pytest.raises(ValueError, match="level must be one of"):
        WSAEnhancedActor(16, 16, 3, 2, ptms=[TRAINED], level="edge")
