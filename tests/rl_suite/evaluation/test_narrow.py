"""Tables of results fit 80 characters: no interval is broken, no number cut."""

import io

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from rl_suite.distillation.scorecard import TrialReport
from rl_suite.evaluation.report import EvaluationResult, Report
from rl_suite.law_prior.experiment import PriorReport
from rl_suite.meta_learning.continual.lessons.report import ContinualReport, Result
from rl_suite.meta_rl.comparison import Outcome


def trials() -> list[Table | str]:
    rng = np.random.default_rng(0)

    def played(scale: float) -> EvaluationResult:
        curve = scale * rng.uniform(0.9, 1, (8, 16, 50))
        steps, success, regret = np.full((8, 16), 1000), np.ones((8, 16)), {"regret": -1234.5 * curve[..., 0]}
        return EvaluationResult(np.arange(8), curve.sum(2), steps, success, regret, curve)

    scales = {"random": 1.2345, "in-context": 12.345, "source (explorer)": 17, "oracle": 17.2}
    results = {agent: played(scale) for agent, scale in scales.items()}
    settings = {"confidence": 0.95, "resamples": 9, "seed": 0, "n_tasks": 8, "episodes_per_task": 16}
    return list(TrialReport(Report("rl_suite/DarkKeyToDoorTrial-v0", settings, results)).tables())


def lessons() -> list[Table | str]:
    matrices = np.random.default_rng(0).random((3, 5, 5))
    result = Result(matrices, np.full((3, 5), 0.1))
    strategies = {"progressive": result, "ewc": result}
    return list(ContinualReport("digits", "accuracy", {}, {"task": strategies}, {"task": ""}).tables())


def laws() -> list[Table | str]:
    outcomes = tuple(
        Outcome(row, seed, "held_out", f"law {law}", f"family {law}", law == 0, 10_000, solved_at=law and 40**law)
        for row in ("sees the task, adapted by 5 steps", "genetic search")
        for seed in range(3)
        for law in range(3)
    )
    looked = {"sqrt": {"uses": 123, "table": 0.4211, "column_below": 0.1234, "column_elsewhere": 0.01234}}
    return list(PriorReport(outcomes, 10_000, looked).tables())


@pytest.mark.parametrize("tables", [trials, lessons, laws])
def test_no_number_is_broken_at_80_characters(tables) -> None:
    for table in tables():
        cells = [cell for column in table.columns[1:] for cell in column.cells]
        console = Console(width=80, file=io.StringIO(), record=True)
        console.print(table)
        text = console.export_text()
        assert max(map(len, text.splitlines())) <= 80
        for line in (line for cell in cells for line in str(cell).splitlines()):
            assert line in text
        for column in table.columns:
            assert any(str(column.header) in line for line in text.splitlines())
