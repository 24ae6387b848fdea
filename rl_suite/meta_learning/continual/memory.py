"""Memories of fixed size: which examples of a stream are kept, and which are looked at again.

All examples lie in one tensor, so that adding costs O(1) per example and a sample is one gather.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rl_suite.errors import UserError

Policy = Literal["reservoir", "ring", "balanced", "priority"]
POLICIES = ("reservoir", "ring", "balanced", "priority")
LEAST_PRIORITY = 1e-3  # an example whose loss has become 0 is still looked at now and then


class Sample(NamedTuple):
    """Examples out of the memory."""

    x: Tensor  # (n, ...)
    y: Tensor  # (n, ...)
    task: Tensor  # (n,) int64
    slots: Tensor  # (n,) int64 where they lie, for `MemoryBuffer.set_priorities`


def dealt(order: Tensor, batch_size: int) -> list[Tensor]:
    """Numbers of examples in minibatches; a last one alone joins those before, as it has no variance to normalise by.

    >>> [len(part) for part in dealt(torch.arange(9), 4)]
    [4, 5]
    """
    parts = [part for part in torch.split(order, batch_size) if len(part)]
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


class MemoryBuffer:
    """At most ``capacity`` examples ``(x, y, task)``.

    Args:
        capacity: how many examples are kept.
        policy: "reservoir": every example seen so far is kept with equal probability (Vitter 1985,
            algorithm R). "ring": the latest. "balanced": equally many of every label, the greedy sampler of
            GDumb (Prabhu et al. 2020). "priority": kept as by "reservoir", sampled in proportion to the loss that
            :meth:`set_priorities` was last told.
        seed: of what is kept and drawn.
    """

    def __init__(self, capacity: int, policy: Policy = "reservoir", seed: int = 0):
        if capacity < 1:
            raise UserError(f"capacity must be at least 1, not {capacity}")
        if policy not in POLICIES:
            raise UserError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.capacity, self.policy, self.seen = capacity, policy, 0
        self.generator = torch.Generator().manual_seed(seed)
        self._x = self._y = torch.empty(0)
        self._task = torch.zeros(capacity, dtype=torch.int64)
        self._priority = torch.zeros(capacity)
        self._used = 0
        self._slots_of: dict[int, list[int]] = {}  # label -> where its examples lie, for "balanced"

    def __len__(self) -> int:
        return self._used

    def add(self, x: Tensor, y: Tensor, task: int = 0) -> None:
        """Offer examples x (n, ...), y (n, ...) of one task.

        Raises:
            UserError: x and y differ in length, or their shapes differ from what is stored.
        """
        if len(x) != len(y):
            raise UserError(f"as many labels as examples are needed, not {len(y)} for {len(x)}")
        if not len(x):
            return
        if self.seen == 0:
            self._x, self._y = (part.new_zeros(self.capacity, *part.shape[1:]).cpu() for part in (x, y))
        if x.shape[1:] != self._x.shape[1:] or y.shape[1:] != self._y.shape[1:]:
            stored = tuple(self._x.shape[1:]), tuple(self._y.shape[1:])
            raise UserError(f"stored are examples of shape {stored[0]} with labels of shape {stored[1]}")
        slots = self._balanced_slots(y) if self.policy == "balanced" else self._slots(len(x))
        self.seen += len(x)
        kept = {slot: i for i, slot in enumerate(slots) if slot >= 0}  # of two for one slot, the later one stays
        if not kept:
            return
        where, which = torch.tensor(list(kept)), torch.tensor(list(kept.values()), device=x.device)
        self._x[where], self._y[where] = x[which].detach().cpu(), y[which].detach().cpu()
        self._task[where] = task
        self._priority[where] = self._priority.max().clamp(min=1.0)  # what was never looked at comes first
        self._used = min(self.capacity, max(self._used, int(where.max()) + 1))

    def sample(self, n: int) -> Sample:
        """Draw n examples, with replacement only where fewer are stored."""
        if not self._used:
            raise UserError("the memory is empty")
        if self.policy == "priority":
            weights = self._priority[: self._used]
            index = torch.multinomial(weights, n, replacement=n > self._used, generator=self.generator)
        elif n > self._used:
            index = torch.randint(self._used, (n,), generator=self.generator)
        else:
            index = torch.randperm(self._used, generator=self.generator)[:n]
        return self._at(index)

    def everything(self) -> Sample:
        """All that is stored, in the order of the slots."""
        return self._at(torch.arange(self._used))

    def set_priorities(self, index: Tensor, losses: Tensor) -> None:
        """Tell the present losses (n,) of examples; only "priority" draws by them."""
        self._priority[index] = losses.detach().cpu().clamp(min=LEAST_PRIORITY)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the future depends on."""
        return {
            **{name: getattr(self, name) for name in ("seen", "_x", "_y", "_task", "_priority", "_used")},
            "slots_of": {str(label): list(slots) for label, slots in self._slots_of.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        if len(state["_task"]) != self.capacity:
            raise ValueError(f"the saved memory holds {len(state['_task'])} examples, this one {self.capacity}")
        for name in ("seen", "_x", "_y", "_task", "_priority", "_used"):
            setattr(self, name, state[name])
        self._slots_of = {int(label): list(slots) for label, slots in state["slots_of"].items()}
        self.generator.set_state(state["generator"])

    def _at(self, index: Tensor) -> Sample:
        return Sample(self._x[index], self._y[index], self._task[index], index)

    def _slots(self, n: int) -> list[int]:
        """Where each of n further examples goes; -1: nowhere."""
        number = torch.arange(self.seen, self.seen + n)  # how many came before
        if self.policy == "ring":
            return (number % self.capacity).tolist()
        uniform = torch.rand(n, generator=self.generator, dtype=torch.float64)
        drawn = (uniform * (number + 1)).long()
        kept = torch.where(drawn < self.capacity, drawn, -1)
        return torch.where(number < self.capacity, number, kept).tolist()

    def _balanced_slots(self, y: Tensor) -> list[int]:
        """GDumb's sampler: a label that has less than its share takes a place from the most frequent one."""
        slots, used = [], self._used
        for label in y.tolist():
            own = self._slots_of.setdefault(label, [])
            slot = -1
            if used < self.capacity:
                slot, used = used, used + 1
            elif len(own) < self.capacity / len(self._slots_of):
                most = max(self._slots_of.values(), key=len)
                if most is not own:
                    drawn = int(torch.randint(len(most), (1,), generator=self.generator))
                    most[drawn], most[-1] = most[-1], most[drawn]
                    slot = most.pop()
            if slot >= 0:
                own.append(slot)
            slots.append(slot)
        return slots
