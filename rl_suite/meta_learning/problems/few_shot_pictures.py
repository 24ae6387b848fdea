"""Pictures of a few-shot learner: episodes with its answers, and where it puts the pictures of unseen classes."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rl_suite.checkpoint import write_atomically
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.images import ImageSet
from rl_suite.meta_learning.learners.few_shot import FewShotLearner
from rl_suite.meta_learning.learners.few_shot_evaluation import encode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EPISODES, QUERIES = 3, 3  # drawn; of each class
MAP_CLASSES, MAP_DRAWINGS = 10, 8  # of the map of embeddings
INK, RIGHT, WRONG, QUIET = "#1e293b", "#16a34a", "#dc2626", "#94a3b8"
THUMBNAIL = 0.9  # scale of a picture on the map


def draw_episodes(learner: FewShotLearner, source: EpisodeSource, path: Path) -> None:
    """One column per class: its support picture above, queries below with a frame that says right or wrong.

    Under a wrong one stands the number of the class that was chosen.
    """
    from matplotlib.figure import Figure

    n_way, queries = source.n_way, min(QUERIES, source.k_query)
    figure = Figure(figsize=(min(16, 1 + EPISODES * n_way * 0.62), 0.8 * (queries + 1) + 0.5), layout="constrained")
    for number, box in enumerate(figure.subfigures(1, EPISODES, wspace=0.06, squeeze=False)[0]):
        task = source.task(number)
        answers = learner.predict(task.support_x, task.support_y, task.query_x).reshape(n_way, source.k_query)
        cells = box.subplots(queries + 1, n_way, squeeze=False)
        right = float((answers == torch.arange(n_way)[:, None]).double().mean())
        box.suptitle(f"episode {number}: {right:.0%} of {answers.numel()} queries right", fontsize=9, color=INK)
        for c in range(n_way):
            _show(cells[0, c], task.support_x[c * source.k_shot], QUIET)
            cells[0, c].set_title(str(c + 1), fontsize=8, color=INK)
            for q in range(queries):
                chosen = int(answers[c, q])
                _show(cells[q + 1, c], task.query_x[c * source.k_query + q], RIGHT if chosen == c else WRONG)
                if chosen != c:
                    cells[q + 1, c].set_xlabel(str(chosen + 1), fontsize=8, color=WRONG, labelpad=1)
    _save(figure, path)


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
    _save(figure, path)


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


def _show(axes: "Axes", image: Tensor, frame: str) -> None:
    if len(image) == 1:
        axes.imshow(1 - image[0].numpy(), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(image.permute(1, 2, 0).numpy())
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=frame, linewidth=1.5)


def _save(figure: "Figure", path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, buffer.getvalue())
