"""A map of what a few-shot learner makes of unseen classes: where it puts their pictures."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from rl_suite.meta_learning.data.images import ImageSet
from rl_suite.meta_learning.learners.few_shot import FewShotLearner
from rl_suite.meta_learning.learners.few_shot_evaluation import encode
from rl_suite.meta_learning.problems.episode_pictures import INK
from rl_suite.viz.projector import write_projector
from rl_suite.viz.saving import save_figure

MAP_CLASSES, MAP_DRAWINGS = 10, 8  # of the map of embeddings
MOST_PROJECTED, THUMBNAIL_PIXELS = 1000, 28  # pictures in TensorBoard's projector, and their sides
THUMBNAIL = 0.9  # scale of a picture on the map


def draw_map(learner: FewShotLearner, data: ImageSet, path: Path) -> None:
    """Pictures of some classes of one group at the first two principal components of their features."""
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    group = max(sorted(set(data.groups)), key=data.groups.count)
    chosen = [c for c, name in enumerate(data.groups) if name == group][:MAP_CLASSES]
    part = data.only_classes(chosen)
    kept = torch.cat([(part.classes == c).nonzero()[:MAP_DRAWINGS, 0] for c in range(part.n_classes)])
    places, share = principal_components(encode(learner, part.images[kept]).flatten(1))
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    axes.scatter(places[:, 0], places[:, 1], s=0)
    axes.set_title(
        f"pictures of {len(chosen)} unseen classes{f' of {group}' if group else ''}; the two axes hold {share:.0%}"
        " of the variance of the features",
        fontsize=9,
        color=INK,
    )
    from matplotlib import colormaps

    for place, index in zip(places, kept.tolist(), strict=True):
        colour = np.array(colormaps["tab10"](int(part.classes[index]) % 10))
        box = AnnotationBbox(OffsetImage(_tinted(part.images[index], colour), zoom=THUMBNAIL), place, frameon=False)
        axes.add_artist(box)
    axes.set(xticks=[], yticks=[])
    axes.margins(0.08)
    save_figure(figure, path, dpi=110)


def project(learner: FewShotLearner, data: ImageSet, folder: Path) -> None:
    """Features of some pictures of every class, for TensorBoard's projector."""
    kept = torch.cat([(data.classes == c).nonzero()[:MAP_DRAWINGS, 0] for c in range(data.n_classes)])[:MOST_PROJECTED]
    images, classes = data.images[kept], data.classes[kept].tolist()
    features = encode(learner, images).flatten(1).float().numpy()
    grey = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), THUMBNAIL_PIXELS)[:, 0]
    scale = 1.0 if images.dtype == torch.uint8 else 255.0
    write_projector(
        folder,
        "unseen classes",
        features,
        {"class": [data.names[c] for c in classes], "group": [data.groups[c] or "one" for c in classes]},
        (255 - scale * grey).clamp(0, 255).byte().numpy(),
    )


def principal_components(features: Tensor) -> tuple[NDArray[np.float64], float]:
    """The first two components (N, 2) of features (N, D), and the share of the variance that they hold."""
    centred = (features - features.mean(0)).double()
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    return (left[:, :2] * values[:2]).numpy(), float(values[:2].square().sum() / values.square().sum())


def _tinted(image: Tensor, colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W, 4): ink in ``colour``, the ground transparent; a picture in colours as it is."""
    pixels = image.double().numpy() / 255
    if len(pixels) == 3:
        return np.concatenate([pixels.transpose(1, 2, 0), np.ones((*pixels.shape[1:], 1))], axis=2)
    return np.concatenate([np.broadcast_to(colour[:3], (*pixels.shape[1:], 3)), pixels[0][..., None]], axis=2)
