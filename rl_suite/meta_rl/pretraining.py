"""Supervised pre-training of a prior on random laws: predict every token of the law's form from its table.

All tokens of a program are learnt from in one causal pass. Laws are drawn while training goes on, so that no
table is seen twice; forms that are kept for a test are never drawn, under any name (``FormIndex``).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True)
class Progress:
    """Where training stands."""

    laws: int
    seconds: float
    loss: float  # nats per program, of the last block


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
    """Rows of batches of programs of like length, in random order; unusable laws are left out."""
    usable = np.flatnonzero(examples.lengths > 0)
    usable = usable[np.lexsort((rng.random(len(usable)), examples.lengths[usable]))]
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


def pretrain(
    shape: Shape,
    settings: Pretraining,
    seed: int,
    excluded: FormIndex | None = None,
    report: Callable[[Progress], bool] | None = None,
) -> Prior:
    """A prior trained on random laws; ``report`` is told now and then and ends the training by returning True."""
    torch.manual_seed(seed)
    policy = shape.build()
    rng = np.random.default_rng([seed, 3])
    sampler = FormSampler(seed, held_out_index() if excluded is None else excluded)
    optimizer = torch.optim.AdamW(policy.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    started, laws, steps, loss = time.process_time(), 0, 0, math.nan
    share = 0.0
    while share < 1.0:
        examples = draw_examples(sampler, BLOCK_OF_LAWS, rng)
        losses = []
        for rows in batches(examples, settings.batch_size, rng):
            spent = time.process_time() - started
            share = max(laws / settings.laws, spent / settings.seconds)
            if share >= 1.0:
                break
            rate = LEAST_RATE + (1.0 - LEAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * share))
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate * min(1.0, (steps + 1) / WARM_UP)
            value = loss_of(policy, examples, rows)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(policy.parameters(), CLIP)
            optimizer.step()
            losses.append(float(value.detach()))
            laws += len(rows)
            steps += 1
        loss = float(np.mean(losses)) if losses else loss
        if report is not None and report(Progress(laws, time.process_time() - started, loss)):
            break
    facts = {"laws": laws, "seconds": round(time.process_time() - started, 1), "loss": loss, "seed": seed}
    return Prior(policy, shape, facts)
