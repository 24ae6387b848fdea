"""A run folder: everything that one training run was and found, in ``<runs_dir>/<experiment>/<seed>/``.

::

    config.yaml      the resolved configuration          checkpoints/   last two and best
    run.json         command, versions, commit, status   metrics.jsonl  one JSON object per log call
    events.out.*     TensorBoard                         evaluation.json, report.html
"""

import fcntl
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import yaml
from torch.utils.tensorboard import SummaryWriter

from rl_suite.checkpoint import CheckpointFolder, write_atomically
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError

PACKAGES = ("gymnasium", "stable-baselines3", "sb3-contrib", "torch", "numpy", "numba", "torch-geometric")


class Run:
    """One run folder. Make it with :meth:`start` (to train) or :meth:`open` (to read)."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = CheckpointFolder(path / "checkpoints")
        self.stop_requested = False
        """Set by Ctrl-C or SIGTERM: save at the next safe point and return."""
        self._lock: TextIO | None = None
        self._metrics: TextIO | None = None
        self._purge_step: int | None = None

    @classmethod
    def start(cls, config: ExperimentConfig) -> "Run":
        """Create the folder of ``config``, or continue in it if it holds the same configuration.

        A folder in which nothing was found yet, such as that of a run that failed at once, starts afresh.

        Raises:
            UserError: the folder cannot be written, is in use, or holds another configuration.
        """
        run = cls(config.runs_dir / config.folder_name / str(config.seed))
        run._take_lock()
        settings = config.model_dump(mode="json", exclude={"runs_dir"})
        try:
            if run.config_path.exists() and not run._is_empty():
                run._require_same(settings)
            else:
                write_atomically(run.config_path, yaml.safe_dump(settings, sort_keys=False).encode())
                run._write_record("running")
        except UserError:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing run folder for reading."""
        run = cls(path)
        if not run.config_path.exists():
            raise UserError(f"{path}: not a run folder (it has no config.yaml); train first or check the path")
        return run

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    def settings(self) -> dict[str, Any]:
        """The resolved configuration as it was saved."""
        try:
            data = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            data = None
        if not isinstance(data, dict):
            raise UserError(f"{self.config_path}: cannot be read as the configuration of a run")
        return data

    @property
    def status(self) -> str:
        """ "running", "stopped" or "complete"; a killed run stays "running"."""
        try:
            return str(json.loads((self.path / "run.json").read_text(encoding="utf-8"))["status"])
        except (OSError, json.JSONDecodeError, KeyError):
            return "running"

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def finish(self, status: str) -> None:
        """Record that the run is "complete" or "stopped", and close its files."""
        self._write_record(status)
        self.close()

    def close(self) -> None:
        """Close the files and release the folder."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if "writer" in self.__dict__:
            self.writer.close()
            del self.__dict__["writer"]
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @cached_property
    def writer(self) -> SummaryWriter:
        """TensorBoard, in the run folder itself."""
        return SummaryWriter(str(self.path), purge_step=self._purge_step)  # type: ignore[no-untyped-call]

    def rewind(self, step: int) -> None:
        """Forget everything logged after ``step``; call it before logging goes on from a checkpoint."""
        self._purge_step = step + 1
        path = self.path / "metrics.jsonl"
        if path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
            write_atomically(path, "".join(line + "\n" for line in kept).encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars to TensorBoard and as one line to ``metrics.jsonl``."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
        self.log_line(step, values)

    def log_line(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars as one line to ``metrics.jsonl`` only."""
        if self._metrics is None:
            self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")
        line = {"step": step, **{name: float(value) for name, value in values.items()}}
        self._metrics.write(json.dumps(line) + "\n")
        self._metrics.flush()

    @contextmanager
    def stop_on_signals(self) -> Iterator[None]:
        """Let the first Ctrl-C or SIGTERM set ``stop_requested``; the second ends the process at once."""

        def handler(number: int, frame: FrameType | None) -> None:
            if self.stop_requested:
                os._exit(128 + number)
            self.stop_requested = True
            sys.stderr.write("stopping at the next safe point; a second signal stops at once\n")

        previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in previous.items():
                signal.signal(number, old)

    def _take_lock(self) -> None:
        """Make the folder and hold it; the lock goes with the process, however it ends."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}; choose runs_dir=...") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UserError(f"{self.path}: another process is writing to this run folder") from None
        self._lock = lock

    def _is_empty(self) -> bool:
        metrics = self.path / "metrics.jsonl"
        logged = metrics.exists() and metrics.stat().st_size > 0
        return not logged and not any((self.path / "checkpoints").glob("*"))

    def _require_same(self, settings: Mapping[str, Any]) -> None:
        old, new = ({**part, "about": ""} for part in (self.settings(), settings))
        difference = _first_difference(old, new)
        if difference:
            raise UserError(
                f"{self.path}: holds a run with another configuration ({difference}); "
                "choose another seed=... or runs_dir=..., or delete the folder"
            )

    def _write_record(self, status: str) -> None:
        record = {
            "status": status,
            "command": shlex.join([Path(sys.executable).name, *sys.argv]),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
            "git_commit": _git_commit(),
        }
        write_atomically(self.path / "run.json", json.dumps(record, indent=2).encode())


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str | None:
    """ "key: old -> new" of the first key in which two configurations differ."""
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = _first_difference(a, b, f"{prefix}{key}.")
            if inner:
                return inner
        elif a != b:
            return f"{prefix}{key}: {a!r} there, {b!r} now"
    return None


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return sys.maxsize  # a line that was cut off by a kill


def _git_commit() -> str | None:
    """The commit of the code, with "+" where files differ from it; None outside a checkout."""
    home = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=home, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return f"{commit}+" if commit and git("status", "--porcelain", "-uno") else commit
