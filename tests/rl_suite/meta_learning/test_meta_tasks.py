"""A task is four tensors; a batch is stacked where shapes agree, and a list elsewhere."""

import numpy as np
import pytest
import torch

from rl_suite.errors import UserError
from rl_suite.meta_learning import Task, create_meta_batch, stack_tasks
from rl_suite.meta_learning.tasks import TaskList, as_task, count_tasks, unstack_tasks


def task_of(number, shots=2, queries=3):
    x = torch.full((shots + queries, 1), float(number))
    return Task(x[:shots], x[:shots] + 1, x[shots:], x[shots:] + 1)


def test_equal_shapes_are_stacked_and_come_back():
    tasks = [task_of(i) for i in range(4)]
    batch = stack_tasks(tasks)
    assert isinstance(batch, Task)
    assert batch.query_x.shape == (4, 3, 1)
    assert count_tasks(batch) == 4
    for one, back in zip(tasks, unstack_tasks(batch), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, back, strict=True))


def test_ragged_tasks_stay_a_list():
    batch = stack_tasks([task_of(0), task_of(1, shots=5)])
    assert isinstance(batch, list)
    assert count_tasks(batch) == 2
    assert [len(task.support_x) for task in unstack_tasks(batch)] == [2, 5]


def test_a_meta_batch_repeats_a_task_only_where_it_must():
    tasks = [task_of(i)._asdict() for i in range(4)]
    drawn = create_meta_batch(tasks, 4, np.random.default_rng(0))
    assert sorted(drawn.support_x[:, 0, 0].tolist()) == [0, 1, 2, 3]
    assert count_tasks(create_meta_batch(tasks[:2], 4, np.random.default_rng(0))) == 4
    again = create_meta_batch(tasks, 2, np.random.default_rng(7)), create_meta_batch(tasks, 2, np.random.default_rng(7))
    assert torch.equal(again[0].support_x, again[1].support_x)


def test_a_list_of_tasks_is_a_source():
    source = TaskList(task_of(i) for i in range(3))
    assert source.batch(2, 2).support_x[:, 0, 0].tolist() == [2, 0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"support_x": torch.zeros(1)}, "missing: support_y"),
        ([torch.zeros(1)] * 3, "four tensors"),
        ([torch.zeros(1, 1), ["cat"], torch.zeros(1, 1), ["cat"]], "local_labels numbers other labels"),
        ([[[0.0], [1.0, 2.0]], [0, 1], [[0.0]], [0]], "must be numbers"),
        ([torch.zeros(2, 1), torch.zeros(3), torch.zeros(1, 1), torch.zeros(1)], "one target per input"),
        ([torch.zeros(0, 1), torch.zeros(0), torch.zeros(1, 1), torch.zeros(1)], "one target per input"),
    ],
)
def test_what_is_no_task_is_named(parts, words):
    with pytest.raises(UserError, match=words):
        as_task(parts)


def test_no_tasks_no_batch():
    for call in (lambda: create_meta_batch([]), lambda: stack_tasks([]), lambda: TaskList([])):
        with pytest.raises(UserError):
            call()
