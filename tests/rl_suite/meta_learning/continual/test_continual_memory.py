"""What a memory keeps."""

import pytest
import torch

from rl_suite.errors import UserError
from rl_suite.meta_learning.continual.memory import MemoryBuffer


def numbers(start, stop):
    x = torch.arange(start, stop, dtype=torch.float32)
    return x[:, None], x.long() % 3


@pytest.mark.parametrize("batch", [7, 100])
def test_a_reservoir_keeps_every_example_equally_often(batch):
    kept = torch.zeros(100)
    for seed in range(400):
        memory = MemoryBuffer(10, "reservoir", seed)
        for start in range(0, 100, batch):
            memory.add(*numbers(start, min(100, start + batch)))
        kept[memory.everything().x[:, 0].long()] += 1
        assert len(memory) == 10
    # 40 of 400 expected, standard deviation 6; the mean of 20 neighbours deviates by 1.3
    assert ((kept - 40).abs() < 30).all()
    assert ((kept.reshape(5, 20).mean(1) - 40).abs() < 6).all()


def test_the_size_of_batches_does_not_matter():
    one, many = MemoryBuffer(5, seed=3), MemoryBuffer(5, seed=3)
    one.add(*numbers(0, 40))
    many.add(*numbers(0, 25))
    many.add(*numbers(25, 40))
    assert one.everything().x.tolist() == many.everything().x.tolist()


def test_a_ring_keeps_the_latest():
    memory = MemoryBuffer(4, "ring")
    memory.add(*numbers(0, 11))
    assert sorted(memory.everything().x[:, 0].tolist()) == [7, 8, 9, 10]


def test_a_balanced_memory_gives_every_label_its_share():
    memory = MemoryBuffer(12, "balanced")
    memory.add(torch.zeros(100, 2), torch.zeros(100, dtype=torch.int64))
    assert len(memory) == 12
    memory.add(torch.ones(100, 2), torch.ones(100, dtype=torch.int64), task=1)
    memory.add(torch.full((3, 2), 2.0), torch.full((3,), 2), task=2)
    kept = memory.everything()
    assert kept.y.bincount().tolist() == [4, 5, 3]
    assert (kept.x[:, 0].long() == kept.y).all()
    assert (kept.task == kept.y).all()


def test_priorities_decide_what_is_drawn():
    memory = MemoryBuffer(4, "priority")
    memory.add(*numbers(0, 4))
    memory.set_priorities(torch.arange(4), torch.tensor([0.0, 0.0, 0.0, 5.0]))
    drawn = torch.cat([memory.sample(1).x[:, 0] for _ in range(200)])
    assert (drawn == 3).float().mean() > 0.95


def test_a_sample_repeats_nothing_unless_it_must():
    memory = MemoryBuffer(50)
    memory.add(*numbers(0, 20))
    assert len(memory.sample(20).x.unique()) == 20
    assert len(memory.sample(30).x) == 30


def test_it_goes_on_from_its_state():
    memory = MemoryBuffer(8, "balanced", seed=1)
    memory.add(*numbers(0, 30))
    twin = MemoryBuffer(8, "balanced", seed=5)
    twin.load_state_dict(memory.state_dict())
    for one in (memory, twin):
        one.add(*numbers(30, 60))
    assert memory.everything().x.tolist() == twin.everything().x.tolist()
    assert memory.sample(3).x.tolist() == twin.sample(3).x.tolist()


def test_bad_input():
    with pytest.raises(UserError, match="capacity"):
        MemoryBuffer(0)
    with pytest.raises(UserError, match="policy"):
        MemoryBuffer(1, "everything")
    memory = MemoryBuffer(3)
    with pytest.raises(UserError, match="empty"):
        memory.sample(1)
    with pytest.raises(UserError, match="as many labels"):
        memory.add(torch.zeros(2, 1), torch.zeros(1))
    memory.add(torch.zeros(2, 4), torch.zeros(2))
    with pytest.raises(UserError, match=r"shape \(4,\)"):
        memory.add(torch.zeros(2, 5), torch.zeros(2))
