"""Several processes train one model: each computes the gradients of its part of a batch, all take the same step.

``torchrun --nproc-per-node 2 train.py experiment=darkroom_distillation`` starts them. The batch is the one of the
configuration, however many they are, so the result is that of one process up to the rounding of sums. Process 0 owns
the run folder, collects, validates and evaluates; the others follow it through the updates. They read what it has
collected from the run folder, so machines need a file system that they share.

Rows of a batch of the transformer and tasks of a meta-learner are shared in the same way.
"""

import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_suite.errors import UserError

FIT, END = 1, 0


@dataclass(frozen=True)
class Team:
    """The processes that train together; a team of one has nothing to say to itself."""

    rank: int = 0
    size: int = 1

    def rows(self, part: slice) -> slice:
        """This process's share of the rows ``part`` of a batch; raises ``UserError`` if there are too few for all."""
        rows = part.stop - part.start
        if rows < self.size:
            raise UserError(f"{rows} rows at a time are too few for {self.size} processes: raise the batch size")
        return slice(part.start + rows * self.rank // self.size, part.start + rows * (self.rank + 1) // self.size)

    def add_up(self, parameters: Iterable[nn.Parameter], values: Sequence[float] = ()) -> list[float]:
        """Replace gradients by their sums over all processes, and return the sums of ``values``; one message."""
        if self.size == 1:
            return list(values)
        gradients = [each.grad for each in parameters if each.grad is not None]
        extra = torch.tensor(values, dtype=gradients[0].dtype, device=gradients[0].device)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), extra])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat, [*(gradient.numel() for gradient in gradients), len(values)])
        for gradient, part in zip(gradients, parts, strict=False):  # the last part holds the values
            gradient.copy_(part.view_as(gradient))
        return [float(value) for value in parts[-1]]

    def mean(
        self, gradients: Mapping[str, Tensor], values: Sequence[float], weight: float
    ) -> tuple[dict[str, Tensor], list[float]]:
        """Means of gradients and values over all processes, each of which counts as much as its ``weight``."""
        if self.size == 1:
            return dict(gradients), list(values)
        like = next(iter(gradients.values()))
        extra = torch.tensor([*values, 1.0], dtype=torch.float64, device=like.device)
        flat = torch.cat([*(gradient.flatten().double() for gradient in gradients.values()), extra]) * weight
        torch.distributed.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients.values()]
        *parts, means = torch.split(flat / flat[-1], [*sizes, len(extra)])
        together = zip(gradients.items(), parts, strict=True)
        return {n: part.view_as(old).to(old.dtype) for (n, old), part in together}, [float(v) for v in means[:-1]]

    def begin(self, model: nn.Module, step: int) -> None:
        """Process 0: let the others follow from ``step`` with these weights."""
        if self.size > 1:
            self.call()
            self._say(step)
            self._share(model)

    def follow(self, model: nn.Module) -> int:
        """The others: take the weights of process 0; returns the step at which training begins."""
        step = self._hear()
        self._share(model)
        return step

    def call(self) -> None:
        """Process 0: let the others take a step, or begin to follow."""
        if self.size > 1:
            self._say(FIT)

    def is_called(self) -> bool:
        """The others: wait for process 0; whether there is something to follow, or a step to take, and not the end."""
        return self._hear() == FIT

    def dismiss(self) -> None:
        """Process 0: let the others end."""
        if self.size > 1:
            self._say(END)

    def _say(self, value: int) -> None:
        torch.distributed.broadcast(self._message(value), 0)

    def _hear(self) -> int:
        message = self._message(0)
        torch.distributed.broadcast(message, 0)
        return int(message.item())

    @staticmethod
    def _message(value: int) -> Tensor:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return torch.tensor(value, dtype=torch.int64, device=device)

    @staticmethod
    def _share(model: nn.Module) -> None:
        for value in model.state_dict().values():
            torch.distributed.broadcast(value, 0)


ALONE = Team()
_current = ALONE


def current() -> Team:
    """The team of this process at the moment."""
    return _current


def is_started() -> bool:
    """Whether ``torchrun`` has started this process beside others."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """Meet the processes that ``torchrun`` has started; alone without it.

    Raises:
        UserError: the environment variables of torchrun make no sense, or another process is gone.
    """
    if not is_started():
        yield ALONE
        return
    try:
        team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    except (KeyError, ValueError) as error:
        raise UserError(f"the environment of torchrun is not complete: {error}; unset WORLD_SIZE, RANK") from None
    if team.rank > 0:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # process 0 hears it and says when to stop
    try:
        with acting_as(team):
            yield team
            if team.rank == 0:
                team.dismiss()
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, torch.distributed.DistError):
            raise
        raise UserError(f"process {team.rank}: another process has ended, and says why") from error
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def acting_as(team: Team) -> Iterator[None]:
    """This team is the current one meanwhile: :data:`ALONE` for what process 0 does without the others."""
    global _current
    before, _current = _current, team
    try:
        yield
    finally:
        _current = before
