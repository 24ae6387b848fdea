"""Few-shot learners: an encoder that is trained on episodes, and a head that compares queries with a support set."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.loading import require_known
from rl_suite.meta_learning.checks import require_model
from rl_suite.meta_learning.data.images import as_floats
from rl_suite.meta_learning.learners.few_shot_heads import ALGORITHMS, Distance, Head, build_head
from rl_suite.meta_learning.metrics import TaskScores
from rl_suite.meta_learning.tasks import Task, Tasks, TaskSource, unstack_tasks

Labels = Sequence[Any] | np.ndarray | Tensor
Transductive = Literal["assignment"]


class FewShotLearner(nn.Module):
    """Learn to tell classes apart from a few images of each.

    >>> learner = FewShotLearner("prototypical", nn.Flatten())
    >>> support, query = torch.eye(4).reshape(4, 1, 2, 2), torch.eye(4).reshape(4, 1, 2, 2)[2:]
    >>> learner.predict(support, ["a", "b", "b", "c"], query)
    ['b', 'c']

    Args:
        algorithm: "prototypical", "relation", "matching", or a baseline: "fine_tuning" (a linear classifier is fitted
            to each support set), "nearest_centroid".
        encoder: images (B, C, H, W) to features (B, D) or feature maps (B, C', H', W').
        distance: of the prototypical head.
        learning_rate: of Adam.
        weight_decay: of Adam, decoupled; not on the head's temperature.
        symmetric: in training, let support and query also change places; twice the gradient for the same features.
        autocast: run the encoder in bfloat16, 1.5x faster, where the processor can.
    """

    def __init__(
        self,
        algorithm: str,
        encoder: nn.Module,
        *,
        distance: Distance = "euclidean",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        symmetric: bool = False,
        autocast: bool = False,
    ):
        super().__init__()
        require_known(algorithm, ALGORITHMS, "few-shot algorithm")
        require_model(encoder)
        self.algorithm, self.distance, self.symmetric = algorithm, distance, symmetric
        self.autocast = autocast and bfloat16_is_fast()
        self.encoder = encoder
        self.head: Head | None = None  # some heads depend on the shape of the features: built with the first images
        self._rates = (learning_rate, weight_decay)
        self.optimizer: torch.optim.Optimizer | None = None

    def build(self, images: Tensor) -> "FewShotLearner":
        """Make the head and the optimizer for images of this shape (N, C, H, W); later calls change nothing."""
        if self.head is None:
            was_training = self.encoder.training
            self.encoder.eval()
            with torch.no_grad():
                shape = self.encoder(self._pixels(images[:1])).shape[1:]
            self.encoder.train(was_training)
            self.head = build_head(self.algorithm, shape, self.distance)
            slow = [p for p in self.parameters() if p.ndim > 1]
            free = [p for p in self.parameters() if p.ndim <= 1]
            rate, decay = self._rates
            groups = [{"params": slow, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
            self.optimizer = torch.optim.AdamW(groups, lr=rate)
        return self

    def encode(self, images: Tensor) -> Tensor:
        """Features of images (N, C, H, W), or of whatever else the encoder takes, as float32."""
        pixels = self._pixels(images)
        if pixels.ndim == 4:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            features: Tensor = self.encoder(pixels)
        return features.to(torch.float32)

    def _pixels(self, images: Tensor | NDArray[Any]) -> Tensor:
        """Numbers of the type that the encoder computes with."""
        floats = as_floats(torch.as_tensor(images))
        types = [p.dtype for p in self.encoder.parameters() if p.is_floating_point()]
        return floats.to(types[0] if types else torch.float32)

    def train_episode(self, support_x: Tensor, support_y: Labels, query_x: Tensor, query_y: Labels) -> dict[str, float]:
        """One step of the optimizer on one episode.

        Returns:
            ``loss`` and ``accuracy`` (share of the queries) before the step.

        Raises:
            UserError: a baseline, a query whose class is not in the support set, or a model that needs more images.
            NonFiniteError: the loss is NaN or infinite; nothing was changed.
        """
        return self._step([(support_x, support_y, query_x, query_y)])

    def meta_train_step(self, tasks: Tasks) -> dict[str, float]:
        """One step on the mean loss of several episodes; returns and raises as :meth:`train_episode`."""
        return self._step(unstack_tasks(tasks))

    def _step(self, episodes: Sequence[tuple[Tensor, Labels, Tensor, Labels]]) -> dict[str, float]:
        """All pictures pass the encoder together; the loss is the mean over episodes."""
        head, optimizer = self._built(episodes[0][0])
        if not head.learns:
            raise UserError(f"{self.algorithm} is a baseline: it has nothing to train, only predict and evaluate")
        _require_one_size(*(part for episode in episodes for part in (episode[0], episode[2])))
        self.train()
        pictures = [self._pixels(part) for support_x, _, query_x, _ in episodes for part in (support_x, query_x)]
        features = iter(torch.split(self._encode_for_training(torch.cat(pictures)), [len(part) for part in pictures]))
        losses, right = [], []
        for _, support_y, _, query_y in episodes:
            loss, accuracy = self._episode_loss(head, next(features), support_y, next(features), query_y)
            losses.append(loss)
            right.append(accuracy)
        mean = torch.stack(losses).mean()
        if not torch.isfinite(mean):
            raise NonFiniteError(
                f"the loss of an episode is {mean.item()}; lower the learning rate or check the images"
            )
        optimizer.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return {"loss": mean.item(), "accuracy": sum(right) / len(right)}

    def _episode_loss(
        self, head: Head, support: Tensor, support_y: Labels, query: Tensor, query_y: Labels
    ) -> tuple[Tensor, float]:
        """Loss and accuracy of one episode out of its features."""
        names, places = places_of(support_y, len(support))
        targets = places_among(query_y, names, len(query))
        scores = head(support, places, query, len(names))
        loss = head.loss(scores, targets)
        if self.symmetric:
            if len(set(targets.tolist())) < len(names):
                raise UserError("symmetric training needs query images of every class")
            loss = (loss + head.loss(head(query, targets, support, len(names)), places)) / 2
        return loss, _accuracy(scores, targets)

    @torch.no_grad()
    def scores(self, support_x: Tensor, support_y: Labels, query_x: Tensor) -> Tensor:
        """Scores (Q, n) of the classes, in the order in which they first appear in ``support_y``."""
        head, _ = self._built(support_x)
        names, places = places_of(support_y, len(support_x))
        self.eval()
        _require_one_size(support_x, query_x)
        scores: Tensor = head(self.encode(support_x), places, self.encode(query_x), len(names))
        if not torch.isfinite(scores).all():
            raise UserError("the scores are not finite: the images hold NaN, or the learner has diverged")
        return scores

    def predict(
        self, support_x: Tensor, support_y: Labels, query_x: Tensor, transductive: Transductive | None = None
    ) -> Any:
        """Labels of the queries.

        Args:
            support_x: (S, C, H, W).
            support_y: S labels of any kind, in any order; classes may have different numbers of images.
            query_x: (Q, C, H, W), or one image (C, H, W).
            transductive: "assignment" uses that every query shows another class, as in Omniglot's one-shot runs, and
                finds the best assignment of all at once. It uses the design of the test; never compare it with
                results that do not.

        Returns:
            What ``support_y`` is made of: a tensor, an array or a list; one label for one image.
        """
        single = query_x.ndim == support_x.ndim - 1
        scores = self.scores(support_x, support_y, query_x[None] if single else query_x)
        answer = as_labels(decide(scores, transductive), support_y)
        return answer[0] if single else answer

    def outputs(self, tasks: Tasks) -> list[Tensor]:
        """Scores (Q, n) of every task's queries; labels are 0..n-1 and column c is label c."""
        found = []
        for support_x, support_y, query_x, _ in unstack_tasks(tasks):
            names, _ = places_of(support_y, len(support_x))
            columns = torch.tensor(names).argsort()
            found.append(self.scores(support_x, support_y, query_x)[:, columns])
        return found

    def evaluate(self, episodes: TaskSource | Iterable[Task], n_episodes: int = 600, start: int = 0) -> TaskScores:
        """Accuracy on each of ``n_episodes`` episodes, from ``start`` on where they are numbered."""
        if isinstance(episodes, Iterable):
            tasks: Iterable[Task] = islice(episodes, n_episodes)
        else:
            tasks = map(episodes.task, range(start, start + n_episodes))
        found = []
        for support_x, support_y, query_x, query_y in tasks:
            names, _ = places_of(support_y, len(support_x))
            targets = places_among(query_y, names, len(query_x))
            found.append(_accuracy(self.scores(support_x, support_y, query_x), targets))
        if not found:
            raise UserError("there are no episodes to evaluate on")
        return TaskScores.of(found)

    def set_learning_rate(self, rate: float) -> None:
        """From the next step on; the learner must be built (:meth:`build`)."""
        self.require_head()
        assert self.optimizer is not None  # it comes with the head
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def get_meta_state(self) -> dict[str, Any]:
        """A copy of everything that training goes on from: parameters, running statistics, optimizer."""
        if self.optimizer is None:
            raise UserError("nothing was trained yet: the state begins with the first episode")
        return deepcopy({"model": self.state_dict(), "optimizer": self.optimizer.state_dict()})

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`get_meta_state` gave; the learner must be built (:meth:`build`) for such images."""
        self.require_head()
        assert self.optimizer is not None  # it comes with the head
        self.load_state_dict(state["model"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))

    def require_head(self) -> Head:
        """The head; raises a ``UserError`` before the first images (:meth:`build`)."""
        if self.head is None:
            raise UserError("build(images) first: the head depends on the shape of the images")
        return self.head

    def _built(self, images: Tensor) -> tuple[Head, torch.optim.Optimizer]:
        if images.ndim < 2 or not len(images):
            raise UserError(f"support images must be (S, C, H, W) with at least one, not {tuple(images.shape)}")
        self.build(images)
        assert self.optimizer is not None  # it comes with the head
        return self.require_head(), self.optimizer

    def _encode_for_training(self, images: Tensor) -> Tensor:
        try:
            return self.encode(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                "the encoder's BatchNorm needs statistics and one image gives none; use more images in an episode,"
                " or an encoder without BatchNorm"
            ) from None


class PrototypicalNetwork(FewShotLearner):
    """A prototypical network (Snell et al. 2017); the options are those of :class:`FewShotLearner`."""

    def __init__(self, encoder: nn.Module, **options: Any):
        super().__init__("prototypical", encoder, **options)


class RelationNetwork(FewShotLearner):
    """A relation network (Sung et al. 2018); the options are those of :class:`FewShotLearner`."""

    def __init__(self, encoder: nn.Module, **options: Any):
        super().__init__("relation", encoder, **options)


class MatchingNetwork(FewShotLearner):
    """A matching network (Vinyals et al. 2016); the options are those of :class:`FewShotLearner`."""

    def __init__(self, encoder: nn.Module, **options: Any):
        super().__init__("matching", encoder, **options)


def bfloat16_is_fast() -> bool:
    """Whether convolutions in bfloat16 run on this processor's own instructions (or close to them)."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def decide(scores: Tensor, transductive: Transductive | None = None) -> Tensor:
    """Chosen columns (Q,) of scores (Q, n): each row's best, or the best assignment of rows to different columns."""
    if transductive is None:
        return scores.argmax(1)
    if transductive != "assignment":
        raise UserError(f"transductive must be 'assignment' or None, not {transductive!r}")
    if len(scores) > scores.shape[1]:
        raise UserError(f"{len(scores)} queries cannot show {scores.shape[1]} classes once each")
    return torch.from_numpy(linear_sum_assignment(scores.numpy(), maximize=True)[1])


def places_of(labels: Labels, number: int) -> tuple[list[Any], Tensor]:
    """Class names in order of appearance, and the place of each of ``number`` labels among them (S,).

    Raises:
        UserError: another number of labels, or only one class.
    """
    plain = _plain(labels, number)
    names = list(dict.fromkeys(plain))
    if len(names) < 2:
        raise UserError("the support set holds only one class; there is nothing to tell apart")
    number_of = {name: place for place, name in enumerate(names)}
    return names, torch.tensor([number_of[label] for label in plain])


def places_among(labels: Labels, names: Sequence[Any], number: int) -> Tensor:
    """The place of each of ``number`` labels among the class names (Q,); an unknown label is a ``UserError``."""
    number_of = {name: place for place, name in enumerate(names)}
    plain = _plain(labels, number)
    unknown = [label for label in plain if label not in number_of]
    if unknown:
        raise UserError(f"a query has the label {unknown[0]!r}, which no support image has")
    return torch.tensor([number_of[label] for label in plain])


def as_labels(places: Tensor, support_y: Labels) -> Any:
    """Labels of chosen places (Q,), in the kind that ``support_y`` is of: a tensor, an array or a list."""
    names, _ = places_of(support_y, len(support_y))
    if isinstance(support_y, Tensor):
        return torch.tensor(names, dtype=support_y.dtype)[places]
    if isinstance(support_y, np.ndarray):
        return np.asarray(names, dtype=support_y.dtype)[places.numpy()]
    return [names[place] for place in places.tolist()]


def _plain(labels: Labels, number: int) -> list[Any]:
    plain = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
    if len(plain) != number:
        raise UserError(f"{number} images have {len(plain)} labels; each needs one")
    return plain


def _require_one_size(*images: Tensor) -> None:
    sizes = sorted({tuple(part.shape[1:]) for part in images})
    if len(sizes) > 1:
        raise UserError(f"support and query images of mixed sizes ({', '.join(map(str, sizes))}); resize them to one")


def _accuracy(scores: Tensor, targets: Tensor) -> float:
    return float((scores.argmax(1) == targets).to(torch.float64).mean())
