"""Code as users know it from the documents of the framework runs with our import paths, and every name is there."""

import subprocess
import sys

import torch
from torch import nn

import rl_suite.meta_learning as meta_learning
from rl_suite.examples import adapt_in_five_steps


def generate_task():
    weight = torch.randn(10, 1)
    x = torch.randn(25, 10)
    return x[:10], x[:10] @ weight, x[10:], x[10:] @ weight


def test_maml_as_documented():
    torch.manual_seed(0)
    from rl_suite.meta_learning import MAMLFirstOrder, create_meta_batch

    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    maml = MAMLFirstOrder(model=model, lr_inner=0.01, lr_meta=0.001, num_inner_steps=5)

    tasks = [generate_task() for _ in range(4)]
    meta_batch = create_meta_batch(tasks, batch_size=4)
    metrics = maml.meta_train_step(meta_batch)

    support_x, support_y, query_x, query_y = generate_task()
    adapted_weights = maml.adapt_to_task(support_x, support_y)
    predictions = maml._forward_with_weights(query_x, adapted_weights)

    assert predictions.shape == query_y.shape
    assert set(metrics) == {"meta_loss", "avg_task_loss", "gradient_norm"}
    assert not torch.equal(predictions, model(query_x))


def test_every_public_name_is_there():
    for name in meta_learning.__all__:
        assert getattr(meta_learning, name) is not None


def test_importing_the_package_imports_nothing_else():
    script = (
        "import sys, torch; before = set(sys.modules); import rl_suite.meta_learning;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['rl_suite', 'rl_suite.meta_learning']"


def test_adapt_in_five_steps(monkeypatch, capsys):
    monkeypatch.setattr(adapt_in_five_steps, "STEPS", 120)
    adapt_in_five_steps.main()
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line for line in shown.splitlines() if line.startswith(("trained", "untrained"))}
    after_five = {name: float(line.split("5 steps")[1].split()[0]) for name, line in rows.items()}
    assert after_five["trained"] < after_five["untrained"]


def test_few_shot_learning_as_documented():
    torch.manual_seed(0)
    from rl_suite.meta_learning import FewShotLearner, PrototypicalNetwork

    encoder = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 5 * 5, 128)),
    )
    learner = FewShotLearner(algorithm="prototypical", encoder=encoder)

    kinds = torch.rand(3, 1, 28, 28)
    support_x, support_y = kinds + 0.05 * torch.rand(3, 1, 28, 28), torch.arange(3)
    query_x, query_y = kinds.repeat(2, 1, 1, 1) + 0.05 * torch.rand(6, 1, 28, 28), torch.arange(3).repeat(2)
    metrics = learner.train_episode(support_x, support_y, query_x, query_y)
    predictions = learner.predict(support_x, support_y, query_x)

    assert set(metrics) == {"loss", "accuracy"}
    assert torch.equal(predictions, query_y)
    assert isinstance(PrototypicalNetwork(encoder), FewShotLearner)


def test_a_learner_of_ones_own_as_documented():
    from rl_suite.meta_learning import BaseMetaLearner

    class CustomMetaLearner(BaseMetaLearner):
        def __init__(self, model, **kwargs):
            super().__init__(model, **kwargs)

        def meta_train_step(self, tasks):
            return {"loss": 0.0}

        def adapt_to_task(self, support_data):
            return support_data

    model = nn.Linear(1, 1)
    learner = CustomMetaLearner(model, rate=0.1)
    assert learner.model is model
    assert learner.settings == {"rate": 0.1}
    assert len(list(learner.parameters())) == 2
