"""Runs in a process of their own that die, are stopped, stand still or meet a full disk, and how runs are compared.

A child is forked, so that it need not import or compile anything again. The rehearsal before a run and the curves of
its report, which are most of the cost of a small run and hold nothing that it goes on from, are left out. Moments are
counted in calls to the disk (``os.write``, ``os.fsync``, renames), so that the same number always strikes at the same
place, or lie after some seconds.
"""

import errno
import json
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from rl_suite import rehearsal
from rl_suite.checkpoint import load_checkpoint
from rl_suite.cli import run_command
from rl_suite.report import page

Kind = Literal["kill", "term", "pause", "full", "late kill"]
LONGEST = 600.0  # seconds that a child may take, on a machine that may be busy
PAUSE = float(os.environ.get("DRILL_PAUSE", "0.5"))  # seconds that a paused child (SIGSTOP) stands still
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "pause": signal.SIGSTOP}


class Fault(NamedTuple):
    """What happens, and when: at the n-th call to the disk, or (a late kill) after so many seconds."""

    kind: Kind
    moment: float


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    """Exit code; minus the number of the signal that killed it."""
    said: str
    """On standard output and standard error."""
    struck: bool
    """Whether the fault came before the end."""


def run_training(words: list[str], scratch: Path, fault: Fault | None = None) -> Ended:
    """``python train.py WORDS`` in a forked child that ``fault`` strikes."""
    output, struck = scratch / "output.txt", scratch / "struck"
    struck.unlink(missing_ok=True)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _train(words, output, fault, struck)
    deadline = began + (fault.moment if fault is not None and fault.kind == "late kill" else LONGEST)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if ended and os.WIFSTOPPED(status):
            time.sleep(PAUSE)
            os.kill(child, signal.SIGCONT)
        elif ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline += LONGEST
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, output.read_text(), struck.exists() or (fault is not None and code == -signal.SIGKILL))


def run_undisturbed(words: list[str]) -> int:
    """The same in this process, which then has all modules and kernels; returns the calls to the disk."""
    plain, arguments = (os.write, os.fsync, Path.replace), sys.argv
    left_out = page.draw_metrics, rehearsal.rehearse
    try:
        page.draw_metrics, rehearsal.rehearse = no_curves, no_rehearsal
        sys.argv = ["train.py", *words]
        calls = _strike(None, Path())
        run_command(train.main)
        return calls()
    finally:
        os.write, os.fsync, Path.replace = plain  # type: ignore[method-assign]
        page.draw_metrics, rehearsal.rehearse = left_out
        sys.argv = arguments


def no_curves(curves: object) -> dict[str, str]:
    """In place of the pictures of a report."""
    return {}


def no_rehearsal(train: object, config: object) -> None:
    """In place of trying everything once."""


def _train(words: list[str], output: Path, fault: Fault | None, struck: Path) -> None:
    """The child: it never returns."""
    code = 70
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w", buffering=1) for number in (1, 2))
        sys.argv = ["train.py", *words]
        page.draw_metrics, rehearsal.rehearse = no_curves, no_rehearsal
        _strike(fault, struck)
        try:
            run_command(train.main)
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else 1
    finally:
        os._exit(code)


def _strike(fault: Fault | None, struck: Path) -> Callable[[], int]:
    """Count calls to the disk and let ``fault`` happen, which the file ``struck`` then says; returns the counter."""
    count = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if fault is not None and fault.kind != "late kill" and count == fault.moment:
                struck.touch()
            if fault is not None and fault.kind == "full" and count >= fault.moment:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if fault is not None and fault.kind in SIGNALS and count == fault.moment:
                os.kill(os.getpid(), SIGNALS[fault.kind])
            return call(*arguments, **options)

        return counting

    os.write, os.fsync = wrapped(os.write), wrapped(os.fsync)
    Path.replace = wrapped(Path.replace)  # type: ignore[method-assign]
    return lambda: count


def assert_same_bits(a: Any, b: Any, path: str = "") -> None:
    """Equal types, shapes and bits, clocks aside."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            if not _is_clock(key):
                assert_same_bits(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same_bits(x, y, f"{path}[{index}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif hasattr(a, "tobytes"):
        assert a.tobytes() == b.tobytes(), path
    else:
        assert a == b or (a != a and b != b), path  # NaN is NaN


def _is_clock(key: Any) -> bool:
    return key == "t" or (isinstance(key, str) and (key.startswith("time/") or key.endswith("seconds")))


def assert_same_run(whole: Path, resumed: Path) -> None:
    """Everything that two complete runs found is the same, and nothing half-written is left."""
    assert json.loads((resumed / "run.json").read_text())["status"] == "complete"
    names = files(whole)
    assert names == files(resumed)
    for name in names:
        a, b = whole / name, resumed / name
        if name.endswith(".ckpt"):
            assert_same_bits(load_checkpoint(a), load_checkpoint(b), name)
        elif name in ("evaluation.json", "laws.json"):
            assert_same_bits(json.loads(a.read_text()), json.loads(b.read_text()), name)
        elif name == "metrics.jsonl":
            lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in (a, b)]
            assert_same_bits(*lines, name)
        elif name == "model.zip":
            with zipfile.ZipFile(a) as one, zipfile.ZipFile(b) as other:
                assert one.read("policy.pth") == other.read("policy.pth")
        elif name.endswith((".npz", ".png")):
            assert a.read_bytes() == b.read_bytes(), name
    assert_same_bits(scalars(whole), scalars(resumed), "TensorBoard")


def files(run: Path) -> list[str]:
    """Names of all files, hidden ones too, besides TensorBoard's."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if "events" not in path.name)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every event of every tag, in TensorBoard's eyes."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
