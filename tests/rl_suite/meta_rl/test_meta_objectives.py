"""What the outer loop differentiates: against finite differences, by hand, and order against order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bandit_toys import make_trainer

from rl_suite.errors import UserError
from rl_suite.meta_learning.engine import Mode, adapt, evaluate
from rl_suite.meta_rl.adaptation import make_context
from rl_suite.meta_rl.losses import EpisodeLoss, elite_loss, log_probabilities, surrogate
from rl_suite.meta_rl.rollouts import Steps


def in_double(trainer):
    """The trainer's policy, weights and episodes in double precision."""
    records = trainer.collect([0, 5])
    trainer.policy.double()

    def doubled(x):
        return x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    for record in records:
        for rollout in [*record.support, record.query]:
            rollout.__dict__["steps"] = Steps(*(doubled(part) for part in rollout.steps))
        record.weights = {name: value.double() for name, value in record.weights.items()}
    weights = {n: p.detach().clone().requires_grad_() for n, p in trainer.policy.named_parameters()}
    return records, weights


def value_at(trainer, weights, records):
    return float(sum(trainer.adaptation.objective(weights, r, Mode()).detach() for r in records)) / len(records)


@pytest.mark.parametrize("order", ["second", "anil"])
@pytest.mark.parametrize("context", [0, 2])
def test_meta_gradients_agree_with_finite_differences(order, context):
    """Advantages count as constants; with values that are 0 and stay so they are."""
    trainer = make_trainer(order=order, context_trajectories=context, value_loss_weight=0.0)
    for parameter in trainer.policy.value_head.parameters():
        torch.nn.init.zeros_(parameter)
    records, weights = in_double(trainer)
    gradients = evaluate(trainer.adaptation.objective, weights, records).gradients
    rng, checked = np.random.default_rng(0), 0
    for name in ("action_head.linear.weight", "task_attention.query.weight", "trunk.0.weight", "fusion.inner.weight"):
        flat = weights[name].detach().reshape(-1)
        for place in rng.choice(len(flat), 3, replace=False):
            sides = []
            for way in (1e-5, -1e-5):
                moved = flat.clone()
                moved[place] += way
                sides.append(value_at(trainer, {**weights, name: moved.view_as(weights[name])}, records))
            measured = (sides[0] - sides[1]) / 2e-5
            assert float(gradients[name].reshape(-1)[place]) == pytest.approx(measured, rel=1e-3, abs=1e-7)
            checked += abs(measured) > 1e-5
    assert checked >= 4


def test_two_second_order_steps_by_hand():
    trainer = make_trainer(order="second", adaptation_clip=None)
    records, weights = in_double(trainer)
    loss, record = trainer.adaptation.inner_loss, records[0]
    current = dict(weights)
    for rollout in record.support:
        outputs, attention = trainer.adaptation.outputs(current, rollout.steps)
        inner = loss(outputs, rollout.steps, attention)
        found = torch.autograd.grad(inner, list(current.values()), create_graph=True, allow_unused=True)
        current = {
            name: value if g is None else value - 1.0 * g
            for (name, value), g in zip(current.items(), found, strict=True)
        }
    outputs, attention = trainer.adaptation.outputs(current, record.query.steps)
    by_hand = torch.autograd.grad(
        trainer.adaptation.loss(outputs, record.query.steps, attention), list(weights.values()), allow_unused=True
    )
    ours = evaluate(trainer.adaptation.objective, weights, [record]).gradients
    for name, gradient in zip(weights, by_hand, strict=True):
        if gradient is not None:
            torch.testing.assert_close(ours[name], gradient, rtol=1e-6, atol=1e-9)


def test_the_first_order_is_that_of_the_engine():
    trainer = make_trainer(order="first")
    records, weights = in_double(trainer)
    how, steps = trainer.adaptation, [rollout.steps for rollout in records[0].support]
    adapted = adapt(how.inner, weights, steps, replace(how.loop, steps=2), how.rates)[-1]
    by_engine = torch.autograd.grad(how.outer(adapted, records[0]), list(weights.values()), allow_unused=True)
    ours = evaluate(how.objective, weights, [records[0]]).gradients
    for name, gradient in zip(weights, by_engine, strict=True):
        if gradient is not None:  # the inner steps were taken in single precision
            torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5)


def test_orders_agree_where_the_inner_loss_is_linear(monkeypatch):
    trainer = make_trainer(order="second")
    records, weights = in_double(trainer)
    slopes = {name: torch.full_like(value, 0.01) for name, value in weights.items()}
    monkeypatch.setattr(
        trainer.adaptation, "inner", lambda w, data, step: sum((w[name] * slopes[name]).sum() for name in w)
    )
    loop = replace(trainer.adaptation.loop, steps=2)
    found = []
    for order in ("first", "second"):
        path = adapt(trainer.adaptation.inner, weights, None, replace(loop, order=order), trainer.adaptation.rates)
        outer = trainer.adaptation.outer(path[-1], records[0])
        found.append(torch.autograd.grad(outer, list(weights.values()), allow_unused=True))
    for first, second in zip(*found, strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            torch.testing.assert_close(first, second)


def test_orders_differ_where_it_is_not():
    second, first = make_trainer(order="second"), make_trainer(order="first")
    records, weights = in_double(second)
    name = "trunk.0.weight"
    a = evaluate(second.adaptation.objective, weights, records).gradients[name]
    b = evaluate(first.adaptation.objective, weights, records).gradients[name]
    assert not torch.allclose(a, b, rtol=1e-3)
    assert torch.nn.functional.cosine_similarity(a.reshape(-1), b.reshape(-1), dim=0) > 0.5


def test_checkpointing_changes_no_gradient():
    plain, again = (make_trainer(order="second", gradient_checkpointing=on) for on in (False, True))
    records = plain.collect([0, 5])
    weights = plain.weights
    a = evaluate(plain.adaptation.objective, weights, records).gradients
    b = evaluate(again.adaptation.objective, weights, records).gradients
    assert a.keys() <= b.keys()
    for name, gradient in b.items():
        torch.testing.assert_close(gradient, a.get(name, torch.zeros_like(gradient)))


def test_reptile_goes_where_the_inner_steps_went():
    trainer = make_trainer(order="reptile")
    records = trainer.collect([0, 5])
    gradients = evaluate(trainer.adaptation.objective, trainer.weights, records).gradients
    for name, value in trainer.weights.items():
        expected = value.detach() - torch.stack([r.weights[name] for r in records]).mean(0)
        torch.testing.assert_close(gradients[name], expected)


def test_anil_moves_only_heads():
    trainer = make_trainer(order="anil")
    record = trainer.collect([0])[0]
    moved = {n for n, value in trainer.weights.items() if not torch.equal(value, record.weights[n])}
    assert moved
    assert all("_head." in name for name in moved)


def steps_of(returns, episode, log_prob=None):
    n = len(returns)
    zeros = torch.zeros(n)
    allowed = torch.ones(n, 2, dtype=torch.bool)
    actions = torch.zeros(n, dtype=torch.long)
    old = zeros if log_prob is None else log_prob
    return Steps(
        None, allowed, actions, old, torch.tensor(returns), zeros * torch.nan, zeros, torch.tensor(episode), None
    )


def test_importance_weights_correct_for_who_played():
    """Two actions, of which the second pays 1: actions of a policy that took it with 0.2 tell the gradient at 0.6."""
    logit = torch.tensor(np.log(0.6 / 0.4), dtype=torch.float32, requires_grad=True)
    log_p = torch.stack([torch.nn.functional.logsigmoid(-logit), torch.nn.functional.logsigmoid(logit)])
    played = torch.tensor([0] * 80 + [1] * 20)
    old = torch.where(played == 1, 0.2, 0.8).log()
    advantages = played.float()
    loss = surrogate(log_p[played], old, advantages)
    (gradient,) = torch.autograd.grad(loss, logit)
    scale = float(advantages.std(unbiased=False))
    assert float(gradient) == pytest.approx(-0.6 * 0.4 / scale, rel=1e-4)  # d p / d logit = p (1 - p)


def test_the_elite_are_the_best_episodes():
    steps = steps_of([1.0, 1.0, 0.0, 3.0, 3.0], [0, 0, 1, 2, 2])
    log_p = torch.tensor([-1.0, -1.0, -5.0, -0.5, -1.5])
    assert float(elite_loss(log_p, steps, 0.3)) == pytest.approx(1.0)  # the third episode alone
    assert float(elite_loss(log_p, steps, 1.0)) == pytest.approx(1.0)  # the second one earned least
    assert float(elite_loss(log_p, steps_of([1.0] * 5, [0, 0, 1, 2, 2]), 0.3)) == 0.0


def test_forbidden_actions_have_no_probability():
    steps = steps_of([0.0], [0])._replace(allowed=torch.tensor([[True, False]]))
    assert float(log_probabilities(torch.tensor([[0.0, 9.0]]), steps)) == 0.0


def test_every_part_of_the_loss_counts():
    trainer = make_trainer()
    record = trainer.collect([0])[0]
    outputs, attention = trainer.adaptation.outputs(trainer.weights, record.query.steps)
    total = {}
    for name in ("policy", "value", "complexity", "convergence"):
        settings = trainer.config.model_copy(update={f"{name}_loss_weight": 7.0})
        total[name] = float(EpisodeLoss(settings)(outputs, record.query.steps, attention).detach())
    settings = trainer.config.model_copy(update={"attention_entropy_weight": 7.0})
    total["entropy"] = float(EpisodeLoss(settings)(outputs, record.query.steps, attention).detach())
    plain = float(trainer.adaptation.loss(outputs, record.query.steps, attention).detach())
    assert total["value"] > plain + 0.1
    assert total["convergence"] > plain + 0.1
    assert total["entropy"] > plain + 1.0  # nearly uniform attention, and its weight is a penalty
    assert total["complexity"] == plain  # bandits have no expressions
    assert total["policy"] != plain


def test_contexts_are_the_last_trajectories_cut_and_padded():
    trajectories = [torch.full((length, 2), float(length)) for length in (3, 1, 4)]
    context = make_context(trajectories, 2, 3)
    assert context.shape == (1, 2, 3, 2)
    assert context[0, 0, :, 0].tolist() == [1.0, 0.0, 0.0]
    assert context[0, 1, :, 0].tolist() == [4.0, 4.0, 4.0]
    with pytest.raises(UserError, match="at least one trajectory"):
        make_context([], 2, 3)
    with pytest.raises(UserError, match="at least one step"):
        make_context([torch.zeros(0, 2)], 2, 3)
