"""How far it is: a line now and then with what is left, nothing for who asked for quiet."""

import io
import logging

import pytest
from rich.console import Console

from rl_suite import progress, waiting
from rl_suite.cli import choose_loudness, make_parser


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    monkeypatch.setattr(progress, "_quiet", False)
    return Console(file=io.StringIO(), force_terminal=False, width=100)


def test_a_plain_line_says_how_much_is_left(plain, monkeypatch):
    clock = iter([0.0, 0.0, 30.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.ProgressBar("steps", 400, plain) as bar:
        bar.update(100, loss=0.5)
        bar.update(400)
    assert plain.file.getvalue() == "steps 100/400  30 s  90 s left  loss 0.5\nsteps 400/400  40 s\n"


def test_q_silences_progress_and_waits(plain):
    choose_loudness(make_parser("", "train").parse_args(["-q"]))
    with progress.ProgressBar("steps", 4, plain) as bar:
        bar.update(1)
    wait = waiting.Wait("thinking", plain)
    wait.show()
    assert plain.file.getvalue() == ""


def test_v_says_more_often_and_what_is_logged(plain):
    loggers = [logging.getLogger(package) for package in ("envs", "agents", "rl_suite")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    try:
        choose_loudness(make_parser("", "train").parse_args(["-v", "experiment=darkroom"]))
        assert progress.SECONDS_BETWEEN_LINES == progress.SECONDS_IF_VERBOSE
        assert all(logger.isEnabledFor(logging.INFO) and logger.handlers for logger in loggers)
    finally:
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.handlers[:] = handlers


def test_quiet_and_verbose_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        make_parser("", "train").parse_args(["-q", "-v"])
    assert "not allowed" in capsys.readouterr().err


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True)
    console.print("[red]result[/red]")
    assert "\x1b[31m" not in console.file.getvalue()
