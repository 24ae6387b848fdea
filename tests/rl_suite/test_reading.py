"""Files that a folder brings along: links lead nowhere, pipes do not hang, broken ones are one line."""

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rl_suite.checkpoint import FORMAT, load_checkpoint, save_checkpoint, write_atomically
from rl_suite.cli import DEFAULT_CONFIG, show
from rl_suite.errors import UserError
from rl_suite.experiments import load_experiment
from rl_suite.loading import parse_yaml
from rl_suite.reading import read_bytes
from rl_suite.report.page import write_report
from rl_suite.run import Run

WORDS = ["experiment=darkroom,smoke"]
SECRET = b"a secret of this machine"
SECRET_IN_A_PAGE = "YSBzZWNyZXQgb2YgdGhpcyBtYWNo"  # its base64


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run folder with one line of metrics."""
    (tmp_path / "secret").write_bytes(SECRET)
    with Run.start(load_experiment(DEFAULT_CONFIG, [*WORDS, f"runs_dir={tmp_path / 'runs'}"])) as run:
        run.log_line(1, {"train/loss": 1.0})
    return Run.open(run.path)


def test_pictures_are_plain_files(run: Run, tmp_path: Path) -> None:
    (run.path / "link.png").symlink_to(tmp_path / "secret")
    os.mkfifo(run.path / "pipe.png")
    (run.path / "folder.png").mkdir()
    page = write_report(run).read_text()
    assert SECRET_IN_A_PAGE not in page
    (run.path / "real.png").write_bytes(SECRET)
    assert SECRET_IN_A_PAGE in write_report(run).read_text()


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock", "run.json", "config.yaml", "evaluation.json"])
def test_no_file_of_a_run_is_read_or_written_through_a_link(run: Run, tmp_path: Path, name: str) -> None:
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(tmp_path / "secret")
    for act in (resume_and_log, lambda run: write_report(Run.open(run.path)), lambda run: run.finish("complete")):
        complaint(act, run)
    assert (tmp_path / "secret").read_bytes() == SECRET


def complaint(act: Callable[[Run], object], run: Run) -> str:
    """What the user is told, or nothing; any other error is a failure."""
    try:
        act(run)
    except UserError as error:
        return str(error)
    return ""


def resume_and_log(run: Run) -> None:
    with Run.start(load_experiment(DEFAULT_CONFIG, [*WORDS, f"runs_dir={run.path.parent.parent}"])) as resumed:
        resumed.log_line(2, {"train/loss": 1.0})


def test_folders_of_a_run_are_no_links(run: Run, tmp_path: Path) -> None:
    (run.path / "figs").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UserError, match="figs: is a link"):
        Run.open(run.path)
    with pytest.raises(UserError, match="figs: is a link"):
        resume_and_log(run)


def test_pipes_devices_and_links_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"12")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "link", Path("x\0"), Path("x" * 300)):
        with pytest.raises(UserError):
            read_bytes(path)
    with pytest.raises(UserError, match="larger than 1 bytes"):
        read_bytes(tmp_path / "file", 1)
    monkeypatch.setattr("rl_suite.memory.available_bytes", lambda: 1)
    with pytest.raises(UserError, match="needs 2e-09 GB of memory"):
        read_bytes(tmp_path / "file")


def test_temporary_names_cannot_be_guessed_and_links_are_replaced(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "report.html").symlink_to(tmp_path / "secret")
    write_atomically(tmp_path / "report.html", b"page")
    assert not (tmp_path / "report.html").is_symlink()
    monkeypatch.setattr("secrets.token_hex", lambda size: "0")
    (tmp_path / ".report.html.0").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / "report.html", b"page")
    assert (tmp_path / "secret").read_bytes() == SECRET


BROKEN = {
    "empty": b"",
    "not utf-8": b"\xff\n",
    "cut": b'{"step": ',
    "null": b"null",
    "list": b"[]",
    "text": b'"x"',
    "no keys": b"{}",
    "wrong types": b'{"step": "x", "status": [], "packages": 3, "title": {}, "agents": [1], "git_commit": {}}',
    "all keys, wrong": b'{"command": [], "packages": [], "git_commit": 3, "status": {}, "python": null}',
    "deep": b"[" * 50_000,
    "many digits": b'{"step": ' + b"1" * 9000 + b"}",
    "huge number": b'{"step": 1, "train/loss": 1' + b"0" * 400 + b"}",
    "nan": b'{"step": NaN, "status": NaN}',
}
READERS = {
    "settings": lambda run: run.settings_to_use(),
    "status": lambda run: run.status,
    "rewind": lambda run: run.rewind(10),
    "report": write_report,
    "resume": lambda run: resume_and_log(run),
    "checkpoint": lambda run: load_checkpoint(run.checkpoints.for_evaluation()),
}
FILES = (
    "config.yaml",
    "config.hmac",
    "run.json",
    "metrics.jsonl",
    "evaluation.json",
    "laws.json",
    "checkpoints/best.ckpt",
)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", BROKEN)
def test_every_reader_takes_a_broken_file_or_says_in_one_line_what_is_wrong(file: str, damage: str, run: Run) -> None:
    (run.path / "checkpoints").mkdir(exist_ok=True)
    (run.path / file).write_bytes(BROKEN[damage])
    for read in READERS.values():
        told = complaint(read, run)
        assert "\n" not in told
        assert len(told) < 1000


class Boom:
    """Leaves a mark if it is unpickled."""

    def __reduce__(self) -> Any:
        return os.putenv, ("BOOM", "1")


def dumped(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def deflated(payload: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(payload)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in old.namelist():
            packed.writestr(name, old.read(name))
    return buffer.getvalue()


PAYLOADS = {
    "pickle in torch.save": dumped({"a": Boom()}),
    "raw pickle": pickle.dumps(Boom()),
    "text": b"hello",
    "nothing": b"",
    "a list": dumped([1]),
    "a broken array": dumped({"a": {"__ndarray__": 3}}),
    "a broken number": dumped({"a": {"__int__": "x"}}),
    "packed": deflated(dumped({"a": torch.zeros(100_000)})),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_checkpoint_with_a_true_hash_and_false_content_is_refused(name: str, tmp_path: Path) -> None:
    payload, path = PAYLOADS[name], tmp_path / "x.ckpt"
    header = {"format": FORMAT, "sha256": hashlib.sha256(payload).hexdigest(), "size": len(payload)}
    path.write_bytes(json.dumps(header).encode() + b"\n" + payload)
    with pytest.raises(UserError, match="not a checkpoint of this suite"):
        load_checkpoint(path)


def test_a_tensor_cannot_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "x.ckpt", {"a": torch.zeros(1).expand(10**12)})
    with pytest.raises(UserError, match="not a checkpoint of this suite"):
        load_checkpoint(tmp_path / "x.ckpt")


LINES = ["!!int x", "!!float x", "!!timestamp 2001-99-99", "!!map x", "!x y", "9" * 5000, '"a\\0b"', '"\\e]0;x\\a"']


@pytest.mark.parametrize("text", [*LINES, "[" * 50_000, "&a [*a]", "? [1]\n: 2", "{a: 1, a: 2}"], ids=lambda x: x[:20])
def test_yaml_that_says_more_than_values_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match="not valid YAML") as refused:
        parse_yaml(text, text)
    assert len(str(refused.value)) < 1000


def test_aliases_are_counted_as_what_they_stand_for() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    with pytest.raises(UserError, match="aliases written out"):
        parse_yaml("\n".join(lines), "bomb")
    assert parse_yaml("{a: &a [1, 2], b: *a}", "small") == {"a": [1, 2], "b": [1, 2]}


def test_ordinary_configurations_pass() -> None:
    assert set(parse_yaml(DEFAULT_CONFIG.read_text(), "ours")) == {"defaults", "experiments"}
    settings = load_experiment(DEFAULT_CONFIG, WORDS).model_dump(mode="json")
    assert parse_yaml(yaml.safe_dump(settings), "dumped") == settings


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table(title="[/x] \x1b]0;title\x07")
    table.add_column("[red]a[/red]")
    table.add_row("[/b] :smile: \x1b[31m")
    show(table)
    show("results: a[/x]b [red] \x1b[2J")
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\x07" not in output
    for name in ("[/x]", "[red]a[/red]", "[/b] :smile:", "results: a[/x]b [red]"):
        assert name in output
