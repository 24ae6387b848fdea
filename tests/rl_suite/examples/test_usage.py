"""Every example says what it does when it is asked, and does nothing else then."""

import runpy
import sys
from pathlib import Path

import pytest

from rl_suite.errors import UserError
from rl_suite.examples import usage

EXAMPLES = sorted(
    path.stem for path in Path(usage.__file__).parent.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("-h", 0), ("--folder", 2)])
def test_help_is_a_text_and_words_with_a_dash_are_no_folders(name, word, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, word])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"rl_suite.examples.{name}", run_name="__main__")
    assert stopped.value.code == code
    shown = capsys.readouterr()
    assert "usage:" in (shown.err if code else shown.out)
    if code == 0:
        assert f"python -m rl_suite.examples.{name}" in shown.out
    assert not list(tmp_path.iterdir())


def test_mistakes_are_one_line(monkeypatch, capsys):
    def main(folder):
        raise UserError(f"{folder}: no pictures")

    monkeypatch.setattr(sys, "argv", ["example", "there"])
    with pytest.raises(SystemExit) as stopped:
        usage.run(main, "What it does.", folder="here")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: there: no pictures\n"


def test_the_default_folder_is_handed_over(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["example"])
    given = []
    usage.run(given.append, None, folder="here")
    usage.run(lambda: given.append("nothing"), None)
    assert given == [Path("here"), "nothing"]
