"""The trainer: it learns to be adapted, goes on exactly, and says what went wrong."""

import json
import math

import numpy as np
import pytest
import torch
from bandit_toys import make_config, make_trainer, make_worlds

from agents.meta_policy import EnhancedMetaLearningPolicy
from envs.symbolic import PhysicsTaskDistribution
from rl_suite.errors import NonFiniteError, UserError
from rl_suite.meta_rl import EnhancedMAMLTrainer, EnhancedMetaLearningConfig, TaskWorlds
from rl_suite.meta_rl.adaptation import Adaptation
from rl_suite.meta_rl.analysis import draw_before_and_after
from rl_suite.meta_rl.trainer import make_policy


def test_it_learns_to_be_adapted_to_combinations_never_seen():
    """Five steps on three arms; the same weights adapted to another task's episodes do not help."""
    more = {"tasks_per_batch": 5, "support_episodes": 8, "query_episodes": 8, "adaptation_steps": 3, "meta_lr": 1e-2}
    trainer = make_trainer(worlds=make_worlds("train"), **more)
    for _ in range(20):
        trainer.meta_step()
    held_out = make_worlds("test+validation")
    tasks = list(held_out.tasks)
    found = trainer.success_after(tasks, (0, 3), 30, seed=1, worlds=held_out)
    moved = trainer.success_after(tasks, (3,), 30, 1, [*tasks[1:], tasks[0]], worlds=held_out)
    assert found[3].mean() > found[0].mean() + 0.15
    assert moved[3].mean() < found[0].mean() + 0.1


def test_what_is_logged():
    trainer = make_trainer()
    values = trainer.meta_step([0, 5])
    assert {"train/meta_loss", "train/success_before", "train/success", "attention/entropy"} <= set(values)
    assert {"task/task_0/success", "task/task_5/return", "family/task_0/success"} <= set(values)
    assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize("order", ["second", "first", "anil", "reptile"])
@pytest.mark.parametrize("resample", [True, False])
def test_every_order_moves_the_weights(order, resample):
    trainer = make_trainer(order=order, resample_support=resample, context_trajectories=2)
    before = {name: value.detach().clone() for name, value in trainer.weights.items()}
    trainer.meta_step()
    assert any(not torch.equal(before[name], value) for name, value in trainer.weights.items())


def test_the_other_options_live():
    for options in ({"inner_objective": "elite"}, {"adaptation_clip": 0.01}, {"fusion_type": "gating"}):
        plain, other = make_trainer(), make_trainer(**options)
        for trainer in (plain, other):
            trainer.meta_step()
        assert not torch.equal(plain.weights["trunk.0.weight"], other.weights["trunk.0.weight"]), options


def test_attention_is_followed_through_adaptation_and_drawn(tmp_path):
    trainer = make_trainer(context_trajectories=2)
    before = {name: value.detach().clone() for name, value in trainer.weights.items()}
    found = trainer.attention_after([0, 4], (0, 2), seed=0)
    assert set(found) == {"task_0", "task_4"}
    for maps in found.values():
        assert torch.allclose(maps[0].sum(2), torch.ones(()))
        assert not torch.allclose(maps[0], maps[2])
    assert all(torch.equal(before[name], value) for name, value in trainer.weights.items())
    draw_before_and_after(found, tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 5_000


def test_no_steps_is_joint_training():
    trainer = make_trainer(adaptation_steps=0, context_trajectories=2)
    record = trainer.collect([0])[0]
    assert record.support == []
    assert record.query.steps.context.shape[1] == 2  # it still sees its task
    values = trainer.meta_step()
    assert "train/success" in values
    assert set(trainer.success_after([0], (0,), 2, 0)) == {0}


def test_a_killed_training_goes_on_bit_for_bit(tmp_path):
    whole = make_trainer(context_trajectories=1)
    for _ in range(4):
        whole.meta_step()
    first = make_trainer(context_trajectories=1)
    for _ in range(2):
        first.meta_step()
    first.save(tmp_path / "half.ckpt")
    second = make_trainer(context_trajectories=1)
    second.load(tmp_path / "half.ckpt")
    for _ in range(2):
        values = second.meta_step()
    for name, value in whole.weights.items():
        assert torch.equal(value, second.weights[name]), name
    assert second.iteration == 4
    assert whole.attention_analyzer.history == second.attention_analyzer.history
    assert values["train/skipped_tasks"] == 0
    with pytest.raises(UserError, match="is not a checkpoint of this trainer"):
        make_trainer(hidden_dim=32).load(tmp_path / "half.ckpt")


def test_the_regulariser_moves_the_entropy():
    """More weight, more focus: the documented sign."""
    ends = []
    for weight in (0.0, 3.0):
        trainer = make_trainer(attention_entropy_weight=weight, adaptation_steps=1, meta_lr=1e-2)
        for _ in range(12):
            trainer.meta_step([0, 5])
        evolution = trainer.attention_analyzer.analyze_attention_evolution("task_0")
        ends.append(evolution["entropy"][-1])
        assert evolution["iteration"] == list(range(1, 13))
        assert evolution["entropy"][0] != evolution["entropy"][-1]
    assert ends[1] < ends[0] - 0.2


def test_tasks_with_gradients_that_are_not_finite_are_left_out_and_named(monkeypatch, caplog):
    trainer = make_trainer()
    plain = Adaptation.inner

    def inner(self, weights, data, step):
        loss = plain(self, weights, data, step)
        seen = data[step].returns  # of one of the tasks
        return loss * (torch.nan if torch.equal(seen, bad) else 1.0)

    bad = torch.zeros(0)
    monkeypatch.setattr(Adaptation, "inner", inner)
    adapting = trainer.adaptation.begin(trainer.weights, [0, 5], np.random.default_rng(0))
    adapting.look()
    bad = adapting._played[1].steps.returns
    adapting.step()
    assert [record.finite for record in adapting.records] == [True, False]
    adapting.query(2)  # it plays on with the weights that it had

    monkeypatch.setattr(Adaptation, "inner", lambda self, w, data, step: plain(self, w, data, step) * torch.nan)
    with pytest.raises(NonFiniteError, match="no task has finite inner gradients \\(task_0, task_5\\)"):
        trainer.meta_step([0, 5])
    assert trainer.skipped == {"task_0": 1, "task_5": 1}
    assert "inner gradients of task_5 are not finite" in caplog.text


def test_weights_that_say_nothing_finite_are_left_out():
    trainer = make_trainer(adaptation_lr=1e30, adaptation_clip=None)
    with pytest.raises(NonFiniteError, match="no task has finite inner gradients"):
        trainer.meta_step([0, 5])


def test_a_policy_of_ones_own_may_know_more_than_the_world():
    policy = EnhancedMetaLearningPolicy(16, 7, 16, 2)
    values = make_trainer(policy=policy).meta_step()
    assert math.isfinite(values["train/meta_loss"])
    with pytest.raises(UserError, match="knows 2 actions, and the world has 3"):
        make_trainer(policy=EnhancedMetaLearningPolicy(16, 2, 16, 2))
    with pytest.raises(UserError, match="reads 2 numbers, and the world shows 6"):
        make_trainer(policy=EnhancedMetaLearningPolicy(2, 7, 16, 2))


def test_worlds_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="numbered tasks and Discrete"):
        TaskWorlds("rl_suite/Durotaxis-v0")
    with pytest.raises(UserError, match="NoSuchWorld"):
        TaskWorlds("rl_suite/NoSuchWorld-v0")
    with pytest.raises(UserError, match="no task is called 'task_99'"):
        make_worlds().number("task_99")
    assert make_worlds().number(make_worlds().name(make_worlds().tasks[0])) == make_worlds().tasks[0]


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="device=cuda:99"):
        make_trainer(device="cuda:99")


@pytest.fixture(scope="module")
def one_family():
    laws = PhysicsTaskDistribution(collection="classic")
    laws.tasks = laws.tasks[:1]
    return laws


def test_laws_of_a_single_family(one_family):
    config = make_config(save_attention_maps=False, adaptation_steps=1, tasks_per_batch=2, complexity_loss_weight=0.1)
    trainer = EnhancedMAMLTrainer(config, task_distribution=one_family)
    values = trainer.meta_step()
    name = one_family.tasks[0].name
    assert f"task/{name}/success" in values
    assert values["train/complexity"] > 0
    one_family.tasks = ()
    with pytest.raises(UserError, match="holds no task"):
        EnhancedMAMLTrainer(config, task_distribution=one_family)


def test_columns_have_no_order():
    """The policy that the trainer makes for laws gives a permuted table the permuted probabilities."""
    worlds = TaskWorlds.of_laws(PhysicsTaskDistribution(collection="classic"), {"shown_points": 8, "max_length": 9}, 16)
    policy = make_policy(worlds, make_config())
    trainer = EnhancedMAMLTrainer(make_config(support_episodes=2), policy, worlds)
    steps = trainer.collect([0])[0].query.steps
    n_columns = steps.observations["data"].shape[2] - 1
    order = torch.randperm(n_columns, generator=torch.Generator().manual_seed(0))
    n_symbols = worlds.action_dim - n_columns
    ids = torch.cat([torch.arange(n_symbols + 1), n_symbols + 1 + order.argsort()])  # of tokens, 0 being none
    data = steps.observations["data"]
    turned = {
        "data": torch.cat([data[..., order], data[..., -1:]], 2),
        "tokens": ids[steps.observations["tokens"].long()],
        "slot": torch.cat([ids[steps.observations["slot"][:, :2].long()], steps.observations["slot"][:, 2:]], 1),
    }
    plain, moved = policy(steps.observations)["policy_logits"], policy(turned)["policy_logits"]
    torch.testing.assert_close(moved[:, :n_symbols], plain[:, :n_symbols], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved[:, n_symbols:], plain[:, n_symbols:][:, order], rtol=1e-4, atol=1e-5)
    assert plain[:, n_symbols:].std() > 0


def quick_start(tmp_path):
    """The documents' settings, with fewer and shorter episodes."""
    return EnhancedMetaLearningConfig(
        meta_lr=0.0003,
        adaptation_lr=0.01,
        adaptation_steps=1,
        tasks_per_batch=2,
        support_episodes=2,
        query_episodes=2,
        num_attention_heads=4,
        fusion_type="attention",
        use_hierarchical_encoding=True,
        policy_loss_weight=1.0,
        value_loss_weight=0.5,
        complexity_loss_weight=0.1,
        convergence_loss_weight=0.1,
        attention_entropy_weight=0.01,
        save_attention_maps=True,
        attention_save_interval=1,
        log_dir=tmp_path,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )


def test_the_documents_examples(tmp_path):
    config = quick_start(tmp_path)
    task_distribution = PhysicsTaskDistribution(include_noise=True)
    trainer = EnhancedMAMLTrainer(config, task_distribution=task_distribution)
    trainer.train(n_iterations=1)
    names = list(trainer.attention_analyzer.history)
    assert sorted(path.name for path in (tmp_path / "attention_maps").iterdir()) == sorted(
        f"attention_{name}_1.png" for name in names
    )
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert len(trainer.attention_analyzer.analyze_attention_evolution(names[0])["entropy"]) == 1

    policy = EnhancedMetaLearningPolicy(
        observation_dim=128,
        action_dim=50,
        hidden_dim=64,
        num_attention_heads=8,
        fusion_type="attention",
        use_hierarchical_encoding=True,
    )
    trainer = EnhancedMAMLTrainer(config=config, policy=policy, task_distribution=task_distribution)
    trainer.train(n_iterations=1)
    record = trainer.collect(trainer.worlds.first(1))[0]
    context = trainer._prepare_task_context(record.support[0].trajectories)
    stats = policy.get_attention_stats(record.query.steps.observations, context)
    assert set(stats) == {"attention_weights", "attention_entropy", "attention_max", "attention_argmax"}


def test_evolutions_are_asked_for_by_name():
    trainer = make_trainer()
    with pytest.raises(UserError, match="train first"):
        trainer.attention_analyzer.analyze_attention_evolution("task_0")
    weights = torch.full((3, 2, 4), 0.25)
    analyzer = trainer.attention_analyzer
    noted = analyzer.record("harmonic_oscillator_energy", 1, weights)
    assert noted["entropy"] == pytest.approx(math.log(4))
    assert noted["max"] == pytest.approx(0.25)
    analyzer.record("pendulum_small", 1, weights)
    analyzer.record("pendulum_large", 1, weights)
    assert analyzer.analyze_attention_evolution("harmonic_oscillator")["max"] == [0.25]
    with pytest.raises(UserError, match="several tasks begin"):
        analyzer.analyze_attention_evolution("pendulum")
    with pytest.raises(UserError, match="unknown task 'kepler'"):
        analyzer.analyze_attention_evolution("kepler")
    json.dumps(analyzer.state_dict())
