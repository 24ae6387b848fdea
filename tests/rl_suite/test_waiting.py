"""Nobody waits without a word: a line or a spinner after a moment, the reason where kernels are compiled."""

import io
import sys

import pytest
from rich.console import Console

from envs import kernel_cache
from rl_suite import waiting as module
from rl_suite.rehearsal import _silence
from rl_suite.waiting import COMPILING, Wait, notice_compilation, waiting


@pytest.fixture
def plain():
    return Console(file=io.StringIO(), force_terminal=False)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


@pytest.fixture
def at_once(monkeypatch):
    """Timers that have run out when they start."""

    class Now:
        def __init__(self, seconds, call):
            self.call = call

        def start(self):
            self.call()

        def cancel(self):
            pass

    monkeypatch.setattr(module.threading, "Timer", Now)


def test_what_is_quick_says_nothing(plain):
    with waiting("thinking", plain):
        pass
    assert plain.file.getvalue() == ""


def test_a_pipe_gets_one_line(plain, at_once):
    with waiting("thinking", plain), waiting("inside", plain):
        module._open[0].show()
    assert plain.file.getvalue() == "thinking ...\n"


def test_a_terminal_gets_a_spinner_that_is_taken_away(terminal, at_once):
    with waiting("thinking", terminal):
        pass
    text = terminal.file.getvalue()
    assert "thinking" in text
    assert text.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))  # line cleared, cursor shown


def test_the_streams_are_what_they_were(terminal, at_once, monkeypatch):
    """Also where the work redirects them while the spinner comes up."""
    before = sys.stdout, sys.stderr
    with waiting("thinking", terminal), _silence():
        print("nobody reads this")
    assert (sys.stdout, sys.stderr) == before


def test_an_error_ends_the_wait(plain):
    with pytest.raises(KeyError), waiting("thinking", plain):
        raise KeyError
    assert module._open == []


def test_compilation_is_said_once_and_by_the_wait_that_is_open(plain, monkeypatch, capsys):
    monkeypatch.setattr(kernel_cache, "listeners", [])
    notice_compilation()
    notice_compilation()
    with waiting("trying", plain):
        for tell in tuple(kernel_cache.listeners):
            tell("envs.bandit.step")
    assert plain.file.getvalue() == f"{COMPILING} ...\n"
    assert kernel_cache.listeners == []
    notice_compilation()
    kernel_cache.listeners[0]("envs.bandit.step")
    assert capsys.readouterr().err == f"{COMPILING} ...\n"


def test_a_kernel_that_is_not_on_disk_tells_the_listeners(tmp_path, monkeypatch):
    heard = []
    monkeypatch.setattr(kernel_cache, "listeners", [heard.append])
    source = tmp_path / "one.py"
    source.write_text(
        "from envs.kernel_cache import kernel\n\n\n@kernel(allocates=False)\ndef one(x):\n    return x + 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import one  # type: ignore[import-not-found]

    assert one.one(1) == 2
    assert one.one(2) == 3
    assert len(heard) == 1
    assert "one" in heard[0]


def test_a_wait_that_is_over_shows_nothing(plain):
    wait = Wait("thinking", plain)
    wait.start()
    wait.stop()
    wait.show()
    assert plain.file.getvalue() == ""
