"""Pre-training of the meta-policy: it writes random laws token by token, given a sample of their data.

The laws are forms of ``envs.symbolic.law_generator``, none of which is held out under any name, with a number in
front and columns in random places. Their tables look as those of the symbolic world do. Only expressions are learned:
values and forecasts wait for meta-training.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vmap

from agents.expression_policy import contexts
from agents.meta.program_nodes import ProgramNodes
from agents.meta_policy import EnhancedMetaLearningPolicy
from envs.symbolic.law_forms import Form, columns_of, write
from envs.symbolic.law_generator import FormSampler
from envs.symbolic.program import evaluate_programs
from envs.symbolic.tokens import PAD, Library
from rl_suite.checkpoint import load_checkpoint, save_checkpoint
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_rl.pretraining import held_out_index
from rl_suite.meta_rl.worlds import SYMBOLIC, TaskWorlds
from rl_suite.progress import ProgressBar

BATCH = 64  # laws of one step
RATE = 2e-3  # of Adam at first; it falls to nothing along a cosine
CLIP = 1.0  # largest norm of a gradient
SAVE_EVERY = 60.0  # CPU seconds
LOW, HIGH = (0.1, 2.0), (1.5, 10.0)  # where a column's range begins (uniform), and how many times wider it is
LARGEST = 1e9  # absolute value of y; its spread is at least the inverse
DUMMY_SHARE = 0.5  # of the tables have one column that does not matter


class Lesson(NamedTuple):
    """B laws with L steps each."""

    observations: dict[str, Tensor]  # as the policy's encoder takes them, (B, L, ...); data (B, 1, R, V + 1)
    targets: Tensor  # (B, L) the next token; -1 behind the end


class LawStream:
    """Random laws as the symbolic world would show them.

    Args:
        worlds: whose library, columns and length are used.
        seed: of everything.
    """

    def __init__(self, worlds: TaskWorlds, seed: int):
        world: Any = worlds.batch(1).world
        self.library: Library = world.library
        self.length: int = world.rules.max_length
        self.rows: int = world.options.shown_points
        self.ids = {token.name: i for i, token in enumerate(self.library.tokens)}
        self.columns = self.library.n_variables
        self.first = len(self.library) - self.columns  # id of the first column
        self.arity = np.array([token.arity for token in self.library.tokens])
        self.seed = seed
        self.sampler = FormSampler(seed, held_out_index())
        self.rng = np.random.default_rng(seed)

    def lesson(self, n: int, number: int = 0) -> Lesson:
        """Lesson ``number``, of n laws; it does not depend on those before."""
        self.rng = np.random.default_rng([self.seed, 1, number])
        self.sampler.begin(np.random.default_rng([self.seed, 2, number]))
        programs = np.full((n, self.length), PAD, dtype=np.int16)
        data = np.zeros((n, self.rows, self.columns + 1), dtype=np.float32)
        done = 0
        while done < n:
            for form in self.sampler.sample(n - done):
                program = self._program(form)
                table = None if program is None else self._table(program)
                if program is not None and table is not None:
                    programs[done, : len(program)], data[done] = program, table
                    done += 1
        return self._as_lesson(programs, data)

    def _program(self, form: Form) -> list[int] | None:
        """Tokens of ``c * form`` with columns in random places; None where the library or the length forbids it."""
        places = self.rng.permutation(self.columns)
        words = write(form)
        if max(columns_of(form)) >= self.columns or len(words) + 2 > self.length:
            return None
        named = {f"x{i}": self.first + int(place) for i, place in enumerate(places)}
        ids = [named.get(word, self.ids.get(word, PAD)) for word in ["mul", "c", *words]]
        return None if PAD in ids else ids

    def _table(self, program: list[int]) -> NDArray[np.float32] | None:
        """A standardised sample (R, V + 1), y last; None where y is not finite or constant."""
        used = sorted({token - self.first for token in program if token >= self.first})
        free = [v for v in range(self.columns) if v not in used]
        if free and self.rng.random() < DUMMY_SHARE:
            used.append(free[int(self.rng.integers(len(free)))])
        X = np.zeros((self.rows, self.columns))
        for column in used:
            low = self.rng.uniform(*LOW)
            X[:, column] = self.rng.uniform(low, low * self.rng.uniform(*HIGH), self.rows)
        padded = np.array([program], dtype=np.int16)
        factor = self.rng.choice([-1.0, 1.0], p=[0.2, 0.8]) * np.exp(self.rng.uniform(-1.5, 1.5))
        lengths = np.array([len(program)])
        y = evaluate_programs(padded, lengths, X, self.library, np.array([[factor]]))[0]
        if not np.isfinite(y).all() or np.abs(y).max() > LARGEST:
            return None
        table = np.column_stack([X, y])
        scale = table.std(axis=0)
        if scale[-1] < 1 / LARGEST:
            return None
        scale[scale == 0.0] = 1.0
        shown: NDArray[np.float32] = np.clip((table - table.mean(axis=0)) / scale, -10.0, 10.0).astype(np.float32)
        return shown

    def _as_lesson(self, programs: NDArray[np.int16], data: NDArray[np.float32]) -> Lesson:
        """What the policy saw before each token."""
        longest = int((programs != PAD).sum(1).max())
        tokens = programs[:, :longest].astype(np.int64)
        seen = contexts(np.maximum(tokens, 0), self.arity)
        none = len(self.arity)
        around = [np.where(part == none, 0, part + 1) for part in (seen.parent, seen.sibling)]
        left = np.broadcast_to(self.length - np.arange(longest), tokens.shape)
        before = np.zeros((len(tokens), longest, self.length), dtype=np.int64)
        for step in range(1, longest):
            before[:, step, :step] = tokens[:, :step] + 1
        observations = {
            "tokens": torch.from_numpy(before),
            "slot": torch.from_numpy(np.stack([*around, seen.open_slots, left], -1)),
            "data": torch.from_numpy(data)[:, None],
        }
        return Lesson(observations, torch.from_numpy(tokens))


def loss_of(policy: EnhancedMetaLearningPolicy, lesson: Lesson) -> Tensor:
    """Mean negative log-probability of the tokens, in nats."""
    weights: dict[str, Tensor] = dict(policy.named_parameters())

    def logits(observations: dict[str, Tensor]) -> Tensor:
        found: Tensor = functional_call(policy, weights, (observations,))["policy_logits"]
        return found

    every = vmap(logits)(lesson.observations)
    return torch.nn.functional.cross_entropy(every.flatten(0, 1), lesson.targets.flatten(), ignore_index=PAD)


class WritingStage:
    """Pre-training, one batch of laws at a time; it goes on bit for bit from what it saved.

    Args:
        policy: learns, in place.
        worlds: whose laws.
        laws, seconds: how many laws, or CPU seconds, whichever ends first; one batch at least.
        seed: of the laws.

    Raises:
        UserError: the world has no laws, or the policy does not read its expressions.
    """

    def __init__(self, policy: EnhancedMetaLearningPolicy, worlds: TaskWorlds, laws: int, seconds: float, seed: int):
        if worlds.env_id != SYMBOLIC or not isinstance(policy.observation_encoder, ProgramNodes):
            raise UserError(f"pretraining writes laws; leave pretraining.laws=0 for {worlds.env_id} and this policy")
        self.policy, self.seconds = policy, seconds
        self.steps = max(1, laws // BATCH)
        self.losses: list[float] = []
        self.spent = 0.0
        self._stream = LawStream(worlds, seed)
        self._optimizer = torch.optim.Adam(policy.parameters(), RATE)

    @property
    def done(self) -> bool:
        """Whether laws or seconds are spent."""
        return bool(self.losses) and (len(self.losses) >= self.steps or self.spent > self.seconds)

    def step(self) -> float:
        """Learn from one batch; the loss before it."""
        began, step = time.process_time(), len(self.losses)
        share = max(step / self.steps, min(1.0, self.spent / self.seconds) if self.seconds else 0.0)
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * share))
        loss = loss_of(self.policy, self._stream.lesson(BATCH, step))
        self._optimizer.zero_grad()
        if not bool(loss.isfinite()):
            raise NonFiniteError(f"pre-training, step {step}: the loss is {float(loss)}")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP)
        self._optimizer.step()
        self.losses.append(float(loss.detach()))
        self.spent += time.process_time() - began
        return self.losses[-1]

    def facts(self) -> dict[str, float]:
        """``laws``, ``cpu_seconds`` and the mean ``loss`` of the last tenth of the steps."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return {"laws": float(BATCH * len(self.losses)), "cpu_seconds": self.spent, "loss": float(np.mean(last))}

    def state_dict(self) -> dict[str, Any]:
        """All that the next batch depends on."""
        counts = {"losses": list(self.losses), "spent": self.spent}
        return {"policy": self.policy.state_dict(), "optimizer": self._optimizer.state_dict(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.policy.load_state_dict(state["policy"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.losses, self.spent = [float(loss) for loss in state["losses"]], float(state["spent"])


def pretrain_policy(stage: WritingStage, file: Path | None = None, stop: Callable[[], bool] = lambda: False) -> bool:
    """Run the stage to its end; False if ``stop`` ended it before.

    Args:
        stage: what is left of it.
        file: where it is saved now and then and when it ends, and from where it goes on; None: nowhere.
        stop: asked after every batch.

    Raises:
        UserError: the file is none that this stage wrote.
    """
    if file is not None and file.is_file():
        try:
            stage.load_state_dict(load_checkpoint(file))
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"{file}: not of this pre-training, or damaged; remove it to begin again") from None
    saved = stage.spent
    with ProgressBar("pre-training", stage.steps) as progress:
        while not stage.done:
            loss = stage.step()
            progress.update(len(stage.losses), loss=loss)
            stopped = stop() and not stage.done
            if file is not None and (stopped or stage.done or stage.spent - saved > SAVE_EVERY):
                saved = stage.spent
                save_checkpoint(file, stage.state_dict())
            if stopped:
                return False
    return True
