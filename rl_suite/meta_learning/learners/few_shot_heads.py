"""How queries are compared with a support set: the metric heads of few-shot learners.

A head takes features of S support and Q query images, ``places`` (S,) in [0, n) that say which class each support
image belongs to, and gives scores (Q, n), larger for likelier classes. Classes are treated alike: whoever permutes
them permutes the columns.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RELATION_CHANNELS, RELATION_HIDDEN = 64, 8  # Sung et al. 2018, section 4.1
MATCHING_WIDTH, MATCHING_STEPS = 64, 3  # features of an embedding; reads of the support set per query
LINEAR_STEPS, LINEAR_RATE, LINEAR_DECAY = 50, 10.0, 1e-3  # gradient descent on each support set, for unit features
TINY = 1e-8

Distance = Literal["euclidean", "cosine"]


class Head(nn.Module):
    """What every head has: scores, and the loss that trains them."""

    learns = True
    """Whether training changes anything; baselines only ever look at the support set."""

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Scores (Q, n_way) from features (S, ...) and (Q, ...)."""
        raise NotImplementedError

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of scores (Q, n) for the true places (Q,)."""
        return F.cross_entropy(scores, targets)


def class_means(features: Tensor, places: Tensor, n_way: int) -> Tensor:
    """Mean features of each class; (S, ...) -> (n_way, ...)."""
    members = F.one_hot(places, n_way).to(features.dtype)  # (S, n)
    means = members.T @ features.flatten(1) / members.sum(0)[:, None]
    return means.reshape(n_way, *features.shape[1:])


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances; (Q, D), (n, D) -> (Q, n)."""
    return (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T).clamp(min=0)


class PrototypicalHead(Head):
    """Distance to the mean of each class (Snell et al. 2017, equation 2).

    The distance is squared Euclidean, a Bregman divergence as the paper asks (section 2.3), or cosine. It is divided
    by the root of the number of features and multiplied by a learned inverse temperature.
    """

    def __init__(self, distance: Distance = "euclidean"):
        super().__init__()
        self.distance = distance
        self.log_temperature = nn.Parameter(torch.tensor(0.0 if distance == "euclidean" else -2.0))

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Negative scaled distances."""
        prototypes, query = class_means(support.flatten(1), places, n_way), query.flatten(1)
        if self.distance == "cosine":
            likeness = F.normalize(query, dim=1) @ F.normalize(prototypes, dim=1).T
        else:
            likeness = -squared_distances(query, prototypes) / query.shape[1] ** 0.5
        return likeness * torch.exp(-self.log_temperature)


class RelationHead(Head):
    """A convolutional network judges the query's feature map beside that of each class (Sung et al. 2018).

    Maps of one class are averaged, where the paper adds them, so that the scale does not depend on the shots. The first
    convolution of a concatenated pair is the sum of two, one of the query and one of the class, each computed once
    and not once per pair. The score is a sigmoid that learns to be 1 for the right class and 0 for others by squared
    error.
    """

    def __init__(self, feature_shape: torch.Size):
        super().__init__()
        channels, height, width = _as_map(torch.empty(1, *feature_shape)).shape[1:]
        self.of_query = nn.Conv2d(channels, RELATION_CHANNELS, 3, padding=1)
        self.of_class = nn.Conv2d(channels, RELATION_CHANNELS, 3, padding=1, bias=False)
        self.compare = nn.Sequential(
            nn.BatchNorm2d(RELATION_CHANNELS),
            nn.ReLU(),
            nn.Conv2d(RELATION_CHANNELS, RELATION_CHANNELS, 3, padding=1),
            nn.BatchNorm2d(RELATION_CHANNELS),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(RELATION_CHANNELS * height * width, RELATION_HIDDEN),
            nn.ReLU(),
            nn.Linear(RELATION_HIDDEN, 1),
        )

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Relation scores in (0, 1)."""
        classes, query = class_means(_as_map(support), places, n_way), _as_map(query)
        pairs = self.of_query(query)[:, None] + self.of_class(classes)[None]  # (Q, n, C', H, W)
        relations: Tensor = self.compare(pairs.flatten(0, 1))
        return relations.sigmoid().reshape(len(query), n_way)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Squared error to 1 for the right class and 0 for the others (equation 2)."""
        return F.mse_loss(scores, F.one_hot(targets, scores.shape[1]).to(scores.dtype))


class MatchingHead(Head):
    """Attention over the support images, whose labels are averaged (Vinyals et al. 2016).

    Full-context embeddings (appendix A): a bidirectional LSTM reads the support set, and each query reads it
    several times by an LSTM with attention. The paper leaves the order of the support open; here the set is read
    in the order of its first feature, so that the order in which it is given does not matter.
    """

    def __init__(self, feature_shape: torch.Size):
        super().__init__()
        self.project = nn.Linear(feature_shape.numel(), MATCHING_WIDTH)
        self.read_support = nn.LSTM(MATCHING_WIDTH, MATCHING_WIDTH, bidirectional=True)
        self.read_query = nn.LSTMCell(MATCHING_WIDTH, 2 * MATCHING_WIDTH)
        self.back = nn.Linear(2 * MATCHING_WIDTH, MATCHING_WIDTH)
        self.log_temperature = nn.Parameter(torch.tensor(-2.0))

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Logarithms of the attention that falls on each class."""
        support, query = self.project(support.flatten(1)), self.project(query.flatten(1))
        order = support[:, 0].argsort()
        support, places = support[order], places[order]
        forward, backward = self.read_support(support)[0].chunk(2, dim=1)
        support = support + forward + backward  # (S, D)
        cosines = F.normalize(self._embed(query, support), dim=1) @ F.normalize(support, dim=1).T
        attention = torch.softmax(cosines * torch.exp(-self.log_temperature), dim=1)  # (Q, S)
        return torch.log(attention @ F.one_hot(places, n_way).to(attention.dtype) + TINY)

    def _embed(self, query: Tensor, support: Tensor) -> Tensor:
        """Queries (Q, D) after reading the support set; equations 3 to 6 of the paper."""
        width = query.shape[1]
        hidden = cell = query.new_zeros(len(query), 2 * width)
        embedded = query
        for _ in range(MATCHING_STEPS):
            read = torch.softmax(embedded @ support.T / width**0.5, dim=1) @ support
            hidden = torch.cat([embedded, read], dim=1)
            hidden, cell = self.read_query(query, (hidden, cell))
            embedded = query + self.back(hidden)
        return embedded


class NearestCentroidHead(Head):
    """The baseline that learns nothing: the nearest mean, by Euclidean distance of the features as they are."""

    learns = False

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Negative squared distances."""
        return -squared_distances(query.flatten(1), class_means(support.flatten(1), places, n_way))


class LinearHead(Head):
    """The fine-tuning baseline: a linear classifier is fitted to each support set (Chen et al. 2019, "Baseline").

    The encoder stays as it is and features are brought to unit length. The gradient of the cross-entropy is written
    out, softmax minus one-hot times the features, which is ten times faster than to ask autograd for it.
    """

    learns = False

    def forward(self, support: Tensor, places: Tensor, query: Tensor, n_way: int) -> Tensor:
        """Scores of the classifier after ``LINEAR_STEPS`` steps of gradient descent from zero."""
        support, query = F.normalize(support.flatten(1), dim=1), F.normalize(query.flatten(1), dim=1)
        targets = F.one_hot(places, n_way).to(support.dtype)  # (S, n)
        weights = support.new_zeros(n_way, support.shape[1])
        for _ in range(LINEAR_STEPS):
            error = torch.softmax(support @ weights.T, dim=1) - targets
            weights = weights * (1 - LINEAR_RATE * LINEAR_DECAY) - LINEAR_RATE * (error.T @ support) / len(support)
        return query @ weights.T


ALGORITHMS = ("prototypical", "relation", "matching", "fine_tuning", "nearest_centroid")


def build_head(algorithm: str, feature_shape: torch.Size, distance: Distance = "euclidean") -> Head:
    """The head of an algorithm, for features of this shape."""
    if algorithm == "prototypical":
        return PrototypicalHead(distance)
    if algorithm == "relation":
        return RelationHead(feature_shape)
    if algorithm == "matching":
        return MatchingHead(feature_shape)
    return LinearHead() if algorithm == "fine_tuning" else NearestCentroidHead()


def _as_map(features: Tensor) -> Tensor:
    """Feature maps (B, C, H, W); vectors become maps of one pixel."""
    return features if features.ndim == 4 else features.flatten(1)[:, :, None, None]
