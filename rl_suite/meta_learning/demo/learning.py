"""The parts on learning: sine curves by MAML, characters from one drawing, digits without forgetting."""

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from rl_suite.meta_learning.continual.learner import ContinualLearner
from rl_suite.meta_learning.continual.outputs import Outputs
from rl_suite.meta_learning.data.episodes import EpisodeSource
from rl_suite.meta_learning.data.glyphs import draw_alphabets
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.demo.part import Part, accuracy, curve, load_digits
from rl_suite.meta_learning.learners.few_shot import PrototypicalNetwork
from rl_suite.meta_learning.learners.maml import MAML
from rl_suite.meta_learning.learners.nets import make_mlp
from rl_suite.meta_learning.metrics import TaskScores, adaptation_speed, compare, forgetting, sample_efficiency

CURVE_STEPS, CURVES = 1500, 25  # outer steps, curves of each
TEST_CURVES, TEST_STEPS = 200, 10
EPISODES, EVERY, WAY, SHOTS = 150, 30, 5, (1, 2, 4, 8)
TRAIN_ALPHABETS, TEST_ALPHABETS = range(3), range(3, 5)
TEST_EPISODES = 60
PAIRS, EPOCHS = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], 5


def maml(seed: int) -> Part:
    """Sine curves from ten points: MAML against the same network trained on all curves at once, both then adapted."""
    torch.manual_seed(seed)
    train = SinusoidTasks(shots=10, queries=10, seed=seed)
    test = SinusoidTasks(shots=10, queries=50, seed=seed, split="test").batch(0, TEST_CURVES)
    start = make_mlp(1, 1)
    joint, learner = copy.deepcopy(start), MAML(start, lr_inner=0.01, lr_meta=2e-3, num_inner_steps=1, order="second")
    optimizer = torch.optim.Adam(joint.parameters(), 2e-3)
    for step in range(CURVE_STEPS):
        tasks = train.batch(step * CURVES, CURVES)
        learner.meta_train_step(tasks)
        optimizer.zero_grad()
        x, y = (torch.cat(parts, 1) for parts in ((tasks.support_x, tasks.query_x), (tasks.support_y, tasks.query_y)))
        (joint(x) - y).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    errors = {}
    for name, model in (("MAML", learner), ("joint training", MAML(joint, lr_inner=0.01))):
        along = model.outputs_along(test, TEST_STEPS)
        steps = [torch.stack(outputs) for outputs in zip(*along, strict=True)]
        errors[name] = np.array([(out - test.query_y).square().mean((1, 2)).numpy() for out in steps])  # (steps + 1, T)
    ours, theirs = (TaskScores.of(errors[name][-1], False) for name in errors)
    means = {name: values.mean(1).tolist() for name, values in errors.items()}
    speed = adaptation_speed(means["MAML"], means["joint training"][-1], higher_is_better=False)
    return Part(
        "MAML: sine curves from ten points",
        f"squared error on {TEST_CURVES} held-out curves after {TEST_STEPS} gradient steps",
        ours.interval.estimate,
        theirs.interval.estimate,
        "the same network trained on all curves at once, then adapted alike",
        compare(ours, theirs).difference.high < 0,
        "the 95 % interval of the paired difference lies below 0",
        {"adaptation_speed": float("nan") if speed is None else speed},
        {"squared error against gradient steps": {name: [curve(values, 0)] for name, values in means.items()}},
    )


def few_shot(seed: int) -> Part:
    """Invented characters of alphabets that were never met, from one drawing: a prototypical network against pixels."""
    torch.manual_seed(seed)
    train, test = (draw_alphabets(part, 28, seed) for part in (TRAIN_ALPHABETS, TEST_ALPHABETS))
    source = EpisodeSource(train, n_way=10, k_shot=1, k_query=4, seed=seed)
    layers = [nn.Conv2d(1, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 48, 3, 2, 1)]
    learner = PrototypicalNetwork(nn.Sequential(*layers, nn.Flatten()), learning_rate=2e-3)
    asked = [EpisodeSource(test, n_way=WAY, k_shot=shots, k_query=5, seed=seed) for shots in SHOTS]
    along = []
    for start in range(0, EPISODES, EVERY):
        for number in range(start, start + EVERY):
            learner.train_episode(*source.task(number))
        along.append(learner.evaluate(asked[0], TEST_EPISODES).interval.estimate)
    by_shots = [learner.evaluate(each, TEST_EPISODES).interval.estimate for each in asked]
    ours = learner.evaluate(asked[0], TEST_EPISODES)
    pixels = TaskScores.of([_by_pixels(asked[0], number) for number in range(TEST_EPISODES)])
    return Part(
        "Few-shot learning: characters from one drawing",
        f"accuracy, {WAY}-way 1-shot, {TEST_EPISODES} episodes of alphabets that training never met",
        ours.interval.estimate,
        pixels.interval.estimate,
        "nearest drawing by pixels",
        compare(ours, pixels).difference.low > 0,
        "the 95 % interval of the paired difference lies above 0",
        {"sample_efficiency": sample_efficiency(SHOTS, by_shots)},
        {
            "accuracy against training episodes": {"": [curve(along, EVERY, EVERY)]},
            "accuracy against drawings of each": {"": [(np.array(SHOTS, dtype=np.float64), np.array(by_shots))]},
        },
    )


def _by_pixels(source: EpisodeSource, number: int) -> float:
    task = source.task(number)
    nearest = torch.cdist(task.query_x.flatten(1), task.support_x.flatten(1)).argmin(1)
    return float((task.support_y[nearest] == task.query_y).double().mean())


def continual(seed: int) -> Part:
    """Digits in pairs, one pair after the other, all ten asked: a memory of 200 images against none."""
    digits = load_digits()
    parts = []
    for x, y in ((digits.train_x, digits.train_y), (digits.test_x, digits.test_y)):
        parts.append([(x[rows], y[rows]) for rows in (torch.isin(y, torch.tensor(pair)) for pair in PAIRS)])
    train, test = parts
    kinds: dict[str, dict[str, Any]] = {"replay": {"buffer_size": 200}, "naive": {}}
    matrices = {}
    for name, options in kinds.items():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        learner = ContinualLearner(net, name, outputs=Outputs("class", PAIRS), learning_rate=2e-3, **options)
        rows = []
        for task, data in enumerate(train):
            learner.train_task({"train": data, "val": test[task]}, task, EPOCHS)
            rows.append([accuracy(net, x, y) for x, y in test])
        matrices[name] = np.array(rows)
    final = {name: matrix[-1].mean() for name, matrix in matrices.items()}
    lost = {name: forgetting(matrix) for name, matrix in matrices.items()}
    first = {name: [curve(matrix[:, 0].tolist())] for name, matrix in matrices.items()}
    return Part(
        "Continual learning: digits two at a time",
        "accuracy on all ten digits after the last pair, no hint which pair is asked",
        float(final["replay"]),
        float(final["naive"]),
        "training with nothing against forgetting",
        bool(final["replay"] > 2 * final["naive"] and lost["replay"] < lost["naive"]),
        "twice the baseline's accuracy, and less forgotten",
        {"forgetting": lost["replay"], "forgetting_naive": lost["naive"]},
        {"accuracy on the first pair after each": first},
    )
