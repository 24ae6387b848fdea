import json
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from rl_suite.benchmarks import BENCHMARKS, BenchmarkResult, Options, Row, interleave, load
from rl_suite.benchmarks.__main__ import main
from rl_suite.errors import UserError


@pytest.fixture
def toy(monkeypatch):
    """A registered benchmark whose row misses its promise; ``toy.seen`` records the options."""
    seen = []
    rows = (Row("speed", 30.0, 20.0, "steps/s", "a loop", target=2.0), Row("memory", 5.0, None, "MB"))

    def run(options):
        seen.append(options)
        return BenchmarkResult(rows, ("tiny",))

    module = SimpleNamespace(SUMMARY="ours against a loop", run=run, seen=seen)
    monkeypatch.setitem(sys.modules, "toy_benchmark", module)
    monkeypatch.setitem(BENCHMARKS, "toy", "toy_benchmark")
    return module


def test_a_ratio_above_one_means_that_ours_is_better_in_either_direction():
    assert Row("rate", 30.0, 20.0, "1/s").ratio == 1.5
    assert Row("time", 2.0, 3.0, "s", higher_is_better=False).ratio == 1.5
    assert Row("size", 2.0, None, "MB").ratio is None
    assert Row("time", 0.0, 3.0, "s", higher_is_better=False).ratio == float("inf")


def test_contenders_take_turns_and_warm_up_is_not_timed():
    calls = []
    timings = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert set(timings) == {"a", "b"}


def test_the_best_turn_counts(monkeypatch):
    walls = iter([0.0, 5.0, 5.0, 7.0, 7.0, 10.0])  # turns of 5, 2 and 3 seconds; the first is the warm-up
    cpus = iter([0.0, 1.0, 1.0, 5.0, 5.0, 6.5])  # 1, 4 and 1.5 seconds
    monkeypatch.setattr("rl_suite.benchmarks.timing.time.perf_counter", lambda: next(walls))
    monkeypatch.setattr("rl_suite.benchmarks.timing.time.process_time", lambda: next(cpus))
    timing = interleave({"a": lambda: None}, repeats=2)["a"]
    assert (timing.wall, timing.cpu) == (2.0, 1.5)
    assert timing.rate(3) == 2.0


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        interleave({"a": lambda: None}, repeats=0)


def test_without_names_the_benchmarks_are_listed(toy, capsys):
    assert main([]) == 0
    assert "ours against a loop" in capsys.readouterr().out
    assert toy.seen == []


def test_a_run_prints_its_ratio_and_stores_where_it_was_measured(toy, tmp_path, capsys):
    assert main(["toy", "--repeats", "3", "--seed", "7", "--results", str(tmp_path)]) == 1  # the promise is missed
    assert toy.seen == [Options(quick=False, repeats=3, seed=7)]
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert stored["rows"][0]["ratio"] == 1.5
    assert stored["rows"][1]["peer"] is None
    assert {"cpu", "cpu_count"} <= set(stored["machine"])
    assert "torch" in stored["versions"]
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]
    assert "1.5x" in capsys.readouterr().out


def test_what_is_not_finite_is_stored_as_null(tmp_path):
    never = BenchmarkResult(
        (Row("time to the goal", float("inf"), 2.0, "s"),), trials=({"error": float("nan"), "seed": 1},)
    )
    never.save(tmp_path / "never.json")
    stored = json.loads((tmp_path / "never.json").read_text(), parse_constant=pytest.fail)
    assert stored["rows"][0]["ours"] is None
    assert stored["trials"] == [{"error": None, "seed": 1}]


def test_a_quick_run_stores_nothing(toy, tmp_path):
    assert main(["toy", "--quick", "--results", str(tmp_path)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_one_line_and_exit_code_2(toy, capsys):
    assert main(["nonsense"]) == 2
    error = capsys.readouterr().err
    assert "no benchmark is called 'nonsense'" in error
    assert "Traceback" not in error


def test_a_module_without_summary_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mute_benchmark", SimpleNamespace(run=print))
    with pytest.raises(AttributeError, match="must define SUMMARY"):
        load("mute", {"mute": "mute_benchmark"})
    with pytest.raises(UserError, match="there are: none"):
        load("mute", {})


def test_the_table_names_a_missed_promise():
    console = Console(width=160, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(BenchmarkResult((Row("speed", 3000.0, 2.0, "1/s", target=2000.0),)).table("t"))
    assert "3,000" in capture.get()
    assert "MISSED" in capture.get()


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_registered_benchmark_has_its_two_names(name):
    module = load(name, BENCHMARKS)
    assert isinstance(module.SUMMARY, str)
    assert callable(module.run)
