"""Groups of islands: the laws depend on the seed, not on who computes them, and nothing that is found is lost."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from rl_suite.checkpoint import load_checkpoint
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.job import run_job
from rl_suite.run import Run
from rl_suite.symbolic import groups as module
from rl_suite.symbolic.config import SymbolicConfig
from rl_suite.symbolic.experiment import build_search, options_of, table_of
from rl_suite.symbolic.groups import explore, groups_of, join


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 3, (40, 2))
    y = np.sin(x[:, 0] * x[:, 1]) / (x[:, 0] + np.exp(x[:, 1])) + rng.normal(0, 1e-3, 40)
    np.savetxt(tmp_path / "table.csv", np.column_stack([x, y]), delimiter=",", header="a,b,y", comments="")
    return tmp_path / "table.csv"


def config_of(table: Path, *words: str) -> SymbolicConfig:
    own = [f"data={table}", "target=y", f"runs_dir={table.parent / 'runs'}", "search.polynomials=false"]
    sizes = ["search.budget=2001", "search.inner_constants=false", "search.prior=null", "search.population=50"]
    config = load_experiment(DEFAULT_CONFIG, ["experiment=symbolic_search,smoke", *own, *sizes, *words])
    assert isinstance(config, SymbolicConfig)
    return config


def test_every_executor_finds_the_same_laws(table: Path) -> None:
    laws = []
    for name, words in {
        "serial": ["search.executor=serial"],
        "processes": ["search.executor=processes", "search.workers=2"],
    }.items():
        config = config_of(table, f"name={name}", "search.groups=2", *words)
        assert run_job(config)
        laws.append((Run.place(config) / "laws.json").read_bytes())
    assert laws[0] == laws[1]


@pytest.mark.slow
def test_ray_finds_the_same_laws_too(table: Path) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    laws = []
    for name in ("serial", "ray"):
        config = config_of(table, f"name={name}", "search.groups=2", f"search.executor={name}")
        assert run_job(config)
        laws.append((Run.place(config) / "laws.json").read_bytes())
    assert laws[0] == laws[1]


def test_groups_share_the_budget_and_the_best_one_has_the_laws_of_all(table: Path) -> None:
    config = config_of(table, "search.groups=3")
    data = table_of(config).data
    groups = groups_of(config, data, options_of(config))
    assert [group.budget for group in groups] == [667, 667, 667]
    assert len({group.seed for group in groups}) == 3
    assert groups[0].seed == config.seed
    searches = [build_search(config, data) for _ in groups]
    states = {group.number: explore(group) for group in groups}
    for search, state in zip(searches, states.values(), strict=True):
        search.restore(state)
    prices = [search.archive.best.bits for search in searches]
    assert len(set(prices)) > 1
    joined = build_search(config, data)
    join(joined, states)
    assert joined.evaluations == sum(state["evaluations"] for state in states.values())
    assert joined.done
    assert joined.archive.best.bits <= min(prices)


def test_a_stopped_run_keeps_the_groups_that_have_ended(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = config_of(table, "name=whole", "search.groups=3")
    assert run_job(whole)
    config = config_of(table, "name=stopped", "search.groups=3")
    begun = []

    def stopping(group: module.Group) -> module.State:
        begun.append(group.number)
        if len(begun) == 2:  # the first of three has ended
            os.kill(os.getpid(), signal.SIGTERM)
        return explore(group)

    with monkeypatch.context() as patch:
        patch.setattr(module, "explore", stopping)
        assert not run_job(config)
    saved = Run.open(Run.place(config)).checkpoints.read_latest()
    assert saved is not None
    kept = set(saved.content["groups"])
    assert "0" in kept
    assert len(kept) < 3
    assert run_job(config)
    assert (Run.place(config) / "laws.json").read_bytes() == (Run.place(whole) / "laws.json").read_bytes()
    assert "groups" not in load_checkpoint(Run.open(Run.place(config)).checkpoints.steps()[-1])


def test_an_executor_without_groups_is_refused(table: Path) -> None:
    for words in (["search.executor=processes"], ["search.workers=2"]):
        with pytest.raises(UserError, match="raise groups"):
            config_of(table, *words)
    with pytest.raises(UserError, match="cannot have 2 workers"):
        run_job(config_of(table, "search.groups=2", "search.workers=2"))
