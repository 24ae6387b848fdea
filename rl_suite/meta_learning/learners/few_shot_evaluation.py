"""Few-shot accuracy over thousands of episodes: every picture is encoded once, episodes only look features up.

Episodes of one source draw from one image set, so encoding it once takes a hundredth of the time of encoding each
episode. It gives the same predictions, because encoders are in evaluation mode: no picture's features depend on
another picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rl_suite.meta_learning.data.draws import distinct, fractions, random_bits
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.images import as_floats
from rl_suite.meta_learning.data.jitter import Jitter
from rl_suite.meta_learning.data.official_runs import OneShotRun
from rl_suite.meta_learning.learners.few_shot import FewShotLearner, Transductive, decide
from rl_suite.meta_learning.learners.few_shot_heads import Head
from rl_suite.meta_learning.metrics import TaskScores

AT_ONCE = 256  # pictures encoded, episodes drawn
JITTER_SEED, SHUFFLE_SEED = 1_000_003, 1_000_004


class JitteredCopies(NamedTuple):
    """Features are means over the picture as it is and ``copies`` jittered ones."""

    jitter: Jitter
    copies: int


@torch.no_grad()
def encode(learner: FewShotLearner, images: Tensor, around: JitteredCopies | None = None) -> Tensor:
    """Features (N, ...) of images (N, C, H, W) in evaluation mode; picture n has its own jitter, in any batch."""
    learner.eval()
    parts = []
    for start in range(0, len(images), AT_ONCE):
        pixels = as_floats(images[start : start + AT_ONCE])
        features = learner.encode(pixels)
        if around is not None:
            numbers = around.jitter.numbers
            bits = random_bits(JITTER_SEED, np.arange(start, start + len(pixels)), numbers * around.copies)
            uniform = torch.from_numpy(fractions(bits)).reshape(len(pixels), around.copies, numbers)
            for copy in range(around.copies):
                features = features + learner.encode(around.jitter(pixels, uniform[:, copy]))
            features = features / (around.copies + 1)
        parts.append(features)
    return torch.cat(parts)


@torch.no_grad()
def accuracies(
    head: Head,
    features: Tensor,
    source: EpisodeSource,
    n_episodes: int,
    *,
    shuffle_labels: bool = False,
    transductive: Transductive | None = None,
) -> TaskScores:
    """Accuracy on the first ``n_episodes`` episodes of a source.

    Args:
        head: compares queries with the support set.
        features: of all pictures of the source's image set, (N, ...).
        source: episodes; its own jitter is not used.
        n_episodes: how many.
        shuffle_labels: the control whose support labels are shuffled: nothing can be learned from them.
        transductive: as in :func:`~rl_suite.meta_learning.learners.few_shot.decide`.
    """
    head.eval()
    n_way, k_shot = source.n_way, source.k_shot
    places = torch.arange(n_way).repeat_interleave(k_shot)
    targets = torch.arange(n_way).repeat_interleave(source.k_query)
    found = []
    for start in range(0, n_episodes, AT_ONCE):
        size = min(AT_ONCE, n_episodes - start)
        drawn = torch.from_numpy(source.draw(start, size).images)  # (size, n_way, k_shot + k_query)
        support, query = drawn[:, :, :k_shot].flatten(1), drawn[:, :, k_shot:].flatten(1)
        labels = places[_orders(start, size, len(places))] if shuffle_labels else places.expand(size, -1)
        for s, y, q in zip(support, labels, query, strict=True):
            chosen = decide(head(features[s], y, features[q], n_way), transductive)
            found.append(float((chosen == targets).to(torch.float64).mean()))
    return TaskScores.of(found)


def run_accuracies(
    learner: FewShotLearner,
    runs: Sequence[OneShotRun],
    around: JitteredCopies | None = None,
    transductive: Transductive | None = None,
) -> TaskScores:
    """Accuracy on each of the official one-shot runs."""
    head = learner.build(runs[0].support).require_head()
    found = []
    for run in runs:
        features = encode(learner, torch.cat([run.support, run.query]), around)
        n = len(run.support)
        with torch.no_grad():
            chosen = decide(head(features[:n], torch.arange(n), features[n:], n), transductive)
        found.append(float((chosen == run.answers).to(torch.float64).mean()))
    return TaskScores.of(found)


def pixel_learner() -> FewShotLearner:
    """The control that sees pixels only: the nearest class mean."""
    return FewShotLearner("nearest_centroid", nn.Flatten())


def _orders(start: int, size: int, n: int) -> Tensor:
    """A random order of ``n`` places for each episode, (size, n)."""
    return torch.from_numpy(distinct(random_bits(SHUFFLE_SEED, np.arange(start, start + size), n), np.full(size, n)))
