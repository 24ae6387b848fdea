"""Pre-training: what the policy is shown is what the world shows, and it learns to write."""

import numpy as np
import pytest
import torch
from bandit_toys import make_config, make_worlds

from envs.symbolic import PhysicsTaskDistribution
from envs.symbolic.law_forms import form_of
from envs.symbolic.text import Expression
from envs.symbolic.tokens import PAD
from rl_suite.checkpoint import save_checkpoint
from rl_suite.errors import UserError
from rl_suite.meta_rl.imitation import LawStream, WritingStage, pretrain_policy
from rl_suite.meta_rl.pretraining import held_out_index
from rl_suite.meta_rl.trainer import make_policy
from rl_suite.meta_rl.worlds import TaskWorlds


@pytest.fixture(scope="module")
def worlds():
    laws = PhysicsTaskDistribution(collection="classic", include_noise=False)
    return TaskWorlds.of_laws(laws, {"max_length": 14, "shown_points": 10}, points=16)


def test_lessons_are_what_the_world_shows(worlds):
    lesson = LawStream(worlds, 0).lesson(8)
    env = worlds.batch(8)
    observation, _ = env.reset(seed=0)
    alive = np.ones(8, bool)
    for step in range(lesson.targets.shape[1]):
        target = lesson.targets[:, step].numpy()
        alive &= target != PAD
        for key in ("tokens", "slot"):
            shown = lesson.observations[key][:, step].numpy()
            np.testing.assert_array_equal(shown[alive], observation[key][alive], err_msg=f"{key} at {step}")
        masks = env.action_masks()
        # laws of more columns than the task of a row has are not legal there
        alive &= masks[np.arange(8), np.maximum(target, 0)]
        observation, *_ = env.step(np.where(alive, target, masks.argmax(1)))
    assert lesson.observations["data"].shape == (8, 1, 10, worlds.space["data"].shape[1])
    assert lesson.observations["data"][..., -1].std(2, unbiased=False).sub(1).abs().max() < 0.5


def test_no_lesson_is_a_law_that_is_held_out(worlds):
    stream = LawStream(worlds, 3)
    forms = []
    for program in stream.lesson(300).targets.numpy():
        tokens = program[program != PAD].astype(np.int16)
        forms.append(form_of(Expression(tokens, np.ones(1)), stream.library))
    assert not held_out_index().contains(forms).any()


def trained(worlds, laws, seconds=60.0, seed=0, **options):
    torch.manual_seed(0)
    stage = WritingStage(make_policy(worlds, make_config()), worlds, laws, seconds, seed)
    return pretrain_policy(stage, **options), stage


def test_it_learns_to_write(worlds):
    _, first = trained(worlds, 64)
    _, later = trained(worlds, 64 * 20)
    assert later.facts()["laws"] == 64 * 20
    assert later.facts()["loss"] < first.facts()["loss"] - 0.15
    assert trained(worlds, 64 * 1000, seconds=0.0)[1].facts()["laws"] == 64  # no time is one batch


def test_a_stopped_stage_goes_on_bit_for_bit(worlds, tmp_path):
    _, whole = trained(worlds, 64 * 5)
    file, asked = tmp_path / "stage.ckpt", iter([False, True])
    finished, part = trained(worlds, 64 * 5, file=file, stop=lambda: next(asked))
    assert (finished, len(part.losses)) == (False, 2)
    finished, rest = trained(worlds, 64 * 5, file=file)
    assert finished
    assert rest.losses == whole.losses
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, rest.policy.state_dict()[name]), name
    again, done = trained(worlds, 64 * 5, file=file)
    assert again
    assert done.losses == whole.losses  # nothing is left to learn


def test_a_file_of_another_stage_is_one_line(worlds, tmp_path):
    save_checkpoint(tmp_path / "stage.ckpt", {"policy": {}})
    with pytest.raises(UserError, match="remove it to begin again"):
        trained(worlds, 64, file=tmp_path / "stage.ckpt")


def test_worlds_without_laws_have_no_such_lessons():
    worlds = make_worlds()
    with pytest.raises(UserError, match=r"leave pretraining\.laws=0"):
        WritingStage(make_policy(worlds, make_config()), worlds, 64, 1.0, 0)
