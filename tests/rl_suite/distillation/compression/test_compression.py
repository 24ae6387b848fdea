"""Each strategy keeps what it says, on tensors and in the memory of an acting agent."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from agents.in_context.agent import InContextAgent, SlotNotes
from agents.in_context.model import InContextModel
from agents.in_context.transformer import TokenMemory
from rl_suite.distillation.compression.strategies import (
    STRATEGIES,
    Candidates,
    MemoryCompressor,
    compress_history,
    select,
)

STEPS = torch.arange(8)
ATTENTION = torch.tensor([0.02, 0.30, 0.01, 0.25, 0.02, 0.15, 0.05, 0.20])


def keep(strategy, k, attention=ATTENTION, rewards=None):
    rewards = torch.zeros(8) if rewards is None else rewards
    return compress_history(STEPS, STEPS, rewards, STEPS, attention, k=k, strategy=strategy)[0].tolist()


@pytest.mark.parametrize(
    ("strategy", "k", "kept"),
    [
        ("recent", 3, [5, 6, 7]),
        ("top_attention", 3, [1, 3, 7]),
        ("landmark", 2, [1, 7]),
        ("uniform", 3, [0, 4, 7]),
        ("threshold", 6, [1, 3, 4, 5, 6, 7]),  # four above 0.1, filled up with the newest
        ("sinks", 4, [0, 1, 6, 7]),
        ("heavy_hitters", 4, [1, 3, 6, 7]),
    ],
)
def test_hand_computed_choices(strategy, k, kept):
    assert keep(strategy, k) == kept


def test_rewarded_steps_stay_first():
    rewards = torch.tensor([0.0, 1, 0, 0, 1, 0, 0, 0])
    assert keep("rewarded", 3, rewards=rewards) == [1, 4, 7]


def test_snapkv_pools_over_neighbours():
    attention = torch.tensor([0.0, 0.2, 0.5, 0.5, 0.5, 0.2, 0, 0])
    assert keep("snapkv", 2, attention) == [3, 7]  # the middle of the attended stretch, and the newest


def test_diverse_takes_one_of_each_cluster():
    states = torch.tensor([0.0, 0.1, 0.2, 9.0, 9.1, 9.2, 50.0, 50.1])
    zeros = torch.zeros(8)
    kept = compress_history(states, zeros, zeros, states, ATTENTION, k=3, strategy="diverse")[0]
    assert sorted(int(value // 9) for value in kept) == [0, 1, 5]


def test_decay_prefers_recent_steps():
    n = 200
    steps, attention = torch.arange(n), torch.ones(n)
    kept = [compress_history(steps, steps, steps, steps, attention, 20, "decay", seed)[0] for seed in range(20)]
    assert torch.stack(kept).float().mean() > 0.6 * n


@given(st.sampled_from(sorted(STRATEGIES)), st.integers(1, 12), st.integers(0, 2**31))
def test_every_strategy_keeps_k_distinct_steps_in_order(strategy, k, seed):
    generator = torch.Generator().manual_seed(seed)
    values = [torch.rand(2, 12, generator=generator) for _ in range(4)]
    features = torch.rand(2, 12, 3, generator=generator)
    chosen = select(strategy, k, Candidates(*values, features, torch.ones(2, 12), generator))
    assert chosen.shape == (2, k)
    assert (chosen.diff(dim=1) > 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < 12


def test_attention_of_many_heads_is_averaged():
    heads = torch.stack([ATTENTION, ATTENTION]).view(1, 2, 8)
    assert keep("top_attention", 3, heads) == keep("top_attention", 3)


def test_equal_attention_is_covered_evenly():
    assert keep("auto", 3, torch.full((8,), 0.125)) == keep("uniform", 3)


def test_one_step_stays():
    one = torch.zeros(1)
    assert len(compress_history(one, one, one, one, torch.ones(1), k=1)[0]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 9}, "k=9 must lie between 1 and the length"),
        ({"attention_weights": torch.full((8,), torch.nan)}, "NaN or infinity"),
        ({"attention_weights": torch.ones(5)}, "must have one length"),
        ({"strategy": "best"}, "strategy must be one of recent"),
    ],
)
def test_bad_input_is_one_line(change, message):
    arguments = {"attention_weights": ATTENTION, "k": 3, **change}
    with pytest.raises(ValueError, match=message):
        compress_history(STEPS, STEPS, STEPS, STEPS, **arguments)


@pytest.mark.parametrize("mode", ["ring", "re_encode"])
@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_an_acting_agent_compresses_its_memory(mode, strategy):
    torch.manual_seed(0)
    model = InContextModel(spaces.MultiDiscrete([3, 3]), spaces.Discrete(4), width=16, n_layers=2, n_heads=2)
    agent = InContextAgent(model, window=8, mode=mode, compressor=MemoryCompressor(strategy, kept=5))
    memory = agent.begin(3)
    rng = np.random.default_rng(0)
    for step in range(30):
        flags = np.full(3, step == 0)
        agent.act(memory, rng.integers(3, size=(3, 2)), rng.integers(2, size=3).astype(float), flags, flags)
        index = memory.tokens.index
        assert (index.max(1).values == step).all()  # the newest token is always there
        assert 5 <= (index[0] >= 0).sum() <= 8 or step < 5


def test_recent_compression_remembers_the_newest():
    model = InContextModel(spaces.Discrete(1), spaces.Discrete(2), width=8, n_layers=1, n_heads=2)
    agent = InContextAgent(model, window=6, compressor=MemoryCompressor("recent", kept=3))
    memory = agent.begin(1)
    for step in range(7):
        flags = np.array([step == 0])
        agent.act(memory, np.zeros((1, 1)), np.zeros(1), flags, flags)
    assert sorted(i for i in memory.tokens.index[0].tolist() if i >= 0) == [3, 4, 5, 6]


def test_merging_replaces_tokens_by_what_is_most_like_them():
    """Two kinds of tokens and a full memory: one slot of each kind is left, which counts all of them."""
    kinds = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    steps = [0, 1, 0, 0, 1, 0]
    memory = TokenMemory(1, 6, 2, torch.device("cpu"))
    notes = SlotNotes.empty(memory, 2)
    for slot, kind in enumerate(steps):
        memory.append(kinds[[kind]])
        notes.token[0, slot], notes.reward[0, slot] = kinds[kind], float(kind)
    rows = torch.tensor([0])
    slots, joins = MemoryCompressor("merged", kept=2)(notes, rows)
    assert slots.tolist() == [[4, 5]]
    assert joins is not None
    assert joins.tolist() == [[1, 0, 1, 1, 0, 1]]
    notes.keep(slots, rows, joins)
    memory.keep(slots, rows, joins)
    assert memory.sizes[0, :2].tolist() == [2.0, 4.0]
    torch.testing.assert_close(memory.tokens[0, :2], kinds.flip(0))
    assert notes.reward[0, :2].tolist() == [1.0, 0.0]


def test_a_long_name_of_a_strategy_is_cut():
    steps = torch.zeros(5, 2)
    with pytest.raises(ValueError, match="strategy must be one of") as caught:
        compress_history(steps, steps, steps, steps, torch.ones(5), k=1, strategy="x" * 9000)
    assert len(str(caught.value)) < 300


def test_parts_without_steps_are_refused():
    steps, number = torch.zeros(5, 2), torch.tensor(1.0)
    for place, name in enumerate(("states", "actions", "rewards", "next_states")):
        parts = [number if place == i else steps for i in range(4)]
        with pytest.raises(ValueError, match=f"{name} must have a first axis"):
            compress_history(*parts, torch.ones(5), k=1)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 5), (4,)])
def test_attention_of_another_shape_is_refused(shape):
    steps = torch.zeros(5, 2)
    with pytest.raises(ValueError, match="must"):
        compress_history(steps, steps, steps, steps, torch.zeros(shape), k=1)
    nothing = torch.zeros(0, 2)
    with pytest.raises(ValueError, match="must"):
        compress_history(nothing, nothing, nothing, nothing, torch.zeros(shape), k=1)
