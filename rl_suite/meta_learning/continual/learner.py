"""``ContinualLearner``: one training loop over tasks that come one after the other, and what is left of each."""

import copy
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rl_suite.errors import UserError
from rl_suite.meta_learning.checks import readable_errors
from rl_suite.meta_learning.continual.fisher import LossFunction
from rl_suite.meta_learning.continual.memory import dealt
from rl_suite.meta_learning.continual.metrics import Matrix
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.strategies.naive import Batch, Naive
from rl_suite.meta_learning.continual.strategies.registry import STRATEGIES

Data = DataLoader | tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]
"""A loader of minibatches (x, y), all examples as one pair of tensors, or any list of minibatches."""

BUILT_IN = ("model", "outputs", "loss_fn", "buffer_size", "seed", "batch_size")  # what the learner hands to strategies
EVALUATION_BATCH = 1024


class ContinualLearner:
    """Learns a sequence of tasks with one of the strategies against forgetting.

    Args:
        model: any module x (n, ...) -> predictions; trained in place (by "progressive", copies of it).
        strategy: "naive", "ewc", "online_ewc", "si", "lwf", "replay", "gdumb", "progressive" or "joint".
        buffer_size: examples that "replay" and "gdumb" may keep of all earlier tasks together.
        outputs: the scenario and which outputs belong to which task; by default all outputs to all tasks.
        loss_fn: mean loss of (predictions, targets).
        learning_rate: of Adam, which starts afresh with every task and falls linearly over its epochs: strong penalties
            are only obeyed by small steps.
        batch_size: examples per step, where the data comes as tensors.
        seed: of the order of examples and of the memory.
        options: the strategy's own, such as ``ewc_lambda=100.0``.

    Raises:
        UserError: unknown strategy, or an option that it does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        strategy: str = "ewc",
        buffer_size: int = 1000,
        outputs: Outputs | None = None,
        loss_fn: LossFunction = F.cross_entropy,
        learning_rate: float = 1e-3,
        batch_size: int = 32,
        seed: int = 0,
        **options: Any,
    ):
        if strategy not in STRATEGIES:
            raise UserError(f"strategy must be one of {', '.join(STRATEGIES)}, not {strategy!r}")
        self.name, self.batch_size, self.learning_rate = strategy, batch_size, learning_rate
        self.outputs = copy.deepcopy(outputs) if outputs is not None else Outputs()
        given = {"buffer_size": buffer_size, "seed": seed, "batch_size": batch_size}
        known, own = inspect.signature(STRATEGIES[strategy].__init__).parameters, own_options(strategy)
        unknown = sorted(set(options) - set(own))
        if unknown:
            raise UserError(f"{strategy} has no option {unknown[0]!r}; it has: {', '.join(own) or 'none'}")
        passed = {name: value for name, value in given.items() if name in known}
        self.strategy: Naive = STRATEGIES[strategy](model, self.outputs, loss_fn, **passed, **options)
        self.generator = torch.Generator().manual_seed(seed)
        self.history: list[dict[int, float]] = []
        """Accuracies per task, one entry for every :meth:`evaluate_all_tasks` and every task with data to check on."""

    @property
    def model(self) -> nn.Module:
        """The network as it is now."""
        return self.strategy.model

    def train_task(
        self, data: Data | Mapping[str, Data], task_id: int, num_epochs: int = 10
    ) -> dict[str, float | int | None]:
        """Learn one task.

        Args:
            data: its examples, or ``{"train": ..., "val": ...}``.
            task_id: its number.
            num_epochs: passes over the examples.

        Returns:
            ``final_train_loss`` (mean over the last epoch, penalties included), ``final_val_loss`` and
            ``final_val_accuracy`` (None without "val"), ``task_id``, and ``buffer_size``, how many examples are
            remembered.

        Raises:
            UserError: no examples, or fewer than one epoch.
            FloatingPointError: the loss is not finite.
        """
        if num_epochs < 1:
            raise UserError(f"num_epochs must be at least 1, not {num_epochs}")
        parts: Mapping[str, Data] = data if isinstance(data, Mapping) else {"train": data}
        if "train" not in parts:
            raise UserError('the examples of a task are {"train": ..., "val": ...} or the training data alone')
        stream = _TaskStream(parts["train"], task_id, self.batch_size, self.generator)
        self.outputs.begin(task_id)
        self.strategy.begin_task(task_id)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(parameters, lr=self.learning_rate)
        self.model.train()
        losses: list[float] = []
        for epoch in range(num_epochs):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - epoch / num_epochs)
            losses = [
                self._step(optimizer, batch, f"task {task_id}, epoch {epoch}") for batch in self.strategy.passes(stream)
            ]
            if not losses:
                raise UserError(f"task {task_id} has no examples")
        self.strategy.end_task(stream, task_id)
        results: dict[str, float | int | None] = {
            "final_train_loss": float(np.mean(losses)),
            "final_val_loss": None,
            "final_val_accuracy": None,
            "task_id": task_id,
        }
        if "val" in parts:
            measured = self.evaluate_task(parts["val"], task_id)
            results |= {f"final_val_{name}": value for name, value in measured.items()}
            if "accuracy" in measured:
                self.history.append({task_id: measured["accuracy"]})
        memory = getattr(self.strategy, "memory", None)
        if memory is not None:
            results["buffer_size"] = len(memory)
        return results

    def predict(self, x: Tensor, task_id: int = 0) -> Tensor:
        """Logits (n, C) of inputs (n, ...), those of outputs that do not compete at -inf; no gradient."""
        was_training = self.model.training
        self.model.eval()
        with torch.no_grad():
            logits = torch.cat([self.strategy.forward(part, task_id) for part in torch.split(x, EVALUATION_BATCH)])
        self.model.train(was_training)
        return logits

    def evaluate_task(self, data: Data, task_id: int) -> dict[str, float]:
        """Mean loss over the examples of one task and, where targets are class numbers, the accuracy (0 to 1)."""
        loss = right = 0.0
        count = 0
        classes = False
        if isinstance(data, Mapping):
            if "val" not in data:
                raise UserError('examples to evaluate on are needed: the data alone, or {"val": ...}')
            data = data["val"]
        for x, y, _ in _TaskStream(data, task_id, EVALUATION_BATCH).batches():
            logits = self.predict(x, task_id)
            loss += float(self.strategy.loss_fn(logits, y)) * len(x)
            classes = not y.is_floating_point()
            if classes:
                right += float((logits.argmax(-1) == y).sum())
            count += len(x)
        if not count:
            raise UserError(f"task {task_id} has no examples to evaluate on")
        return {"loss": loss / count, **({"accuracy": right / count} if classes else {})}

    def evaluate_all_tasks(self, data: Mapping[int, Data]) -> dict[str, Any]:
        """Loss and accuracy of every task, and what was forgotten.

        Returns:
            ``task_0``, ``task_1``, ...: ``{"loss", "accuracy"}``; ``average_loss``; for classifiers also
            ``average_accuracy`` and ``forgetting_measure``: mean over the tasks but the latest of the best accuracy
            measured so far (by an earlier call, or on "val" right after training) minus the accuracy now; None as
            long as there is nothing to compare with.
        """
        measured = {task: self.evaluate_task(part, task) for task, part in data.items()}
        results: dict[str, Any] = {f"task_{task}": values for task, values in measured.items()}
        results["average_loss"] = float(np.mean([values["loss"] for values in measured.values()]))
        accuracies = {task: values["accuracy"] for task, values in measured.items() if "accuracy" in values}
        if accuracies:
            self.history.append(accuracies)
            results["average_accuracy"] = float(np.mean(list(accuracies.values())))
            results["forgetting_measure"] = self._forgotten()
        return results

    def state_dict(self) -> dict[str, Any]:
        """Everything that further training depends on."""
        return {
            "model": self.model.state_dict(),
            "strategy": self.strategy.state_dict(),
            "seen": list(self.outputs.seen),
            "generator": self.generator.get_state(),
            "history": [{str(task): value for task, value in row.items()} for row in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned, in a learner that was made alike."""
        self.outputs.seen = list(state["seen"])
        self.strategy.load_state_dict(state["strategy"])
        self.model.load_state_dict(state["model"])
        self.generator.set_state(state["generator"])
        self.history = [{int(task): value for task, value in row.items()} for row in state["history"]]

    def _step(self, optimizer: torch.optim.Optimizer, batch: Batch, place: str) -> float:
        try:
            with readable_errors():
                loss = self.strategy.loss(*batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(f"{place}: batch normalisation needs two examples at a time, and one was left") from None
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(f"{place}: the loss is {value}; lower the learning rate or the penalty's strength")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.strategy.before_step()
        optimizer.step()
        self.strategy.after_step()
        return value

    def _forgotten(self) -> float | None:
        latest = self.history[-1]
        earlier = [task for task in latest if task in self.outputs.seen[:-1]]
        best = {t: max((row[t] for row in self.history[:-1] if t in row), default=math.nan) for t in earlier}
        losses = [best[task] - latest[task] for task in earlier if math.isfinite(best[task])]
        return float(np.mean(losses)) if losses else None


def own_options(strategy: str) -> list[str]:
    """Names of the options that a strategy has besides those of every learner."""
    parameters = inspect.signature(STRATEGIES[strategy].__init__).parameters
    return [name for name in parameters if name not in (*BUILT_IN, "self")]


def accuracy_matrix(
    learner: ContinualLearner, train: Iterable[Data], test: Mapping[int, Data], num_epochs: int
) -> tuple[Matrix, list[float]]:
    """Teach the tasks in order and measure all of them after each: R (T, T), and the untrained accuracies (T,)."""
    untrained = [learner.evaluate_task(part, task)["accuracy"] for task, part in test.items()]
    rows = []
    for task, data in enumerate(train):
        learner.train_task(data, task, num_epochs)
        rows.append([learner.evaluate_task(part, other)["accuracy"] for other, part in test.items()])
    return np.array(rows), untrained


class _TaskStream:
    """The examples of one task in minibatches, shuffled where a generator is given and they are tensors."""

    def __init__(self, data: Data, task: int, batch_size: int, generator: torch.Generator | None = None):
        self.data, self.task, self.batch_size, self.generator = data, task, batch_size, generator

    def batches(self) -> Iterator[Batch]:
        """One pass."""
        for x, y in self._pairs():
            yield x, y, torch.full((len(x),), self.task)

    def together(self) -> tuple[Tensor, Tensor]:
        """All examples, in one pass."""
        x, y = zip(*self._pairs(), strict=True)
        return torch.cat(x), torch.cat(y)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        if not (isinstance(self.data, tuple) and len(self.data) == 2 and isinstance(self.data[0], Tensor)):
            yield from self.data  # type: ignore[misc]
            return
        x, y = self.data
        if not isinstance(y, Tensor):
            raise UserError(
                f"targets must be a tensor, not {type(y).__name__}; rl_suite.meta_learning.tasks.local_labels numbers "
                "labels of any kind"
            )
        if len(x) != len(y):
            raise UserError(f"as many labels as examples are needed, not {len(y)} for {len(x)}")
        order = torch.arange(len(x))
        if self.generator is not None:
            order = torch.randperm(len(x), generator=self.generator)
        for part in dealt(order, self.batch_size):
            yield x[part], y[part]
