"""The attention meta-policy: what it knows of a task, where it looks, and what must not matter."""

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

from agents.meta.attention import TaskAttention
from agents.meta.task_encoder import TwoWayGRU
from agents.meta_policy import EnhancedMetaLearningPolicy, NodeTokens, attention_entropy

OBSERVATION, ACTIONS, WIDTH = 10, 5, 16


class Table(torch.nn.Module):
    """Observations are a dict: three nodes, columns, rows."""

    def forward(self, obs):
        nodes = obs["nodes"]
        real = nodes.new_ones(nodes.shape[:2], dtype=torch.bool)
        last = torch.full((len(nodes),), nodes.shape[1] - 1)
        return NodeTokens(nodes, real, last, columns=obs["columns"], rows=obs["rows"], rows_mask=obs.get("rows_mask"))


class Pointer(torch.nn.Module):
    """One logit for each column."""

    def forward(self, fused, encoded):
        return (encoded.columns @ fused[..., None])[..., 0]


def make_policy(**options):
    torch.manual_seed(0)
    return EnhancedMetaLearningPolicy(OBSERVATION, ACTIONS, WIDTH, 4, **options)


def make_table_policy():
    return make_policy(observation_encoder=Table(), action_head=Pointer())


def table(batch=3, n_columns=4, n_rows=6):
    generator = torch.Generator().manual_seed(1)
    sizes = {"nodes": 3, "columns": n_columns, "rows": n_rows}
    return {name: torch.randn(batch, n, WIDTH, generator=generator) for name, n in sizes.items()}


def context(batch=1, n=3, steps=7):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, n, steps, OBSERVATION + ACTIONS + 1, generator=generator)


@pytest.mark.parametrize("hierarchical", [True, False])
@pytest.mark.parametrize("fusion", ["attention", "gating", "bilinear"])
def test_outputs_and_their_shapes(fusion, hierarchical):
    policy = make_policy(fusion_type=fusion, use_hierarchical_encoding=hierarchical)
    outputs = policy(torch.randn(3, OBSERVATION), context(3), return_attention=True)
    assert outputs["policy_logits"].shape == (3, ACTIONS)
    assert outputs["value"].shape == (3,)
    assert {k: v.shape for k, v in outputs["auxiliary_outputs"].items()} == {
        "predicted_complexity": (3,),
        "predicted_convergence": (3,),
    }
    assert outputs["attention_weights"].shape == (3, 4, 1 + math.ceil(OBSERVATION / 4))
    assert "attention_weights" not in policy(torch.randn(3, OBSERVATION))
    task = policy.encode_task(context(3))
    assert task["task_embedding"].shape == (3, WIDTH)
    assert set(task) == {"task_embedding"} | ({"local_features", "global_features"} if hierarchical else set())


@pytest.mark.parametrize("hierarchical", [True, False])
def test_every_weight_gets_a_gradient(hierarchical):
    policy = make_policy(use_hierarchical_encoding=hierarchical)
    unknown = torch.zeros_like(context(1))
    outputs = policy(torch.randn(2, OBSERVATION), torch.cat([context(), unknown]), return_attention=True)
    total = outputs["policy_logits"].square().sum() + outputs["value"].sum()
    total = total + sum(part.sum() for part in outputs["auxiliary_outputs"].values())
    total.backward()
    assert [name for name, p in policy.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_fusions_differ():
    obs, outputs = torch.randn(2, OBSERVATION), []
    for fusion in ("attention", "gating", "bilinear"):
        outputs.append(make_policy(fusion_type=fusion)(obs, context(2))["value"])
    assert not torch.allclose(outputs[0], outputs[1])
    assert not torch.allclose(outputs[1], outputs[2])
    assert not torch.allclose(outputs[0], outputs[2])


def test_the_task_matters_and_no_task_is_a_task_of_its_own():
    policy, obs = make_policy(), torch.randn(1, OBSERVATION)
    other = policy(obs, context().flip(3))["value"]
    nothing = policy(obs)["value"]
    assert not torch.allclose(policy(obs, context())["value"], other)
    assert torch.equal(policy(obs, torch.zeros_like(context()))["value"], nothing)
    assert torch.equal(policy(obs, context()[:, :0])["value"], nothing)


@pytest.mark.parametrize("hierarchical", [True, False])
def test_order_of_trajectories_and_padding_do_not_matter(hierarchical):
    policy, trajectories = make_policy(use_hierarchical_encoding=hierarchical), context(2)
    embedding = policy.encode_task(trajectories)["task_embedding"]
    permuted = policy.encode_task(trajectories[:, [2, 0, 1]])["task_embedding"]
    padded = torch.nn.functional.pad(trajectories, (0, 0, 0, 4, 0, 2))  # four empty steps, two empty trajectories
    torch.testing.assert_close(permuted, embedding)
    torch.testing.assert_close(policy.encode_task(padded)["task_embedding"], embedding)
    reversed_in_time = policy.encode_task(trajectories.flip(2))["task_embedding"]
    assert not torch.allclose(reversed_in_time, embedding)


def test_the_recurrence_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = TwoWayGRU(3, 8), torch.nn.GRU(3, 8, batch_first=True)
    sequences = torch.randn(2, 4, 5, 3)
    with torch.no_grad():
        for i, state in enumerate(ours(sequences)):
            theirs.weight_ih_l0.copy_(ours.enter[i].T)
            theirs.weight_hh_l0.copy_(ours.again[i].T)
            theirs.bias_ih_l0.copy_(ours.enter_bias[i, 0])
            theirs.bias_hh_l0.copy_(ours.again_bias[i, 0])
            torch.testing.assert_close(state, theirs(sequences[i])[0])


def test_ragged_trajectories_are_as_they_are_alone():
    policy, trajectories = make_policy(), context(1, 2)
    trajectories[0, 1, 3:] = 0.0
    local = policy.encode_task(trajectories)["local_features"]
    alone = policy.encode_task(trajectories[:, 1:, :3])["local_features"]
    torch.testing.assert_close(local[:, 1:, :3], alone)
    assert not local[0, 1, 3:].any()


def test_observations_alone_are_a_context():
    policy = make_policy()
    padded = torch.nn.functional.pad(context()[..., :OBSERVATION], (0, ACTIONS + 1))
    torch.testing.assert_close(
        policy.encode_task(context()[..., :OBSERVATION])["task_embedding"], policy.encode_task(padded)["task_embedding"]
    )
    with pytest.raises(ValueError, match="task_trajectories must be"):
        policy.encode_task(torch.zeros(1, 1, 1, 3))


def test_permuted_columns_permute_the_pointer_and_nothing_else():
    policy, obs, order = make_table_policy(), table(), torch.tensor([2, 0, 3, 1])
    plain = policy(obs, context(), return_attention=True)
    turned = policy({**obs, "columns": obs["columns"][:, order]}, context(), return_attention=True)
    torch.testing.assert_close(turned["policy_logits"], plain["policy_logits"][:, order])
    torch.testing.assert_close(turned["value"], plain["value"])
    keys = torch.cat([torch.arange(3), 3 + order, torch.arange(7, 13)])
    torch.testing.assert_close(turned["attention_weights"], plain["attention_weights"][..., keys])


def test_order_of_rows_and_masked_rows_do_not_matter():
    policy, obs = make_table_policy(), table()
    plain = policy(obs, context())["policy_logits"]
    torch.testing.assert_close(policy({**obs, "rows": obs["rows"].flip(1)}, context())["policy_logits"], plain)
    more = torch.cat([obs["rows"], torch.full((3, 2, WIDTH), 9.0)], 1)
    real = torch.arange(8).expand(3, 8) < 6
    torch.testing.assert_close(policy({**obs, "rows": more, "rows_mask": real}, context())["policy_logits"], plain)


def test_one_table_serves_the_whole_batch():
    policy, obs = make_table_policy(), table()
    one = {"nodes": obs["nodes"], "columns": obs["columns"][:1], "rows": obs["rows"][:1]}
    each = {"nodes": obs["nodes"], **{k: one[k].expand(3, -1, -1) for k in ("columns", "rows")}}
    torch.testing.assert_close(policy(one, context())["policy_logits"], policy(each, context())["policy_logits"])


def test_attention_is_that_of_the_paper():
    """Keys and values of every token, computed one by one."""
    torch.manual_seed(0)
    attention = TaskAttention(WIDTH, 4, 2)
    query, tokens = torch.randn(2, WIDTH), torch.randn(2, 5, WIDTH)
    mask = torch.tensor([[True] * 5, [True, False, True, True, False]])
    found, weights = attention(query, [None, (tokens, mask)])
    kinds = tokens + attention.kinds[1]
    q = attention.query(attention.norm(query)).view(2, 1, 4, 4).transpose(1, 2)
    k = attention.key(kinds).view(2, 5, 4, 4).transpose(1, 2)
    v = attention.value(kinds).view(2, 5, 4, 4).transpose(1, 2)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None, None])
    torch.testing.assert_close(found, attention.output(expected.transpose(1, 2).reshape(2, WIDTH)))
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 4))
    assert not weights[1, :, [1, 4]].any()


def test_statistics_of_attention_and_their_bounds():
    policy = make_table_policy()
    stats = policy.get_attention_stats(table(), context())
    n_keys = 3 + 4 + 6
    assert stats["attention_weights"].shape == (3, 4, n_keys)
    torch.testing.assert_close(stats["attention_weights"].sum(2), torch.ones(3, 4))
    assert ((stats["attention_entropy"] > 0) & (stats["attention_entropy"] <= math.log(n_keys))).all()
    assert ((stats["attention_max"] >= 1 / n_keys) & (stats["attention_max"] <= 1)).all()
    assert torch.equal(stats["attention_argmax"], stats["attention_weights"].mean(1).argmax(1))


def test_uniform_weighting_looks_everywhere_alike():
    policy = make_policy(weighting="uniform")
    entropy = policy.get_attention_stats(torch.randn(2, OBSERVATION))["attention_entropy"]
    torch.testing.assert_close(entropy, torch.full((2,), math.log(4.0)))


def test_entropy_has_a_gradient_even_where_weights_are_zero():
    weights = torch.tensor([[[0.5, 0.5, 0.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(attention_entropy(weights).sum(), weights)
    assert gradient.isfinite().all()
    policy = make_policy()
    attention = policy(torch.randn(2, OBSERVATION), context(), return_attention=True)["attention_weights"]
    attention_entropy(attention).mean().backward()
    assert policy.task_attention.query.weight.grad.abs().sum() > 0


def test_act_obeys_the_mask_and_says_how_likely_it_was():
    policy, obs = make_policy(), torch.randn(OBSERVATION)
    only = torch.zeros(ACTIONS, dtype=torch.bool)
    only[3] = True
    action, info = policy.act(obs, context(), only)
    assert action == 3
    assert info["log_prob"] == pytest.approx(0.0, abs=1e-6)
    best, said = policy.act(obs.numpy(), context()[0], deterministic=True)
    log_p = policy(obs[None], context())["policy_logits"].log_softmax(1)[0]
    assert best == int(log_p.argmax())
    assert said["log_prob"] == pytest.approx(float(log_p[best].detach()), abs=1e-6)
    assert 0 < said["attention_entropy"] <= math.log(4)
    with pytest.raises(ValueError, match="allows no action"):
        policy.act(obs, None, only & False)
    with pytest.raises(ValueError, match="one observation"):
        policy.act(torch.randn(2, OBSERVATION))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_dim": 18}, "multiple of 4 heads"),
        ({"hidden_dim": 0}, "at least 1"),
        ({"fusion_type": "sum"}, "fusion_type must be one of"),
        ({"fusion_type": ["attention"]}, "fusion_type must be one of"),
        ({"weighting": "uniformly"}, "weighting must be one of"),
        ({"use_hierarchical_encoding": "no"}, "True or False"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EnhancedMetaLearningPolicy(OBSERVATION, ACTIONS, **options)


def test_arrays_and_lists_are_as_good_as_tensors():
    policy, obs, episodes = make_policy(), torch.randn(2, OBSERVATION), context()
    said = policy(obs, episodes)["policy_logits"]
    for kind in (np.asarray, lambda values: values.tolist()):
        torch.testing.assert_close(policy(kind(obs), kind(episodes))["policy_logits"], said)
    torch.testing.assert_close(policy.encode_task(episodes.numpy())["task_embedding"], policy.embed(episodes))
    assert policy.act(obs[0].tolist(), episodes[0].numpy(), deterministic=True)[0] == int(said[0].argmax())
    ragged = [[[[0.0] * policy.task_features] * 2, [[0.0] * policy.task_features]]]
    for wrong in ((obs, ragged), ("abc", episodes)):
        with pytest.raises(ValueError, match="array or a tensor of numbers"):
            policy(*wrong)


def test_nothing_to_decide_on_is_decided():
    policy = make_policy()
    assert policy(torch.zeros(0, OBSERVATION))["policy_logits"].shape == (0, ACTIONS)
    assert policy.encode_task(context()[:0])["task_embedding"].shape[0] == 0


def test_many_tasks_with_weights_of_their_own_run_together():
    policy, obs, trajectories = make_policy(), torch.randn(2, 3, OBSERVATION), context(2)[:, None]
    weights = {name: torch.stack([p, 1.1 * p]).detach() for name, p in policy.named_parameters()}
    together = vmap(lambda w, o, c: functional_call(policy, w, (o, c))["policy_logits"])(weights, obs, trajectories)
    for i in range(2):
        own = {name: value[i] for name, value in weights.items()}
        alone = functional_call(policy, own, (obs[i], trajectories[i]))["policy_logits"]
        torch.testing.assert_close(together[i], alone)


def test_a_task_can_be_told_from_its_rewards_alone():
    """Which of five actions paid in the episodes is the action to take: learned in seconds, on contexts never seen."""
    policy = make_policy()
    optimizer = torch.optim.Adam(policy.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(3)

    def episodes(n):
        best = torch.randint(ACTIONS, (n,), generator=generator)
        tried = torch.randint(ACTIONS, (n, 2, 12), generator=generator)
        paid = (tried == best[:, None, None]).float()[..., None]
        one_hot = torch.nn.functional.one_hot(tried, ACTIONS).float()
        return best, torch.cat([torch.zeros(n, 2, 12, OBSERVATION), one_hot, paid], 3)

    for _ in range(250):
        best, tasks = episodes(64)
        logits = policy(torch.zeros(64, OBSERVATION), tasks)["policy_logits"]
        loss = torch.nn.functional.cross_entropy(logits, best)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best, tasks = episodes(200)
    right = policy(torch.zeros(200, OBSERVATION), tasks)["policy_logits"].argmax(1) == best
    assert right.float().mean() > 0.85
