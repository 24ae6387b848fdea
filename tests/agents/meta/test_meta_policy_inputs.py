"""What the attention meta-policy makes of numbers of other types, of NaN, and of sizes that do not fit."""

import pytest
import torch

from agents.meta_policy import EnhancedMetaLearningPolicy

SIZES = {"observation_dim": 6, "action_dim": 3, "hidden_dim": 8, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return EnhancedMetaLearningPolicy(**SIZES)


def test_double_and_whole_numbers_are_seen_as_single_ones(policy):
    obs, context = torch.randint(0, 3, (2, 6)).float(), torch.randint(0, 3, (2, 1, 4, 10)).float()
    expected = policy(obs, context)["policy_logits"]
    torch.testing.assert_close(policy(obs.double(), context.double())["policy_logits"], expected)
    torch.testing.assert_close(policy(obs.long(), context.long())["policy_logits"], expected)


@pytest.mark.parametrize(
    ("obs", "context", "mask", "said"),
    [
        (torch.full((6,), float("nan")), None, None, "not finite"),
        (torch.zeros(6), torch.full((1, 2, 10), float("nan")), None, "not finite"),
        (torch.zeros(6), None, [True, True], "2 actions; there are 3"),
        (torch.zeros(6), None, [False] * 3, "allows no action"),
    ],
)
def test_act_says_what_is_wrong(policy, obs, context, mask, said):
    with pytest.raises(ValueError, match=said):
        policy.act(obs, context, mask)


def test_contexts_are_of_one_task_or_of_each(policy):
    assert policy(torch.zeros(3, 6), torch.ones(1, 2, 4, 10))["value"].shape == (3,)
    with pytest.raises(ValueError, match="3 observations need the context of one task or of each, not of 2"):
        policy(torch.zeros(3, 6), torch.ones(2, 2, 4, 10))


@pytest.mark.parametrize("wrong", [{"hidden_dim": 2.5}, {"num_attention_heads": "2"}, {"action_dim": 0}])
def test_sizes_are_whole_numbers(wrong):
    with pytest.raises(ValueError, match="whole numbers of at least 1"):
        EnhancedMetaLearningPolicy(**{**SIZES, **wrong})
