"""Continual learning as users know it from the documents, the example, and the numbers that the documents quote."""

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rl_suite.benchmarks import Options, continual
from rl_suite.benchmarks.__main__ import RESULTS
from rl_suite.examples import stop_forgetting

ROOT = Path(__file__).resolve().parents[4]


def test_continual_learning_as_documented():
    torch.manual_seed(0)
    loaders = [DataLoader(TensorDataset(torch.randn(40, 100), torch.randint(10, (40,))), 8) for _ in range(3)]
    tasks = [{"train": loader, "val": loader} for loader in loaders]
    test_data = dict(enumerate(loaders))
    num_epochs = 2

    from rl_suite.meta_learning import EWC, ContinualLearner

    model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 10))
    learner = ContinualLearner(model=model, strategy="ewc", buffer_size=1000)

    for task_id, task_data in enumerate(tasks):
        results = learner.train_task(task_data, task_id, num_epochs=num_epochs)
        assert results["task_id"] == task_id
        assert results["final_val_loss"] > 0

    all_results = learner.evaluate_all_tasks(test_data)
    assert {"task_0", "task_1", "task_2", "average_loss", "forgetting_measure"} <= set(all_results)
    assert EWC(model).penalty().item() == 0


def test_stop_forgetting(monkeypatch, capsys):
    monkeypatch.setattr(stop_forgetting, "EPOCHS", 4)
    stop_forgetting.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "accuracy" in line]
    left = {line.split()[0]: float(line.split("ten")[1].split("%")[0]) for line in lines}
    assert left["replay"] > 60
    assert left["naive"] < 30
    assert left["ewc"] < 40


def test_the_benchmark_still_works():
    result = continual.run(Options(quick=True))
    assert {row.name.split(":")[0] for row in result.rows} == {
        "digits, split_task",
        "digits, permuted",
        "rooms, worlds",
    }
    assert {trial["strategy"] for trial in result.trials} >= {"naive", "ewc", "joint"}


def test_the_documents_quote_the_stored_results():
    page = (ROOT / "docs" / "meta_learning.md").read_text(encoding="utf-8")
    trials = json.loads((RESULTS / "continual.json").read_text(encoding="utf-8"))["trials"]
    for sequence, following in pairwise(["permuted", "split_task", "split_domain", "split_class", "worlds", None]):
        for trial in trials:
            if trial["sequence"] == sequence:
                cells = (f"{trial[name]:.1f}" for name in ("average_accuracy", "learned", "backward_transfer"))
                assert f"| {sequence} | {trial['strategy']} | {' | '.join(cells)} |" in page, (sequence, following)
