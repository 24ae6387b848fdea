"""The policy over expressions: whole programs only, right contexts, probabilities that agree with sampling."""

import itertools

import numpy as np
import torch

from agents.expression_policy import ExpressionPolicy, contexts

ARITY = np.array([2, 1, 0, 0])  # add, sin, x, y
ADD, SIN, X, Y = range(4)
NONE = 4


def is_whole(program: np.ndarray) -> bool:
    missing = 1
    for i, token in enumerate(program):
        if missing == 0:
            return bool((program[i:] == -1).all())
        if token < 0:
            return False
        missing += ARITY[token] - 1
    return missing == 0


def test_contexts_of_a_hand_written_program() -> None:
    seen = contexts(np.array([[ADD, SIN, X, ADD, Y, X, 0]]), ARITY)
    assert seen.parent[0, :6].tolist() == [NONE, ADD, SIN, ADD, ADD, ADD]
    assert seen.sibling[0, :6].tolist() == [NONE, NONE, NONE, SIN, NONE, Y]
    assert seen.open_slots[0].tolist() == [1, 2, 2, 1, 2, 1, 0]


def test_every_sample_is_one_whole_program_of_at_most_the_given_length() -> None:
    for length in (1, 2, 5, 12):
        programs = ExpressionPolicy(ARITY, length).sample(300, torch.Generator().manual_seed(0))
        assert programs.shape == (300, length)
        assert all(is_whole(row) for row in programs)


def test_probabilities_of_all_programs_sum_to_one() -> None:
    torch.manual_seed(0)
    policy = ExpressionPolicy(ARITY, 4)
    whole = []
    for n in range(1, 5):
        for tokens in itertools.product(range(4), repeat=n):
            row = np.array([*tokens, *[-1] * (4 - n)])
            if is_whole(row):
                whole.append(row)
    with torch.no_grad():
        log_p, entropy = policy.log_prob(np.array(whole, dtype=np.int16))
    assert abs(float(log_p.exp().sum()) - 1.0) < 1e-5
    assert bool((entropy >= 0).all())


def test_sampling_follows_the_seed() -> None:
    policy = ExpressionPolicy(ARITY, 8)
    first = policy.sample(20, torch.Generator().manual_seed(1))
    assert (first == policy.sample(20, torch.Generator().manual_seed(1))).all()
    assert (first != policy.sample(20, torch.Generator().manual_seed(2))).any()


def test_it_learns_to_write_one_program() -> None:
    torch.manual_seed(0)
    policy = ExpressionPolicy(ARITY, 6)
    wanted = np.array([[ADD, SIN, X, Y, -1, -1]], dtype=np.int16)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (-policy.log_prob(wanted)[0].mean()).backward()
        optimizer.step()
    drawn = policy.sample(50, torch.Generator().manual_seed(0))
    assert (drawn == wanted).all(1).mean() > 0.9
