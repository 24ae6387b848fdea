"""``rl-suite`` finds every command, says how it was called, and completes words."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rl_suite.cli import command_line, module_command
from rl_suite.commands.completion import script
from rl_suite.commands.console import COMMANDS, main
from rl_suite.experiments import load_attribute


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/rl-suite", *words])
    return main()


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch) == 0
    output = capsys.readouterr().out
    assert all(f"  {name} " in output and command.about in output for name, command in COMMANDS.items())
    assert call(monkeypatch, "trian") == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_teaches_under_its_own_name(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(load_attribute(COMMANDS[name].main))
    with pytest.raises(SystemExit) as left:
        call(monkeypatch, name, "--help")
    assert left.value.code == 0
    output = capsys.readouterr().out
    assert output.startswith(f"usage: rl-suite {name}")
    assert "python train.py" not in output
    assert "python evaluate.py" not in output


def test_commands_to_paste_are_those_of_the_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert command_line("train.py", "a b") == "python train.py 'a b'"
    assert module_command("rl_suite.report") == "python -m rl_suite.report"
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/rl-suite", "train", "seed=3"])
    assert command_line("evaluate.py", "runs/x/0") == "rl-suite evaluate runs/x/0"
    assert command_line(*sys.argv) == "rl-suite train seed=3"
    assert module_command("rl_suite.report") == "rl-suite report"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rl-suite sw", ["sweep"]),
        ("rl-suite train experiment=darkroom_h", ["darkroom_hard_distillation"]),
        ("rl-suite train experiment=durotaxis,smo", ["durotaxis,smoke"]),
        ("rl-suite train executor=p", ["processes"]),
        ("rl-suite train see", ["seed=", "seeds="]),
        ("rl-suite train runs_dir=x", []),
    ],
)
def test_bash_completes(line: str, expected: list[str]) -> None:
    ask = 'COMP_LINE="$1" COMP_POINT=${#1}; _rl_suite; printf "%s\\n" "${COMPREPLY[@]}"'
    program = f"compopt() {{ :; }}\n{script()}\n{ask}"
    done = subprocess.run(["bash", "-c", program, "bash", line], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == expected
