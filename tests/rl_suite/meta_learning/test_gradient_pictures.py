"""Gradient learners on episodes of pictures: controls are at chance, and a run can be asked about other pictures."""

import numpy as np
import pytest
import torch

from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.meta_learning import experiment, load_few_shot_learner
from rl_suite.meta_learning.learners.nets import make_wide_net
from rl_suite.meta_learning.metrics import mean_interval
from rl_suite.meta_learning.problems.adapting import by_pixels, centroid_scores
from rl_suite.meta_learning.problems.few_shot_gradient import build
from rl_suite.meta_learning.session import accuracy, measure
from rl_suite.meta_learning.tasks import shuffled_supports, unstack_tasks
from rl_suite.run import Run

SMALL = ["meta_learning.pictures.data=glyphs", "meta_learning.pictures.symmetries=1"]
NARROW = "meta_learning.gradient.width=4"


def config_of(tmp_path, *words):
    start = ["experiment=omniglot_maml,smoke", f"runs_dir={tmp_path}", *SMALL]
    return load_experiment(DEFAULT_CONFIG, [*start, *words])


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    torch.manual_seed(0)
    return build(config_of(tmp_path_factory.mktemp("runs"), NARROW, "meta_learning.pictures.k_query=5")).problem


def test_an_unadapted_network_and_shuffled_labels_are_at_chance(problem):
    for name in ("unadapted", "adapted to shuffled labels"):
        values = measure(problem.controls[name], problem, problem.test, 60).values
        interval = mean_interval(values, confidence=0.999)
        assert interval.low < 0.2 < interval.high, name
    pixels = measure(by_pixels, problem, problem.test, 50).interval
    assert pixels.low > 0.25


def test_shuffling_depends_on_the_task_alone(problem):
    tasks = problem.test.batch(0, 4)
    whole, alone = shuffled_supports(tasks), shuffled_supports([unstack_tasks(tasks)[2]])
    assert torch.equal(whole[2].support_y, alone[0].support_y)
    assert not all(torch.equal(a.support_y, b.support_y) for a, b in zip(whole, unstack_tasks(tasks), strict=True))


def test_a_run_answers_about_other_pictures(tmp_path):
    config = config_of(tmp_path, "meta_learning.learner=anil", "meta_learning.gradient.network=wide")
    with Run.start(config) as run:
        experiment.train(config, run)
    assert {path.name for path in run.path.glob("*.png")} == {"adaptation.png", "episodes.png"}
    learner = load_few_shot_learner(run.path)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 40), dtype=np.uint8)
    found = learner.predict(pictures, ["a", "b", "c", "d"], pictures)
    assert set(found) <= {"a", "b", "c", "d"}


def test_training_episodes_may_have_more_classes_and_not_fewer(tmp_path):
    with pytest.raises(UserError, match="must not be above"):
        build(config_of(tmp_path, "meta_learning.pictures.train_way=4"))
    problem = build(config_of(tmp_path, NARROW, "meta_learning.pictures.train_way=7")).problem
    values = measure(problem.controls["unadapted"], problem, problem.test, 60).values
    interval = mean_interval(values, confidence=0.999)
    assert interval.low < 1 / 5 < interval.high  # of the five classes that there are, not of seven outputs


def test_centroids_by_hand():
    support, labels = torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([0, 0, 1])
    scores = centroid_scores(support, labels, torch.tensor([[1.0], [9.0]]))
    assert scores.tolist() == [[0.0, -81.0], [-64.0, -1.0]]


def test_the_wide_network_keeps_a_map():
    net = make_wide_net(5, 28, 1, (4, 4, 4, 8))
    assert net[-1].in_features == 8 * 3 * 3
    assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 5)
    with pytest.raises(UserError, match="too small"):
        make_wide_net(5, 4, 1, (4, 4, 4, 8))


def test_accuracy_counts_queries():
    task = unstack_tasks(shuffled_supports([_task()]))[0]
    assert float(accuracy(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), task)) == 0.5
    assert float(accuracy(torch.tensor([[0.0, 1.0, 9.0], [1.0, 0.0, 9.0]]), task)) == 0.5  # no class has output 2
    assert float(accuracy(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), task)) == 0.75  # a tie is right half of the time


def _task():
    from rl_suite.meta_learning import Task

    x = torch.zeros(2, 1)
    return Task(x, torch.tensor([0, 1]), x, torch.tensor([1, 1]))
