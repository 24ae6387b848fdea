"""A run folder: everything that one training run was and found, in ``<runs_dir>/<experiment>/<seed>/``.

::

    config.yaml      the resolved configuration          checkpoints/   last two and best
    config.hmac      who wrote it (rl_suite.trust)
    run.json         command, versions, commit, status   metrics.jsonl  one JSON object per log call
    events.out.*     TensorBoard                         evaluation.json, report.html
"""

import fcntl
import json
import os
import platform
import re
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

from rl_suite import trust
from rl_suite.checkpoint import CheckpointFolder, write_atomically
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, MAX_BYTES, parse_yaml
from rl_suite.reading import (
    is_plain_file,
    open_to_append,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    refuse_linked_folders,
)

PACKAGES = ("gymnasium", "stable-baselines3", "sb3-contrib", "torch", "numpy", "numba", "torch-geometric")

LONGEST_NAME = 80  # characters; file systems allow 255 bytes


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
        run = cls(config.runs_dir / _plain(config.folder_name) / str(config.seed))
        run._take_lock()
        settings = config.model_dump(mode="json", exclude={"runs_dir"})
        try:
            if run.config_path.exists() and not run._is_empty():
                run._require_same(settings)
            else:
                run._write_config(yaml.safe_dump(settings, sort_keys=False).encode())
                run._write_record("running")
        except UserError:
            run.close()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing run folder for reading."""
        run = cls(path)
        if not is_plain_file(run.config_path):
            raise UserError(f"{path}: not a run folder (it has no config.yaml); train first or check the path")
        refuse_linked_folders(path)
        return run

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    def settings(self) -> dict[str, Any]:
        """The resolved configuration as it was saved, to be shown or compared: it may be a stranger's."""
        return self._parsed(self._config_text())

    def settings_to_use(self, trust_code: bool = False) -> dict[str, Any]:
        """The resolved configuration, checked so that what it names may be imported (see ``rl_suite.trust``).

        Raises:
            UserError: it names code from elsewhere, another user wrote it, and ``trust_code`` is false.
        """
        text = self._config_text()
        data = self._parsed(text)
        mark = self.path / trust.SIGNATURE
        if not trust_code and not trust.is_own(text.encode(), read_bytes(mark, 1000) if is_plain_file(mark) else None):
            trust.check_settings(data, self.path)
        return data

    def _config_text(self) -> str:
        return read_text(self.config_path, MAX_BYTES)

    def _parsed(self, text: str) -> dict[str, Any]:
        data = parse_yaml(text, str(self.config_path))
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise UserError(f"{self.config_path}: cannot be read as the configuration of a run")
        return data

    def _write_config(self, content: bytes) -> None:
        mark = trust.sign(content)
        if mark is not None:
            write_atomically(self.path / trust.SIGNATURE, mark)
        write_atomically(self.config_path, content)

    @property
    def status(self) -> str:
        """ "running", "stopped" or "complete"; a killed run stays "running"."""
        record = self.path / "run.json"
        status = read_json(record).get("status") if is_plain_file(record) else None
        return status if isinstance(status, str) else "running"

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
            kept = [line for line in read_text(path).splitlines() if _step_of(line) <= step]
            write_atomically(path, "".join(line + "\n" for line in kept).encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars to TensorBoard and as one line to ``metrics.jsonl``."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
        self.log_line(step, values)

    def log_line(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars as one line to ``metrics.jsonl`` only."""
        if self._metrics is None:
            self._metrics = open_to_append(self.path / "metrics.jsonl")
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
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{self.path}: cannot be written: {reason}; choose runs_dir=...") from None
        refuse_linked_folders(self.path)
        lock = open_to_append(self.path / ".lock")
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


def _plain(name: str) -> str:
    """The name as that of one folder: it can neither leave ``runs_dir`` nor nest, nor be hidden or too long."""
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".")[:LONGEST_NAME] or "_"


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str | None:
    """ "key: old -> new" of the first key in which two configurations differ."""
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = _first_difference(a, b, f"{prefix}{key}.")
            if inner:
                return inner
        elif a != b:
            return f"{prefix}{key}: {BRIEF.repr(a)} there, {BRIEF.repr(b)} now"
    return None


def _step_of(line: str) -> int:
    values = parse_json(line)
    step = values.get("step") if isinstance(values, dict) else None
    return step if isinstance(step, int) else sys.maxsize  # a line that was cut off by a kill


def _git_commit() -> str | None:
    """The commit of the code, with "+" where files differ from it; None outside a checkout."""
    home = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=home, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None  # installed inside a repository that is not ours
    commit = git("rev-parse", "HEAD")
    return f"{commit}+" if commit and git("status", "--porcelain", "-uno") else commit
