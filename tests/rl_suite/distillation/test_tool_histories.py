"""Histories of the world of tools: its expert earns what its plan promises, and labels what others should have done."""

import numpy as np

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.distillation.sources.sources import make_histories
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.experiments import load_experiment


def histories(*words):
    section = load_experiment(DEFAULT_CONFIG, ["experiment=tool_use_distillation", *words]).distillation
    family = TaskFamily.named(section.world.id, section.world.options)
    return make_histories(family, section.source, 64, np.random.default_rng(0))


def test_the_expert_labels_the_histories_of_a_learner():
    learner = histories()
    assert learner.labels.shape == (64, 100, 7)
    assert (learner.labels.sum(-1) == 1).all()
    called = learner.labels.argmax(-1) == learner.actions
    assert 0.1 < called.mean() < 0.9
    expert = histories("distillation.source.name=expert", "distillation.source.labels=intended")
    assert (expert.labels.argmax(-1) == expert.actions).all()
    assert expert.returns().mean() > 1.2 * learner.returns().mean() > 0
