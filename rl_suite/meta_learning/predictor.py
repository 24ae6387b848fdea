"""A trained few-shot learner for your own pictures: ``load_few_shot_learner(run_folder).predict(...)``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rl_suite.errors import UserError
from rl_suite.experiments import load_attribute
from rl_suite.loading import validate
from rl_suite.meta_learning.config import MetaLearningConfig
from rl_suite.meta_learning.data.framing import fit_drawings
from rl_suite.meta_learning.data.images import as_floats, as_images, resize
from rl_suite.meta_learning.experiment import restore
from rl_suite.meta_learning.learners.few_shot import Labels, Transductive, as_labels, decide, places_of
from rl_suite.meta_learning.tasks import Task, Tasks
from rl_suite.run import Run

LEARNERS: dict[str, str] = {
    "few_shot": "rl_suite.meta_learning.problems.few_shot:build_learner",
    "few_shot_gradient": "rl_suite.meta_learning.problems.few_shot_gradient:build_learner",
    "few_shot_taml": "rl_suite.meta_learning.problems.few_shot_taml:build_learner",
}
"""Problem of pictures -> ``"module:function"``, called as ``build_learner(section) -> PictureLearner``."""
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)


class PictureLearner(Protocol):
    """What a learner needs so that it can be loaded and asked."""

    def outputs(self, tasks: Tasks) -> Any:
        """Scores (Q, n) of every task's queries, column c for label c."""

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Take over a trained state."""


@dataclass(frozen=True)
class PicturePredictor:
    """A trained learner and the kind of pictures that it knows."""

    learner: PictureLearner
    size: int
    """Pixels of a side; other pictures are stretched to it."""
    channels: int
    """1 or 3; colours become grey, or grey three equal channels."""
    ink: bool
    """It knows bright ink on a dark ground: where the support set is brighter than half, everything is inverted."""
    framed: bool
    """It knows drawings that are cut to their ink."""

    def predict(self, support_x: Any, support_y: Labels, query_x: Any, transductive: Transductive | None = None) -> Any:
        """Labels of pictures.

        Args:
            support_x: S pictures of known classes, of any one size: (S, H, W), (S, H, W, 3) or (S, C, H, W); bytes,
                or floats in [0, 1].
            support_y: S labels of any kind.
            query_x: Q pictures of any one size, grey or in the layout of the support, or a single one.
            transductive: see :meth:`~rl_suite.meta_learning.learners.few_shot.FewShotLearner.predict`.

        Returns:
            A tensor, an array or a list, as ``support_y`` is; one label for a single picture.

        Raises:
            UserError: pictures of mixed sizes, NaN, one class, more classes than the learner was made for.
        """
        support, query = _arrays(support_x), _arrays(query_x)
        single = _is_single(query, support)
        support, query = self._pixels(support), self._pixels(query[None] if single else query)
        if self.ink:
            if support.mean() > 0.5:
                support, query = 1 - support, 1 - query
            support, query = (fit_drawings(part, self.size, self.framed) for part in (support, query))
        else:
            support, query = resize(support, self.size), resize(query, self.size)
        names, places = places_of(support_y, len(support))
        unknown = torch.zeros(len(query), dtype=torch.int64)
        scores = self.learner.outputs([Task(support, places, query, unknown)])[0].detach()
        if scores.shape[1] < len(names):
            raise UserError(f"this learner tells {scores.shape[1]} classes apart, not {len(names)}")
        answer = as_labels(decide(scores[:, : len(names)], transductive), support_y)
        return answer[0] if single else answer

    def _pixels(self, images: Tensor) -> Tensor:
        """Floats (N, C, H, W) in the learner's number of channels."""
        pixels = as_floats(as_images(images))
        if pixels.min() < 0 or pixels.max() > 1:
            raise UserError("pixels must be bytes, or floats in [0, 1]")
        if pixels.shape[1] not in (1, 3):
            raise UserError(f"pictures must have 1 or 3 channels, not {pixels.shape[1]}")
        if self.channels == 3 and pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        elif self.channels == 1 and pixels.shape[1] == 3:
            pixels = (pixels * torch.tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        return pixels


def load_few_shot_learner(run_folder: Path | str) -> PicturePredictor:
    """The trained learner of a run on pictures; the data that it was trained on is not needed.

    Raises:
        UserError: no such run, another kind of run, nothing trained yet, or a damaged checkpoint.
    """
    run = Run.open(Path(run_folder))
    settings = run.settings_to_use()
    if settings.get("kind") != "meta_learning":
        raise UserError(f"{run.path}: a run of kind {settings.get('kind')!r}, which learns no few-shot classification")
    settings["runs_dir"] = str(run.path.parent.parent)
    config = validate(MetaLearningConfig, settings, {}, (), str(run.config_path))
    assert isinstance(config, MetaLearningConfig)  # validate returns the model that it was given
    section = config.meta_learning
    if section.problem not in LEARNERS:
        raise UserError(f"{run.path}: its problem is {section.problem}, which is no classification of pictures")
    learner: PictureLearner = load_attribute(LEARNERS[section.problem])(section)
    path, content, _ = run.checkpoints.read_for_evaluation()
    restore(_Learner(learner), content, path)
    pictures = section.pictures
    return PicturePredictor(learner, pictures.size, pictures.channels, pictures.drawings, pictures.framed)


@dataclass(frozen=True)
class _Learner:
    """A learner as ``restore`` fills it."""

    learner: PictureLearner

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.learner.load_meta_state(state)


def _is_single(query: Tensor, support: Tensor) -> bool:
    """Whether the query is one picture; three axes are a picture where they hold channels as the support does."""
    if query.ndim != 3 or support.ndim != 4:
        return query.ndim == 2
    last = support.shape[-1] in (1, 3) and support.shape[1] not in (1, 3)
    return query.shape[-1] == support.shape[-1] if last else query.shape[0] == support.shape[1]


def _arrays(images: Any) -> Tensor:
    """A tensor; a list must hold pictures of one size."""
    if isinstance(images, list | tuple):
        return as_images(images)
    return images if isinstance(images, Tensor) else torch.tensor(np.asarray(images))
