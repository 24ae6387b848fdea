"""Two processes that share the batches of one take the same steps."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rl_suite.checkpoint import load_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.data_parallel import ALONE, Team, current, joined
from rl_suite.distillation import experiment as training
from rl_suite.distillation.worlds import TaskFamily
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
from rl_suite.meta_learning.data.sinusoid import SinusoidTasks
from rl_suite.meta_learning.experiment import build_session, team_of
from rl_suite.meta_learning.tasks import Task
from rl_suite.run import Run
from rl_suite.sweeps.executor import map_jobs

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6


def config_of(folder):
    words = [
        "experiment=darkroom_distillation,smoke",
        f"runs_dir={folder}",
        f"distillation.fit={{steps: {STEPS}, batch_size: 6, accumulate: 2, warmup: 2, checkpoint_every: 100}}",
        "distillation.fit.validate_every=100",
    ]
    return load_experiment(DEFAULT_CONFIG, words)


def learn(job):
    """Parameters after some updates, in double precision, by one of ``size`` processes."""
    folder, rank, size, port = job
    found = {"RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in found.items()})
    config = config_of(folder)
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    settings = config.distillation.fit
    histories = training.load_histories(Path(folder) / "histories")[0]
    torch.manual_seed(rank)  # the others take the weights of process 0
    model = training.build_model(config, family).double()
    windows, optimizer = training.make_windows(config, model, histories), training.make_optimizer(model, settings)
    with joined("cpu") as team:
        assert current() == team == Team(rank, size)
        if rank == 0:
            team.begin(model, 0)
        else:
            assert team.is_called()
            assert team.follow(model) == 0
        heard = []
        for step in range(STEPS):
            training.set_learning_rate(optimizer, step, settings)
            heard.append(training.update(model, optimizer, windows, step, settings, rank == 0 and step == 4)[2])
        assert heard == [False, False, False, False, True, False]
        assert rank == 0 or not team.is_called()
    assert current() == ALONE
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def histories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = config_of(folder)
    family = TaskFamily.named(config.distillation.world.id, config.distillation.world.options)
    with Run.start(config) as run:
        training.collect_histories(config, family, run)
    return run.path


def compare(function, what):
    """``function`` by one process and by two of them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (one,) = map_jobs(function, [(what, 0, 1, port)], "processes")
    first, second = map_jobs(function, [(what, 0, 2, port), (what, 1, 2, port)], "processes", workers=2)
    for name, value in one.items():
        assert abs(first[name] - value).max() < 1e-6, name
        assert (first[name] == second[name]).all(), name


def test_two_processes_give_the_parameters_of_one(histories):
    compare(learn, str(histories))


class DoubleTasks:
    """Sine curves in double precision."""

    def batch(self, start, size):
        return Task(*(part.double() for part in SinusoidTasks(10, 10, 0).batch(start, size)))


def meta_learn(job):
    """Parameters after some outer steps on the same tasks, in double precision, by one of ``size`` processes."""
    learners, rank, size, port = job
    found = {"RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in found.items()})
    with joined("cpu") as team:
        ends = {}
        for learner in learners:
            ends.update({f"{learner} {name}": value for name, value in outer_steps(learner, team).items()})
        assert rank == 0 or not team.is_called()
    return ends


def outer_steps(learner, team):
    loop = "meta_learning.loop={steps: 6, warmup: 2, tasks_per_step: 5, log_every: 2}"
    config = load_experiment(
        DEFAULT_CONFIG, ["experiment=sinusoid_maml,smoke", f"meta_learning.learner={learner}", loop]
    )
    torch.manual_seed(team.rank)  # the others take the weights of process 0
    session = build_session(config)
    session.learner.double()
    session.problem = replace(session.problem, train=DoubleTasks())
    begun = {name: value.numpy().copy() for name, value in session.learner.state_dict().items()}
    if team.rank == 0:
        with team_of(session, 0):
            for step in range(STEPS):
                team.call()
                values = session.step(step)
    else:
        assert team.is_called()
        assert team.follow(session.learner) == 0
        for step in range(STEPS):
            assert team.is_called()
            values = session.step(step)
        assert not team.is_called()
    weights = {name: value.numpy() for name, value in session.learner.state_dict().items()}
    assert team.rank > 0 or any((weights[name] != value).any() for name, value in begun.items())
    return {**weights, **{tag: np.array(value) for tag, value in values.items()}}


def test_two_processes_take_the_outer_steps_of_one():
    """Five tasks in a step: three of them for one process, two for the other, and every task counts alike."""
    compare(meta_learn, ["maml", "meta_sgd", "reptile"])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["experiment=omniglot_prototypical,smoke"], "problem 'few_shot'"),
        (["experiment=sinusoid_maml,smoke", "meta_learning.gradient.inequality=0.1"], "against each other"),
        (["experiment=sinusoid_maml,smoke", "meta_learning.loop.tasks_per_step=1"], "one task in a step"),
        (["experiment=meta_bandit,smoke"], "kind meta_rl"),
    ],
)
def test_what_one_process_must_train_refuses_torchrun(words, what, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=f"{what}.* is trained in one process"):
        run_job(load_experiment(DEFAULT_CONFIG, [*words, f"runs_dir={tmp_path}"]))
    assert not list(tmp_path.iterdir())


def test_shares_are_disjoint_and_whole():
    parts = [Team(rank, 3).rows(slice(4, 11)) for rank in range(3)]
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(4, 11))
    with pytest.raises(UserError, match="2 rows at a time are too few for 3"):
        Team(0, 3).rows(slice(0, 2))


def test_a_team_of_one_changes_nothing():
    layer = nn.Linear(2, 1)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad.clone()
    assert ALONE.add_up(layer.parameters(), [0.1]) == [0.1]
    assert torch.equal(layer.weight.grad, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["experiment=darkroom_distillation,smoke", "distillation.fit={batch_size: 8, warmup: 2}"], ["model"]),
        (["experiment=sinusoid_maml,smoke"], ["session", "learner"]),
    ],
)
def test_torchrun_trains_evaluates_and_resumes(words, weights, tmp_path):
    """The documented commands; their float32 parameters beside those of one process."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def call(start, folder):
        command = [*start, str(ROOT / "train.py"), *words, f"runs_dir={folder}"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("results: ") <= 1
        (run,) = folder.glob("*/0")
        found = load_checkpoint(Run.open(run).checkpoints.for_evaluation())
        for key in weights:
            found = found[key]
        return found

    one, two = call([sys.executable], tmp_path / "one"), call(torchrun, tmp_path / "two")
    worst = max((one[name] - two[name]).abs().max().item() for name in one)
    assert worst < 1e-6
    call(torchrun, tmp_path / "two")  # it is complete: both processes say so and leave


def test_a_kind_that_one_process_trains_refuses_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", f"runs_dir={tmp_path}"])
    with pytest.raises(UserError, match="is trained in one process"):
        run_job(config)
