"""Strategies that keep examples: a few of them to look at again, or all of them to begin again."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_suite.meta_learning.continual.fisher import LossFunction
from rl_suite.meta_learning.continual.memory import MemoryBuffer, Policy, dealt
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.continual.strategies.naive import Batch, Naive, Stream


class Replay(Naive):
    """Every minibatch is accompanied by as many examples from a memory of the earlier tasks.

    References:
        Chaudhry et al. 2019, "On Tiny Episodic Memories in Continual Learning" (reservoir); Schaul et al. 2016,
        "Prioritized Experience Replay", for ``policy="priority"``.
    """

    def __init__(
        self,
        model: nn.Module,
        outputs: Outputs,
        loss_fn: LossFunction,
        buffer_size: int,
        seed: int,
        policy: Policy = "reservoir",
    ):
        super().__init__(model, outputs, loss_fn)
        self.memory = MemoryBuffer(buffer_size, policy, seed)

    def loss(self, x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        """The present task's loss and that of remembered examples, every task counting the same."""
        own = super().loss(x, y, task)
        if not len(self.memory):
            return own
        old = self.memory.sample(len(x))
        logits, labels = self.forward(old.x.to(x.device), old.task), old.y.to(y.device)
        if self.memory.policy == "priority" and self.classifies:
            each = F.cross_entropy(logits, labels, reduction="none")
            self.memory.set_priorities(old.slots, each)
            kept = each.mean()
        else:
            kept = self.loss_fn(logits, labels)
        return self.share() * own + (1 - self.share()) * kept

    def end_task(self, stream: Stream, task: int) -> None:
        """Offer the task's examples to the memory."""
        for x, y, _ in stream.batches():
            self.memory.add(x, y, task)

    def state_dict(self) -> dict[str, Any]:
        """The memory."""
        return {"memory": self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.memory.load_state_dict(state["memory"])


class FromScratch(Naive):
    """Before every task the parameters go back to where they began; then what was kept is learned at once."""

    def __init__(self, model: nn.Module, outputs: Outputs, loss_fn: LossFunction, seed: int, batch_size: int):
        super().__init__(model, outputs, loss_fn)
        self.batch_size, self.generator = batch_size, torch.Generator().manual_seed(seed)
        self.n_passes = 1  # over what was kept, per epoch
        self._first = copy.deepcopy(model.state_dict())
        self._offered = False

    def keep(self, x: Tensor, y: Tensor, task: int) -> None:
        """Some or all of the examples x (n, ...), y (n, ...) of one task."""
        raise NotImplementedError

    def kept(self) -> Batch:
        """All that was kept."""
        raise NotImplementedError

    def begin_task(self, task: int) -> None:
        """Start again."""
        self.model.load_state_dict(self._first)
        self._offered = False

    def passes(self, stream: Stream) -> Iterable[Batch]:
        """Offer the task's examples once, then deal what was kept."""
        if not self._offered:
            for x, y, task in stream.batches():
                self.keep(x, y, int(task[0]))
            self._offered = True
        x, y, task = self.kept()
        for _ in range(self.n_passes):
            for part in dealt(torch.randperm(len(x), generator=self.generator), self.batch_size):
                yield x[part], y[part], task[part]

    def state_dict(self) -> dict[str, Any]:
        """The parameters that every task starts from."""
        return {"first": self._first, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self._first = state["first"]
        self.generator.set_state(state["generator"])


class GreedyDumb(FromScratch):
    """GDumb: collect a balanced memory, and learn from scratch on nothing but it.

    A baseline that asks what a benchmark of continual learning measures beyond the memory.

    References:
        Prabhu, Torr and Dokania 2020, "GDumb: A Simple Approach that Questions Our Progress in Continual Learning".
    """

    def __init__(
        self,
        model: nn.Module,
        outputs: Outputs,
        loss_fn: LossFunction,
        buffer_size: int,
        seed: int,
        batch_size: int,
        memory_passes: int = 10,
    ):
        super().__init__(model, outputs, loss_fn, seed, batch_size)
        self.memory = MemoryBuffer(buffer_size, "balanced", seed)
        self.n_passes = memory_passes  # a memory is small, and learning it from scratch needs as many steps as ever

    def keep(self, x: Tensor, y: Tensor, task: int) -> None:
        """What the memory takes of them."""
        self.memory.add(x, y, task)

    def kept(self) -> Batch:
        """The memory."""
        x, y, task, _ = self.memory.everything()
        return x, y, task

    def state_dict(self) -> dict[str, Any]:
        """The memory, and the parameters that every task starts from."""
        return {**super().state_dict(), "memory": self.memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.memory.load_state_dict(state["memory"])


class Joint(FromScratch):
    """All tasks so far at once: what could be reached if everything could be kept."""

    def __init__(self, model: nn.Module, outputs: Outputs, loss_fn: LossFunction, seed: int, batch_size: int):
        super().__init__(model, outputs, loss_fn, seed, batch_size)
        self._parts: list[Batch] = []

    def keep(self, x: Tensor, y: Tensor, task: int) -> None:
        """All of them."""
        self._parts.append((x, y, torch.full((len(x),), task)))

    def kept(self) -> Batch:
        """Every example of every task so far."""
        if len(self._parts) > 1:
            x, y, task = (torch.cat(parts) for parts in zip(*self._parts, strict=True))
            self._parts = [(x, y, task)]
        return self._parts[0]

    def state_dict(self) -> dict[str, Any]:
        """Every example, and the parameters that every task starts from."""
        return {**super().state_dict(), "examples": self._parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._parts = [(x, y, task) for x, y, task in state["examples"]]
