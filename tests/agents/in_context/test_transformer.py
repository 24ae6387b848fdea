"""The acting modes equal the full forward pass; captured weights are the weights that were used."""

import math

import pytest
import torch

from agents.in_context.transformer import CausalTransformer, TokenMemory, rotate, rotations

B, T, D, W = 3, 23, 16, 7


@pytest.fixture(params=["rotary", "none"])
def model(request):
    torch.manual_seed(0)
    net = CausalTransformer(D, n_layers=3, n_heads=2, feedforward=32, positions=request.param).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # large weights, so that attention is far from uniform
    return net


@pytest.fixture
def tokens():
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))


def banded(length, window):
    age = torch.arange(length)[:, None] - torch.arange(length)
    return (age >= 0) & (age < window)


def test_rotation_turns_by_the_index():
    turned = rotate(torch.tensor([[1.0, 0.0, 1.0, 0.0]]), rotations(torch.tensor([2]), 4))
    slow = 2 * 10_000 ** (-2 / 4)
    expected = [math.cos(2), math.sin(2), math.cos(slow), math.sin(slow)]
    torch.testing.assert_close(turned[0], torch.tensor(expected))


def test_only_distances_matter(model, tokens):
    near, _ = model(tokens)
    far, _ = model(tokens, index=torch.arange(T) + 10_000)
    torch.testing.assert_close(near, far, atol=2e-4, rtol=1e-4)


def test_memory_equals_forward_within_the_window(model, tokens):
    full, _ = model(tokens)
    memory = model.memory(B, T)
    for t in range(T):
        out, _ = model.step(tokens[:, t], memory)
        torch.testing.assert_close(out, full[:, t], atol=1e-5, rtol=1e-5)


def test_ring_equals_banded_forward_beyond_the_window(model, tokens):
    full, captured = model(tokens, mask=banded(T, W), capture="full")
    memory = model.memory(B, W)
    for t in range(T):
        out, weights = model.step(tokens[:, t], memory)
        torch.testing.assert_close(out, full[:, t], atol=1e-5, rtol=1e-5)
    order = memory.index.argsort(dim=1)[:, None].expand(B, 2, W)
    for layer in range(3):
        in_order = torch.gather(weights[layer], 2, order)
        torch.testing.assert_close(in_order, captured[layer][:, :, -1, -W:], atol=1e-5, rtol=1e-4)


def test_reset_of_one_environment_leaves_the_others(model, tokens):
    memory = model.memory(B, W)
    for t in range(T):
        if t == 10:
            memory.reset(torch.tensor([1]))
        out, _ = model.step(tokens[:, t], memory)
    whole, _ = model(tokens, mask=banded(T, W))
    fresh, _ = model(tokens[1:2, 10:], mask=banded(T - 10, W))
    torch.testing.assert_close(out[[0, 2]], whole[[0, 2], -1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out[1], fresh[0, -1], atol=1e-5, rtol=1e-5)


def test_kept_tokens_are_read_as_if_the_others_were_masked(model, tokens):
    memory = model.memory(B, T)
    for t in range(6):
        model.step(tokens[:, t], memory)
    kept = torch.tensor([[0, 2, 5]]).expand(B, 3)
    memory.keep(kept)
    assert memory.index[0].tolist() == [0, 2, 5] + [-1] * (T - 3)
    out, _ = model.step(tokens[:, 6], memory)
    mask = torch.tril(torch.ones(7, 7, dtype=torch.bool))
    mask[6, [1, 3, 4]] = False
    expected, _ = model(tokens[:, :7], mask=mask)
    torch.testing.assert_close(out, expected[:, 6], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="slots in use"):
        memory.keep(torch.full((B, 1), 9))


def test_question_that_is_not_stored(model, tokens):
    memory = model.memory(B, W)
    for t in range(4):
        model.step(tokens[:, t], memory)
    asked, weights = model.step(tokens[:, 4], memory, store=False)
    again, _ = model.step(tokens[:, 4], memory)
    torch.testing.assert_close(asked, again, atol=1e-5, rtol=1e-5)
    assert weights.shape == (3, B, 2, 5)


@pytest.mark.parametrize("capture", ["last", "rows", "full"])
def test_captured_rows_are_distributions_and_output_is_unchanged(model, tokens, capture):
    plain, nothing = model(tokens)
    rows = torch.tensor([4, 9])
    out, captured = model(tokens, capture=capture, rows=rows)
    queries = {"last": torch.tensor([T - 1]), "rows": rows, "full": torch.arange(T)}[capture]
    assert nothing == []
    assert torch.equal(plain, out)
    for weights in captured:
        assert weights.shape == (B, 2, len(queries), T)
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, 2, len(queries)))
        assert (weights[..., torch.arange(T) > queries[:, None]] == 0).all()


def test_capture_rows_needs_rows(model, tokens):
    with pytest.raises(ValueError, match="capture must be one of"):
        model(tokens, capture="rows")


def test_a_silenced_head_changes_the_output_and_comes_back(model, tokens):
    before, _ = model(tokens)
    model.silence([(1, 0)])
    without, _ = model(tokens)
    memory = model.memory(B, T)
    for t in range(T):
        out, _ = model.step(tokens[:, t], memory)
    torch.testing.assert_close(out, without[:, -1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, without)
    model.silence([])
    assert torch.equal(model(tokens)[0], before)


def test_odd_head_width_is_refused():
    with pytest.raises(ValueError, match="must split into 4 heads"):
        CausalTransformer(12, 1, 4, 8)


@pytest.mark.parametrize("again", [False, True])
def test_merged_tokens_are_attended_to_as_often_as_they_were_seen(again):
    """One layer without positions: a slot of n equal tokens must act like n slots."""
    torch.manual_seed(0)
    net = CausalTransformer(D, n_layers=1, n_heads=2, feedforward=32, positions="none").eval()
    kinds = torch.randn(2, D)
    sequence = kinds[[0, 1, 0, 0, 1, 0]]
    whole, merged = (TokenMemory(1, 6, D, torch.device("cpu")) if again else net.memory(1, 6) for _ in range(2))
    step = net.step_again if again else net.step
    for token in sequence:
        step(token[None], whole)
        step(token[None], merged)
    merged.keep(torch.tensor([[4, 5]]), joins=torch.tensor([[1, 0, 1, 1, 0, 1]]))
    assert merged.sizes[0, :2].tolist() == [2.0, 4.0]
    question = torch.randn(1, D)
    expected, expected_weights = step(question, whole, store=False)
    out, weights = step(question, merged, store=False)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    first = expected_weights[..., [1, 4]].sum(-1)
    torch.testing.assert_close(weights[..., 0], first, rtol=1e-5, atol=1e-5)
    # Merged again, groups weigh as many tokens as they hold.
    for token in kinds[[0, 0, 1, 1]]:
        step(token[None], merged)
    merged.keep(torch.tensor([[3, 5]]), joins=torch.tensor([[1, 0, 0, 0, 1, 1]]))
    assert merged.sizes[0, :2].tolist() == [6.0, 4.0]
