"""The measured tables are as published: published fits come out of them; and the benchmark of them runs."""

import numpy as np
import pytest

from rl_suite.benchmarks import symbolic_real
from rl_suite.benchmarks.harness import Options
from rl_suite.benchmarks.symbolic import parse, run
from rl_suite.benchmarks.symbolic_real import left_out, line, real_tables, sparse_polynomial

CERTIFIED = {  # residual sum of squares: NIST's certified values, and those of the fits in R's documentation
    "misra1a": 1.2455138894e-1,
    "danwood": 4.3173084083e-3,
    "rat42": 8.0565229338,
    "rat43": 8.7864049080e3,
    "boxbod": 1.1680088766e3,
    "mgh09": 3.0750560385e-4,
    "thermistor": 8.7945855171e1,
    "thurber": 5.6427082397e3,
    "eckerle": 1.4635887487e-3,
    "roszman": 4.9484847331e-4,
    "ozone_monitor": 26.6173985294224,
    "load_cell": 0.155761768796992e-5,
    "puromycin": 1195.449,
    "oxygen_demand": 25.99,
    "orange_trees": 17480.23,
    "assay": 0.004789569,
    "stack_loss": 178.83,
    "hills": 6891.87,
    "isomerization": 3.2345,
    "cannon": 44.156,
}


@pytest.mark.parametrize("table", real_tables(), ids=lambda table: table.name)
def test_a_table_has_a_source_and_a_law_of_the_literature(table: symbolic_real.RealTable) -> None:
    data = table.data()
    assert 6 <= len(data.y) <= 40
    assert table.source
    _, error = table.literature()
    assert error < 0.7
    if table.name in CERTIFIED:
        assert error**2 * data.y.var() * len(data.y) == pytest.approx(CERTIFIED[table.name], rel=1e-4)


def test_rows_are_left_out_one_by_one() -> None:
    x = np.linspace(0.0, 4.0, 9)[:, None]
    y = 2 * x[:, 0] ** 2 + 1
    assert left_out(sparse_polynomial, x, y, 0).max() < 1e-20
    straight = left_out(line, x, y, 0)
    weights = np.polyfit(x[1:, 0], y[1:], 1)
    assert straight[0] == pytest.approx((np.polyval(weights, x[0, 0]) - y[0]) ** 2 / y.var())


def test_the_smallest_tables_are_chosen_by_their_rows_alone() -> None:
    sizes = [len(table.data().y) for table in symbolic_real.choose(False, 1, 20)]
    assert sizes == sorted(len(table.data().y) for table in real_tables())[:20]
    assert symbolic_real.choose(False, 2, None) == list(real_tables()[::2])
    with pytest.raises(SystemExit):
        parse(["--set", "nguyen", "--smallest", "3"])


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    result = run(Options(quick=True, extra=("--set", "real")))
    assert [trial["table"] for trial in result.trials] == ["danwood", "boxbod"]
    assert set(result.trials[0]["left_out"]) == {"ours", "line", "polynomial", "boosting"}
