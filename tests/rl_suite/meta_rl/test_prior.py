"""A prior: it learns, sees the task, knows no names of columns, is a file that is only data."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from agents.meta.expression_beam import Writer, best_programs, sample_programs
from agents.meta.expression_parts import ExpressionNodes, PointerHead, every_prefix
from agents.meta_policy import EnhancedMetaLearningPolicy
from envs.symbolic.form_prefixes import fill_slots
from envs.symbolic.form_programs import ARITY, FIRST_VARIABLE, normal_order
from envs.symbolic.law_forms import encode
from envs.symbolic.law_generator import FormSampler
from rl_suite.errors import UserError
from rl_suite.meta_rl.pretraining import Pretraining, draw_examples, loss_of, pretrain, tensors
from rl_suite.meta_rl.protocol import Judge, held_out_trials, run_policy
from rl_suite.meta_rl.sights import ManyTargets, OneTarget
from rl_suite.symbolic.prior import (
    SHIPPED_FILE,
    Prior,
    Shape,
    context_of,
    log_probabilities,
    prefix_of,
    propose,
    propose_together,
    renamed,
    repeated,
    table_batch,
)
from rl_suite.tensor_file import pack, unpack

SMALL = Shape(width=32, heads=2, column_layers=1, token_layers=1)


def fresh(shape=SMALL, seed=0):
    torch.manual_seed(seed)
    return Prior(shape.build(), shape)


def table(n=64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(1.0, 3.0, (n, 3))
    return X, X[:, 0] * X[:, 1] / X[:, 2]


@pytest.mark.slow
def test_it_learns_and_what_it_learns_is_about_the_table():
    prior = pretrain(SMALL, Pretraining(laws=260_000, seconds=600.0), seed=0)
    examples = draw_examples(FormSampler(99), 600, np.random.default_rng(99))
    rows = np.flatnonzero(examples.lengths > 0)[:256]
    other = examples._replace(context=examples.context._replace(table=np.roll(examples.context.table, 1, axis=0)))
    with torch.no_grad():
        trained, untrained = (
            float(loss_of(prior.policy, examples, rows)),
            float(loss_of(fresh().policy, examples, rows)),
        )
        shuffled = float(loss_of(prior.policy, other, rows))
    assert trained < 0.75 * untrained
    assert shuffled > trained + 0.3


def test_one_causal_pass_gives_what_token_by_token_gives():
    prior = fresh()
    examples = draw_examples(FormSampler(1), 40, np.random.default_rng(0))
    row = int(np.flatnonzero(examples.lengths > 3)[0])
    batch, prefix, target = tensors(examples, np.array([row]))
    with torch.no_grad():
        whole = torch.log_softmax(prior.policy(batch, prefix)[0], -1)
        writer = Writer(prior.policy, batch, ARITY[:FIRST_VARIABLE], fill_slots)
        slots, past, previous = writer.start(1), None, None
        for i, token in enumerate(target[0]):
            log_p, past = writer.step(previous, slots, past, i)
            assert torch.allclose(log_p[0], whole[i], atol=1e-4)
            previous = token[None]
            fill_slots(slots, previous.numpy())
    assert slots.depth[0] == 0


def test_a_beam_lists_whole_programs_best_first():
    X, y = table()
    prior = fresh()
    writer = Writer(prior.policy, table_batch(context_of(X, y)), ARITY[:FIRST_VARIABLE], fill_slots)
    found = best_programs(writer, 50)
    assert len(found.programs) == 50
    assert (np.diff(found.log_prob) <= 0).all()
    assert len({p.tobytes() for p in found.programs}) == 50
    for program, n in zip(found.programs, found.lengths, strict=True):
        arity = np.where(program[:n] < FIRST_VARIABLE, ARITY[program[:n]], 0)
        assert (np.cumsum(arity - 1)[:-1] >= 0).all()
        assert arity.sum() == n - 1
    drawn = sample_programs(writer, 300, torch.Generator().manual_seed(0))
    top = found.programs[0][: found.lengths[0]].tolist()
    share = np.mean([p[p >= 0].tolist() == top for p in drawn.programs])
    assert abs(share - np.exp(found.log_prob[0])) < 0.1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_programs_over_columns_are_judged_as_they_were_written(order):
    X, y = table()
    policy, context = fresh().policy, context_of(X[:, order], y)
    found = propose(policy, table_batch(context), 60)
    programs = renamed(found.programs, context.order[0])
    places, _, _ = prefix_of(programs, context.order[0], 3)
    normal = (places == found.programs).all(1) & (found.lengths < 9)  # in the order that the network is taught
    assert normal.sum() > 10
    assert np.allclose(log_probabilities(policy, context, programs)[normal], found.log_prob[normal], atol=1e-3)


def test_members_judge_one_list_together():
    X, y = table()
    one, other = fresh(seed=0).policy, fresh(seed=1).policy
    context, part = context_of(X, y), context_of(X[:40], y[:40])
    members = [(one, context), (other, context), (one, part)]
    programs, agreed = propose_together(members, 20)
    each = np.exp([log_probabilities(policy, seen, programs) for policy, seen in members])
    assert np.allclose(np.exp(agreed), each.mean(0), rtol=1e-4)
    assert (np.diff(agreed) <= 0).all()
    assert len({p.tobytes() for p in programs}) == 20


def test_attention_is_what_the_network_computes_with():
    X, y = table()
    policy = fresh().policy
    context = context_of(X, y)
    programs, _ = fresh().propose(X, y, 4)
    _, prefix, _ = prefix_of(programs, context.order[0], 3)
    batch = repeated(table_batch(context), 4)
    with torch.no_grad():
        tokens, columns = policy.attention(batch, prefix)
        encoded = policy.encode(batch)
        x = policy.inputs(policy.vocabulary(encoded), prefix)
        memories, absent = policy.memories(encoded)
        layer, memory = policy.layers[0], memories[0]
        x = x + layer.out((tokens[0] @ layer.split(layer.qkv(layer.before(x)), 3)[2]).transpose(1, 2).reshape(x.shape))
        x = x + layer.read((columns[0] @ memory[1]).transpose(1, 2).reshape(x.shape))
        assert torch.allclose(
            x + layer.feed(x), layer(policy.inputs(policy.vocabulary(encoded), prefix), memory, absent), atol=1e-5
        )
    assert torch.allclose(columns.sum(-1), torch.ones(()), atol=1e-5)
    assert float(tokens.triu(1).abs().max()) == 0.0


def test_names_and_order_of_columns_do_not_matter():
    X, y = table()
    prior, order = fresh(), [2, 0, 1]
    one, p_one = prior.propose(X, y, 20)
    other, p_other = prior.propose(X[:, order], y, 20)
    assert np.allclose(p_one, p_other, atol=1e-3)
    back = np.array([*range(FIRST_VARIABLE), *(FIRST_VARIABLE + np.array(order))])
    names = {tuple(sorted(back[p[p >= 0]])) for p in other[:10]}
    assert names == {tuple(sorted(p[p >= 0].tolist())) for p in one[:10]}


def test_without_context_all_tables_of_a_width_are_alike():
    prior = fresh(dataclasses.replace(SMALL, uses_context=False))
    _, one = prior.propose(*table(seed=0), 10)
    _, other = prior.propose(*table(seed=1), 10)
    assert np.array_equal(one, other)
    seen = fresh()
    assert not np.array_equal(seen.propose(*table(seed=0), 10)[1], seen.propose(*table(seed=1), 10)[1])


def test_means_instead_of_attention_change_the_result():
    X, y = table()
    attends, pooled = fresh(), fresh(dataclasses.replace(SMALL, attends=False))
    pooled.policy.load_state_dict(attends.policy.state_dict())
    assert not np.allclose(attends.propose(X, y, 5)[1], pooled.propose(X, y, 5)[1])


def test_a_file_brings_the_same_prior_back(tmp_path):
    X, y = table()
    prior = fresh()
    prior.facts["laws"] = 3
    prior.save(tmp_path / "p.safetensors")
    again = Prior.load(tmp_path / "p.safetensors")
    assert again.facts == {"laws": 3}
    assert again.shape == SMALL
    assert np.array_equal(prior.propose(X, y, 10)[0], again.propose(X, y, 10)[0])


@pytest.mark.parametrize(
    ("key", "value"),
    [("facts", [1]), ("facts", None), ("symbols", 5), ("features", None), ("shape", {"attends": "no"})],
)
def test_a_file_with_other_facts_is_one_line(tmp_path, key, value):
    path = tmp_path / "p.safetensors"
    fresh().save(path)
    weights, metadata = unpack(path.read_bytes())
    about = json.loads(metadata["about"])
    about[key] = {**about[key], **value} if key == "shape" else value
    path.write_bytes(pack(weights, {"about": json.dumps(about)}))
    with pytest.raises(UserError, match="not a prior of this suite, or damaged"):
        Prior.load(path)


@pytest.mark.parametrize("spoil", ["cut", "nan", "library", "json", "huge", "missing"])
def test_a_file_that_is_no_prior_of_ours_is_one_line(tmp_path, spoil):
    path = tmp_path / "p.safetensors"
    prior = fresh()
    if spoil == "nan":
        next(iter(prior.policy.parameters())).data[:] = np.nan
    prior.save(path)
    content = path.read_bytes()
    if spoil == "cut":
        path.write_bytes(content[:-100])
    elif spoil == "library":
        path.write_bytes(content.replace(b"tanh", b"tan_"))
    elif spoil == "json":
        path.write_bytes(content[:8] + b"{" * 50 + content[58:])
    elif spoil == "huge":
        path.write_bytes(content.replace(b'\\"width\\": 32', b'\\"width\\": 99'))
    elif spoil == "missing":
        path.unlink()
    with pytest.raises(UserError) as error:
        Prior.load(path)
    assert "\n" not in str(error.value)
    assert spoil != "library" or "another token library" in str(error.value)


def test_more_columns_than_it_knows_are_refused_in_one_line():
    assert "11" in fresh().refuses(11, 50)
    assert "not 2 and 3" in fresh().refuses(2, 3)
    assert not fresh().refuses(10, 4)


def test_programs_are_counted_once_and_the_first_exact_one_solves():
    trial = next(t for t in held_out_trials(0, 0) if t.monomial and t.X.shape[1] == 2)
    judge = Judge(trial, 0)
    one = np.full((3, 32), -1, np.int16)
    one[0, :1], one[1, :1] = FIRST_VARIABLE, FIRST_VARIABLE
    one[2, :1] = FIRST_VARIABLE + 1
    judge.evaluate(one, np.zeros(3), 10)
    judge.evaluate(one, np.zeros(3), 10)
    assert judge.evaluated == 2
    assert judge.solved_at == 0
    program = encode(trial.form)
    form = np.full((1, 32), -1, np.int16)
    for order in ([0, 1], [1, 0]):  # the trial's columns are permuted
        names = np.array([*range(FIRST_VARIABLE), *(FIRST_VARIABLE + np.array(order))])
        draft = np.full_like(form, -1)
        normal_order(names[program].astype(np.int16), len(program), draft[0])
        judge.evaluate(draft, np.zeros(1), 10)
    assert judge.solved_at in (3, 4)


def test_adaptation_never_counts_a_program_twice_and_leaves_the_prior_as_it_was():
    trial = held_out_trials(0, 0)[-1]
    prior = fresh()
    before = {k: v.clone() for k, v in prior.policy.state_dict().items()}
    run_policy(prior.policy, trial, 130, 1, 0)
    assert all(torch.equal(v, before[k]) for k, v in prior.policy.state_dict().items())


@pytest.mark.parametrize("sight", [OneTarget, ManyTargets])
def test_what_was_learnt_in_a_sight_becomes_more_probable(sight):
    X, y = table(40)
    prior, seen = fresh(), sight(X, y, np.arange(3))
    programs, _ = seen.propose(prior.policy, 30)
    assert len({program.tobytes() for program in programs}) == len(programs)
    few = programs[-5:]
    optimizer = torch.optim.Adam(prior.policy.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        loss = seen.loss(prior.policy, few)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05


def test_columns_of_a_sight_have_the_names_they_are_given():
    X, y = table(40)
    prior = fresh()
    (own, own_p), (other, other_p) = (
        ManyTargets(X, y, np.array(n)).propose(prior.policy, 20) for n in ([0, 1, 2], [2, 0, 1])
    )
    np.testing.assert_allclose(own_p, other_p)
    names = np.array([*range(FIRST_VARIABLE), *(FIRST_VARIABLE + np.array([2, 0, 1]))])
    lengths = (own >= 0).sum(1)
    again = np.full_like(own, -1)
    for program, row, length in zip(own, again, lengths, strict=True):
        normal_order(names[program[:length]].astype(np.int16), int(length), row)
    np.testing.assert_array_equal(again, other)


def test_many_targets_count_and_adapt_as_one_does():
    trial = held_out_trials(0, 0)[1]  # x0 x1
    torch.manual_seed(1)
    assert run_policy(Prior.load(SHIPPED_FILE).policy, trial, 3, 0, 0, views=True) == 1
    assert run_policy(fresh().policy, trial, 120, 1, 0, held_out_trials(0, 0)[0], views=True) in range(121)


def test_the_meta_policy_takes_the_parts_and_reads_every_prefix_in_one_pass():
    parts = fresh().policy
    examples = draw_examples(FormSampler(1), 60, np.random.default_rng(0))
    rows = np.flatnonzero(examples.lengths > 3)[:4]
    table, prefix, _ = tensors(examples, rows)
    length = torch.from_numpy(examples.lengths[rows])
    observation = {**table._asdict(), **prefix._asdict(), "length": length}
    actions = FIRST_VARIABLE + parts.max_columns
    torch.manual_seed(0)
    policy = EnhancedMetaLearningPolicy(
        8, actions, SMALL.width, 2, observation_encoder=ExpressionNodes(parts), action_head=PointerHead(parts)
    ).eval()
    with torch.no_grad():
        outputs = policy(observation, return_attention=True)
        policy.observation_encoder = torch.nn.Identity()
        whole = policy(every_prefix(ExpressionNodes(parts)(observation)))["policy_logits"]
    assert outputs["policy_logits"].shape == (4, actions)
    assert torch.allclose(outputs["attention_weights"].sum(2), torch.ones(4, 2), atol=1e-5)
    last = np.arange(4) * prefix.previous.shape[1] + length.numpy() - 1
    assert torch.allclose(whole[last], outputs["policy_logits"], atol=1e-4)
    absent = ~table.present[0]
    assert (outputs["policy_logits"][0, FIRST_VARIABLE : FIRST_VARIABLE + len(absent)][absent] < -1e8).all()
    with pytest.raises(ValueError, match="length"):
        ExpressionNodes(parts)({k: v for k, v in observation.items() if k != "length"})
