"""Latent head modulation, under the names that the project's documents give it.

A support set is encoded into a latent code; the code scales the head of a classifier and chooses the learning rates of
a few gradient steps on that head. The body is shared, and its features are computed once per episode.

**Two methods are called TAML.** The documents call this one "task-agnostic meta-learning" and cite
arXiv 1905.03684 for it, which is another paper (Wei and Ma, "Data-dependent Sample Complexity of Deep Neural Networks
via Lipschitz Augmentation"). The published Task-Agnostic Meta-Learning is Jamal and Qi, CVPR 2019
(arXiv 1805.07722): regularisers against unequal tasks, which are in ``learners.fairness``. What is here has no such
term. Its nearest published relatives are latent embedding optimisation (Rusu et al. 2019, arXiv 1807.05960, with the
relation network), learned inner rates and decays (ALFA, Baik et al. 2020) and task-wise scaling of the initial
weights (L2F, Baik et al. 2020).
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_learning.learners.taml_parts import (
    HEAD,
    HeadWeights,
    Modulations,
    Rates,
    TAMLClassifier,
    TAMLDecoder,
    TAMLEncoder,
    TAMLRelationNetwork,
    apply_head,
)
from rl_suite.meta_learning.tasks import Task, Tasks, local_labels, unstack_tasks

LARGEST_NORM = 10.0  # of the meta-gradient, as in the documents


class Extras(NamedTuple):
    """What the documents list as future improvements."""

    weighted_support: bool = False
    """Support examples count by a learned weight, in the codes and in the inner loss; several shots are needed for a
    difference."""
    step_rates: bool = False
    """Every inner step has learning rates of its own."""


class TaskAgnosticMetaLearning(nn.Module):
    """A classifier that adapts its head in a few steps, scaled and paced by a latent code of the task.

    Args:
        num_classes: of episodes whose labels do not say it; episodes may have any number.
        latent_dim: of the codes.
        modulation_approach: see ``TAMLDecoder``.
        outer_lr: learning rate of the outer optimizer.
        inner_steps: gradient steps on the head.
        body: images -> features; None: the four blocks of ``TAMLClassifier``.
        channels, size: of the images.
        extras: see :class:`Extras`.
    """

    def __init__(
        self,
        num_classes: int = 5,
        latent_dim: int = 64,
        modulation_approach: str = "per_layer_scalars",
        outer_lr: float = 1e-3,
        inner_steps: int = 5,
        body: nn.Module | None = None,
        channels: int = 1,
        size: int = 28,
        extras: Extras = Extras(),  # noqa: B008  (immutable)
    ):
        super().__init__()
        if inner_steps < 1 or latent_dim < 1 or not outer_lr > 0:
            raise UserError("inner_steps and latent_dim must be at least 1, and outer_lr above 0")
        self.inner_steps, self.outer_lr, self.extras = inner_steps, outer_lr, extras
        self.classifier = TAMLClassifier(num_classes, body, channels, size=size)
        features, hidden = self.classifier.feature_dim, self.classifier.weight1.shape[0]
        self.encoder = TAMLEncoder(latent_dim, features)
        self.relation = TAMLRelationNetwork(latent_dim)
        steps = inner_steps if extras.step_rates else 1
        self.decoder = TAMLDecoder(latent_dim, features, hidden, modulation_approach, steps)
        self.weigher = nn.Linear(features, 1) if extras.weighted_support else None
        self.optimizer: torch.optim.Optimizer
        self.initialize_optimizer()

    def initialize_optimizer(
        self, optimizer_cls: type[torch.optim.Optimizer] = torch.optim.Adam, device: Any = None, **settings: Any
    ) -> None:
        """A fresh outer optimizer, after the learner has moved to ``device``."""
        if device is not None:
            self.to(device)
        parameters = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = optimizer_cls(parameters, **{"lr": self.outer_lr, **settings})

    def meta_train_step(self, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> float:
        """One outer step on T tasks: images (T, S, C, H, W) and labels (T, S) of 0 ... n-1; returns the query loss."""
        return self.learn([Task(*parts) for parts in zip(support_x, support_y, query_x, query_y, strict=True)])["loss"]

    def learn(self, tasks: Tasks) -> dict[str, float]:
        """One outer step.

        Returns:
            ``loss`` (mean over tasks of the query loss after adaptation) and ``accuracy``.

        Raises:
            NonFiniteError: the loss is NaN or infinite; nothing was changed.
        """
        self.train()
        losses, right = [], []
        for logits, labels in self._judged(unstack_tasks(tasks)):
            losses.append(F.cross_entropy(logits, labels))
            right.append(float((logits.argmax(-1) == labels).double().mean()))
        loss = torch.stack(losses).mean()
        if not bool(torch.isfinite(loss)):
            raise NonFiniteError(f"the query loss is {loss.item()}; lower outer_lr or check the images")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters(), LARGEST_NORM)
        self.optimizer.step()
        return {"loss": loss.item(), "accuracy": sum(right) / len(right)}

    def outputs(self, tasks: Tasks, steps: int | None = None) -> list[Tensor]:
        """Query logits (Q, n) of every task after ``steps`` inner steps; nothing is learned."""
        self.eval()
        return [logits.detach() for logits, _ in self._judged(unstack_tasks(tasks), steps)]

    def predict(self, support_x: Tensor, support_y: Any, query_x: Tensor) -> list[Any]:
        """The label of each query; labels may be anything, in any order."""
        places, names = local_labels(support_y)
        unknown = torch.zeros(len(query_x), dtype=torch.int64)
        (logits,) = self.outputs([Task(support_x, places, query_x, unknown)])
        return [names[place] for place in logits.argmax(-1).tolist()]

    # The steps of one task, one by one, as the documents call them.

    def encode_task(self, support_x: Tensor, support_y: Tensor) -> Tensor:
        """Latent codes (n, L) of the classes of one support set, each refined by comparison with all."""
        features = self.classifier.features(support_x)
        return self._codes(features[None], support_y[None], self._classes(support_y))[0]

    def decode_to_modulations(self, latent_codes: Tensor) -> tuple[Modulations, Rates]:
        """Factors and rates out of the codes (..., n, L) of a task's classes, in whatever order they stand."""
        decoded: tuple[Modulations, Rates] = self.decoder(latent_codes.mean(-2))
        return decoded

    def inner_update(
        self,
        support_x: Tensor,
        support_y: Tensor,
        modulations: Modulations,
        learning_rates: Rates,
        steps: int | None = None,
    ) -> HeadWeights:
        """The head that fits one support set: scaled, then ``steps`` gradient steps away."""
        factors = {name: part[None] for name, part in modulations.items()}
        rates = {name: part[None] for name, part in learning_rates.items()}
        features = self.classifier.features(support_x)[None]
        fast = self._adapt(features, support_y[None], self._classes(support_y), (factors, rates), steps)
        return {name: part[0] for name, part in fast.items()}

    # The same for many tasks at once.

    def _judged(self, tasks: list[Task], steps: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Query logits and labels of every task; all images pass the body together, tasks of one shape the head."""
        if not tasks:
            raise UserError("no tasks")
        pictures = [part for task in tasks for part in (task.support_x, task.query_x)]
        with torch.set_grad_enabled(self.training):
            features = self.classifier.features(torch.cat(pictures))
        parts = torch.split(features, [len(part) for part in pictures])
        groups: dict[tuple[int, int, int], list[int]] = {}
        for i, task in enumerate(tasks):
            key = len(task.support_x), len(task.query_x), self._classes(task.support_y)
            groups.setdefault(key, []).append(i)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for (_, _, count), members in groups.items():
            support, query = (torch.stack([parts[2 * i + side] for i in members]) for side in (0, 1))
            labels = torch.stack([tasks[i].support_y for i in members])
            codes = self._codes(support, labels, count)
            fast = self._adapt(support, labels, count, self.decode_to_modulations(codes), steps)
            for i, logits in zip(members, apply_head(fast, query), strict=True):
                found[i] = logits, tasks[i].query_y
        return [found[i] for i in range(len(tasks))]

    def _codes(self, features: Tensor, labels: Tensor, count: int) -> Tensor:
        """Features (T, S, D) and labels (T, S) -> refined codes (T, n, L); a class without examples has code 0."""
        members = F.one_hot(labels, count).to(features.dtype)  # (T, S, n)
        members = members * self._weights(features, members)[..., None]
        codes = members.mT @ self.encoder(features) / members.sum(1).clamp(min=1e-6)[..., None]
        refined: Tensor = self.relation(codes)
        return refined

    def _weights(self, features: Tensor, members: Tensor) -> Tensor:
        """What each example (T, S) counts; mean 1 within its class."""
        if self.weigher is None:
            return members.new_ones(members.shape[:2])
        raw = self.weigher(features).squeeze(-1).clamp(-5, 5).exp()  # (T, S)
        of_class = (members.mT @ raw[..., None]).squeeze(-1) / members.sum(1).clamp(min=1)  # (T, n) means
        weights: Tensor = raw / (members @ of_class[..., None]).squeeze(-1)
        return weights

    def _adapt(
        self,
        features: Tensor,
        labels: Tensor,
        count: int,
        decoded: tuple[Modulations, Rates],
        steps: int | None = None,
    ) -> HeadWeights:
        """The heads of T tasks after their inner steps."""
        modulations, rates = decoded
        weights = self._weights(features, F.one_hot(labels, count).to(features.dtype))  # (T, S)
        learning = torch.is_grad_enabled() and self.training
        with torch.enable_grad():
            fast = {name: self._for_tasks(part, len(labels)) for name, part in self.classifier.head(count).items()}
            fast = {name: fast[name] * modulations[name] for name in HEAD}
            for step in range(self.inner_steps if steps is None else steps):
                logits = apply_head(fast, features)
                each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(weights)
                loss = (weights * each).mean(1).sum()
                gradients = torch.autograd.grad(loss, [fast[name] for name in HEAD], create_graph=learning)
                for name, gradient in zip(HEAD, gradients, strict=True):
                    own = rates[name][:, min(step, rates[name].shape[1] - 1)]
                    fast[name] = fast[name] - own * gradient
        return fast

    @staticmethod
    def _for_tasks(part: Tensor, count: int) -> Tensor:
        return part.expand(count, *part.shape)

    def _classes(self, labels: Tensor) -> int:
        return max(2, int(labels.max()) + 1)

    # State.

    def get_meta_state(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"learner": self.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_meta_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`get_meta_state` gave."""
        self.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])


def train_taml(
    num_classes: int,
    task_dataloader: Iterable[Any],
    latent_dim: int = 64,
    modulation_approach: str = "per_layer_scalars",
    inner_steps: int = 5,
    outer_lr: float = 1e-3,
    device: str | torch.device = "cpu",
) -> tuple[TaskAgnosticMetaLearning, list[float]]:
    """Train on every batch of a loader once.

    Args:
        task_dataloader: of batches (support images, support labels, query images, query labels), each with a leading
            task axis, such as a ``DataLoader`` of an ``OmniglotTaskDataset``.

    Returns:
        The learner, and the query loss of every step.
    """
    taml: TaskAgnosticMetaLearning | None = None
    losses: list[float] = []
    for batch in task_dataloader:
        support_x, support_y, query_x, query_y = (part.to(device) for part in batch)
        if taml is None:
            channels, size = support_x.shape[2], support_x.shape[-1]
            taml = TaskAgnosticMetaLearning(
                num_classes, latent_dim, modulation_approach, outer_lr, inner_steps, channels=channels, size=size
            )
            taml.initialize_optimizer(device=device)
        losses.append(taml.meta_train_step(support_x, support_y, query_x, query_y))
    if taml is None:
        raise UserError("the loader has no batches")
    return taml, losses
