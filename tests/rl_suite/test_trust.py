"""A run folder is data: what a stranger's names is not run, what one's own names is."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rl_suite import trust
from rl_suite.cli import DEFAULT_CONFIG
from rl_suite.errors import UserError
from rl_suite.evaluation.command import read_request
from rl_suite.evaluation.rollouts import make_batch
from rl_suite.experiments import load_experiment
from rl_suite.run import Run
from rl_suite.vec_env import make_vec_env


def a_run(folder: Path, *words: str) -> Path:
    with Run.start(load_experiment(DEFAULT_CONFIG, ["experiment=darkroom,smoke", f"runs_dir={folder}", *words])) as run:
        return run.path


def rewrite(run: Path, **sections: Any) -> None:
    """Change a configuration as its receiver's enemy would."""
    path = run / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        settings[name] |= values
    path.write_text(yaml.safe_dump(settings))


@pytest.fixture
def payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported and leaves a mark when it is."""
    (tmp_path / "bait.py").write_text("import os\nos.environ['BAIT'] = 'taken'\nclass X:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("BAIT", raising=False)
    return "bait"


FOREIGN: list[dict[str, dict[str, Any]]] = [
    {"env": {"id": "bait:X-v0"}},
    {"env": {"id": "CartPole-v1"}},
    {"env": {"kwargs": {"world": "bait:X"}}},
    {"env": {"test_kwargs": {"inner": "logging:basicConfig", "filename": "x"}}},
    {"policy": {"name": "bait:X"}},
    {"policy": {"name": "agents.../bait:X"}},
    {"policy": {"name": "agents.bait:X"}},
    {"policy": {"kwargs": {"activation_fn": "torch.distributed.run:main"}}},
    {"policy": {"kwargs": {"optimizer_kwargs": {"deep": ["numba.misc.numba_entry:main"]}}}},
    {"policy": {"kwargs": {"activation_fn": "torch.nn.functional:relu"}}},
    {"policy": {"kwargs": {"activation_fn": "torch.nn.modules.module:warnings"}}},
]


@pytest.mark.parametrize("change", FOREIGN, ids=str)
def test_a_strangers_folder_cannot_name_code(change: dict[str, Any], payload: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "runs")
    rewrite(run, **change)
    with pytest.raises(UserError, match="--trust-code") as refused:
        read_request(DEFAULT_CONFIG, [str(run)])
    assert "\n" not in str(refused.value)
    assert "BAIT" not in os.environ
    config, _ = read_request(DEFAULT_CONFIG, [str(run)], trust_code=True)
    assert config.kind == "sb3"


def test_a_module_that_the_folder_brings_into_our_package_is_foreign(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(trust, "HOME", tmp_path)
    brought = tmp_path / "agents" / "evil" / "0"
    brought.mkdir(parents=True)
    for folder in (brought, brought.parent):
        (folder / "__init__.py").write_text("raise SystemExit")
    with pytest.raises(UserError, match=r"would import the module agents\.evil"):
        trust.check_settings({"policy": {"name": "agents.evil:X"}}, brought)


@pytest.mark.parametrize(
    "value", ["torch.nn:Tanh", "torch.optim:Adam", "agents.extractors:Coordinates", "sb3_contrib.ppo_mask:MlpPolicy"]
)
def test_networks_of_the_allowed_packages_need_no_flag(value: str, tmp_path: Path) -> None:
    run = a_run(tmp_path)
    rewrite(run, policy={"kwargs": {"activation_fn": value}}, env={"id": "envs:rl_suite/DarkRoom-v0"})
    read_request(DEFAULT_CONFIG, [str(run)])


def test_ones_own_folder_may_name_ones_own_modules(payload: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "runs", "policy.name=bait:X")
    read_request(DEFAULT_CONFIG, [str(run)])
    moved = tmp_path / "elsewhere" / "0"
    shutil.copytree(run, moved)
    read_request(DEFAULT_CONFIG, [str(moved)])
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "\n")
    with pytest.raises(UserError, match="--trust-code"):
        read_request(DEFAULT_CONFIG, [str(run)])


def test_the_key_is_private_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first = trust.sign(b"a")
    assert first is not None
    assert trust.key_path().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in trust.key_path().parent.iterdir()] == ["key"]
    assert trust.sign(b"a") == first != trust.sign(b"b")
    assert trust.is_own(b"a", first)
    assert not trust.is_own(b"b", first)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user"))
    assert not trust.is_own(b"a", first)


def test_without_a_place_for_the_key_a_run_is_foreign_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    run = a_run(tmp_path / "runs", "policy.name=bait:X")
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(UserError, match="--trust-code"):
        read_request(DEFAULT_CONFIG, [str(run)])
    read_request(DEFAULT_CONFIG, [str(a_run(tmp_path / "plain"))])  # names nothing foreign


@pytest.mark.parametrize("make", [make_vec_env, make_batch])
@pytest.mark.parametrize("option", ["world", "inner", "wrappers", "vectorization_mode"])
def test_options_cannot_replace_what_an_id_registers(make: Any, option: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    with pytest.raises(UserError, match=f"{option!r} belongs to the id"):
        make("rl_suite/DarkRoomTrial-v0", 1, **{option: "logging:basicConfig", "filename": str(precious)})
    assert precious.read_text() == "x"
    assert "bait" not in sys.modules
