"""Supervised pre-training of a prior on random laws: predict every token of the law's form from its table.

All tokens of a program are learnt from in one causal pass. Laws are drawn while training goes on, so that no
table is seen twice; forms that are kept for a test are never drawn, under any name (``FormIndex``).
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from agents.meta.expression_encoder import FormPolicy, PrefixBatch, TableBatch
from envs.symbolic.benchmarks import SETS, problems
from envs.symbolic.form_prefixes import NONE, Examples, examples_of
from envs.symbolic.form_programs import FIRST_VARIABLE, FormIndex
from envs.symbolic.law_forms import Form, form_of
from envs.symbolic.law_generator import FormSampler, pack
from envs.symbolic.law_tables import draw_tables
from envs.symbolic.laws import PhysicsTaskDistribution
from rl_suite.symbolic.prior import Prior, Shape, table_batch

BLOCK_OF_LAWS = 8192  # drawn at a time; batches of laws of like length are cut from them
SPARE = 1.1  # some laws make no usable table, and the last batch may not be full
WARM_UP = 100  # steps
LEAST_RATE = 0.01  # share of the learning rate at the end of the cosine
CLIP = 1.0  # largest norm of a gradient
COLLECTION_SEEDS = (0, 1)  # of the collections whose laws are kept from training


@dataclass(frozen=True)
class Pretraining:
    """How long and how a prior is trained; it ends with whichever comes first, laws or seconds."""

    laws: int
    seconds: float  # of processor time, drawing of laws included
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.01


def held_out_forms() -> list[Form]:
    """Forms of every law that anything here is measured on: both large collections and all benchmark sets."""
    found: dict[Form, None] = {}
    everything = [
        (task.problem, task.expression())
        for seed in COLLECTION_SEEDS
        for task in PhysicsTaskDistribution(seed=seed).tasks
    ]
    everything += [(problem, problem.expression()) for group in SETS for problem in problems(group)]
    for problem, expression in everything:
        try:
            found[form_of(expression, problem.library)] = None
        except ValueError:  # forms cannot say it, so that no law of the stream is it
            continue
    return list(found)


@lru_cache(maxsize=1)
def held_out_index() -> FormIndex:
    """The forms of :func:`held_out_forms`, under every name."""
    return FormIndex(held_out_forms())


def draw_examples(sampler: FormSampler, n: int, rng: np.random.Generator) -> Examples:
    """n random laws with their tables and what they look like."""
    streams = rng.integers(0, 2**64, n, dtype=np.uint64)
    return examples_of(draw_tables(pack(sampler.sample(n)), streams))


def batches(examples: Examples, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of batches of programs of like length and width, in random order; unusable laws are left out."""
    usable = np.flatnonzero(examples.lengths > 0)
    keys = (rng.random(len(usable)), examples.context.width[usable], examples.lengths[usable])
    usable = usable[np.lexsort(keys)]
    chunks = [usable[i : i + size] for i in range(0, len(usable) - size + 1, size)]
    yield from (chunks[i] for i in rng.permutation(len(chunks)))


def tensors(examples: Examples, rows: NDArray[np.int64]) -> tuple[TableBatch, PrefixBatch, Tensor]:
    """Tables, prefixes and next tokens (B, L; -1 behind the end) of some examples."""
    table = table_batch(examples.context, rows)
    length = int(examples.lengths[rows].max())
    none = FIRST_VARIABLE + table.present.shape[1]

    def part(values: NDArray[np.int16]) -> Tensor:
        chosen = values[rows, :length].astype(np.int64)
        return torch.from_numpy(np.where(chosen == NONE, none, chosen))

    prefixes = examples.prefixes
    prefix = PrefixBatch(
        part(prefixes.previous),
        part(prefixes.parent),
        part(prefixes.sibling),
        torch.from_numpy(prefixes.open_slots[rows, :length].astype(np.int64)),
    )
    return table, prefix, torch.from_numpy(examples.programs[rows, :length].astype(np.int64))


def loss_of(policy: FormPolicy, examples: Examples, rows: NDArray[np.int64]) -> Tensor:
    """Mean negative log-probability of the programs, nats per program."""
    table, prefix, target = tensors(examples, rows)
    logits = policy(table, prefix)
    total = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum")
    return total / len(rows)


class PriorTraining:
    """The training of one prior, a block of laws at a time; it can be saved between blocks.

    Args:
        shape: sizes of the network.
        settings: how long and how.
        seed: of weights and laws.
        excluded: forms that are never drawn; None: those of :func:`held_out_forms`.
    """

    def __init__(self, shape: Shape, settings: Pretraining, seed: int, excluded: FormIndex | None = None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.policy = shape.build()
        self.shape, self.settings, self.seed = shape, settings, seed
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.blocks = self.laws = self.steps = 0
        self.seconds, self.loss = 0.0, math.nan
        self._sampler = FormSampler(seed, held_out_index() if excluded is None else excluded)

    @property
    def share(self) -> float:
        """How much of the training is done; 1: all."""
        return max(self.laws / self.settings.laws, self.seconds / self.settings.seconds)

    @property
    def done(self) -> bool:
        """Whether laws or seconds are spent."""
        return self.share >= 1.0

    def step(self) -> None:
        """Learn from one block of fresh laws; it ends early when laws or seconds are spent."""
        before, started = self.seconds, time.process_time()
        rng = np.random.default_rng([self.seed, self.blocks])
        self._sampler.begin(rng)
        left = max(self.settings.laws - self.laws, self.settings.batch_size)
        examples = draw_examples(self._sampler, min(BLOCK_OF_LAWS, int(SPARE * left) + 1), rng)
        losses = []
        for rows in batches(examples, self.settings.batch_size, rng):
            self.seconds = before + time.process_time() - started
            if self.done:
                break
            losses.append(self._update(examples, rows))
        self.blocks += 1
        self.seconds = before + time.process_time() - started
        self.loss = float(np.mean(losses)) if losses else self.loss

    def _update(self, examples: Examples, rows: NDArray[np.int64]) -> float:
        """One step of AdamW; the loss before it."""
        rate = LEAST_RATE + (1.0 - LEAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * self.share))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate * min(1.0, (self.steps + 1) / WARM_UP)
        loss = loss_of(self.policy, examples, rows)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP)
        self.optimizer.step()
        self.laws += len(rows)
        self.steps += 1
        return float(loss.detach())

    def prior(self) -> Prior:
        """What is learnt so far."""
        facts = {"laws": self.laws, "seconds": round(self.seconds, 1), "loss": self.loss, "seed": self.seed}
        return Prior(self.policy, self.shape, facts)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next block depends on."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict(), **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in COUNTS:
            setattr(self, name, state[name])


COUNTS = ("blocks", "laws", "steps", "seconds", "loss")


def pretrain(
    shape: Shape,
    settings: Pretraining,
    seed: int,
    excluded: FormIndex | None = None,
    report: Callable[[PriorTraining], bool] | None = None,
) -> Prior:
    """A prior trained on random laws; ``report`` is called after every block and ends the training by True."""
    training = PriorTraining(shape, settings, seed, excluded)
    while not training.done:
        training.step()
        if report is not None and report(training):
            break
    return training.prior()
