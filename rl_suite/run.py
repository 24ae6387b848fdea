"""A run folder: everything that one training run was and found, in ``<runs_dir>/<experiment>/<seed>/``.

::

    config.yaml      the resolved configuration          checkpoints/   last two and best
    config.hmac      who wrote it (rl_suite.trust)
    run.json         status; command, versions, commit   metrics.jsonl  one JSON object per log call
                     and time of every start
    events.out.*     TensorBoard                         evaluation.json, report.html
"""

import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import numpy as np
import yaml
from numpy.typing import NDArray

from rl_suite import charts, trust
from rl_suite.checkpoint import CheckpointFolder, Saved, remove_leftovers, write_atomically
from rl_suite.config import ExperimentConfig
from rl_suite.errors import UserError
from rl_suite.loading import BRIEF, MAX_BYTES, parse_yaml
from rl_suite.logs import METRICS, Events, RunLog
from rl_suite.portable import lock
from rl_suite.progress import tell
from rl_suite.reading import is_plain_file, open_to_append, read_bytes, read_text, refuse_linked_folders
from rl_suite.record import Record, Start, Status

LOCK = ".lock"
LONGEST_NAME = 80  # characters; file systems allow 255 bytes


class Run:
    """One run folder. Make it with :meth:`start` (to train) or :meth:`open` (to read)."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = CheckpointFolder(path / "checkpoints")
        self.stop_requested = False
        """Set by Ctrl-C or SIGTERM: save at the next safe point and return."""
        self.logs = RunLog(path, self._require_folder)
        self._lock: TextIO | None = None
        self._described = True  # whether TensorBoard knows the charts; not where a run begins

    @classmethod
    def start(cls, config: ExperimentConfig) -> "Run":
        """Create the folder of ``config``, or continue in it if it holds the same configuration, or a shorter training.

        A folder in which nothing was found yet, such as that of a run that failed at once, starts afresh. Half-written
        files of killed processes are deleted; other versions or another commit than at the last start are said.

        Raises:
            UserError: the folder cannot be written, is in use, or holds another configuration.
        """
        run = cls(cls.place(config))
        run._take_lock()
        settings = _settings_of(config)
        try:
            fresh = run._is_empty() or not os.path.lexists(run.config_path)
            longer = None if fresh else run._longer(settings, config.length)
            if not fresh and longer is None:
                run._require_same(settings)
            remove_leftovers(run.path)
            if fresh or longer or run.status != "complete":
                run._record_start(fresh)
            if longer:
                tell(f"{run.path}: goes on with {longer}; schedules are now those of the longer run")
            if fresh or longer:
                run._write_config(yaml.safe_dump(settings, sort_keys=False).encode())
        except UserError:
            run.close()
            raise
        return run

    @staticmethod
    def place(config: ExperimentConfig) -> Path:
        """The folder of a run with this configuration."""
        return config.runs_dir / _plain(config.folder_name) / str(config.seed)

    @classmethod
    def difference(cls, config: ExperimentConfig) -> str | None:
        """ "key: old there, new now" if the folder of this experiment holds runs of other settings; None otherwise.

        Another seed is no other setting: the folder of a seed that found something decides, that of ``config`` first.
        """
        own = cls.place(config)
        for path in _own_first(own):
            run = cls(path)
            if is_plain_file(run.config_path) and not run._is_empty():
                old, new = run.settings(), _settings_of(config)
                longer = path == own and run._longer(new, config.length)
                return None if longer else _difference({**old, "seed": config.seed}, new)
        return None

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
    def record_path(self) -> Path:
        """How it was made, and what came of it."""
        return self.path / "run.json"

    @property
    def status(self) -> Status:
        """ "running", "stopped" or "complete"; a killed run stays "running"."""
        return Record.read(self.record_path).status

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def finish(self, status: Status) -> None:
        """Record that the run is "complete" or "stopped", and close its files.

        A complete one hands the pictures of its folder to TensorBoard before, so that a kill loses none.
        """
        self._require_folder()
        if status == "complete":
            step = self.logs.last_step()
            for name, pixels in charts.pictures_of(self.path):
                self.show(step, name, pixels)
        Record.read(self.record_path).model_copy(update={"status": status}).write(self.record_path)
        self.close()

    def close(self) -> None:
        """Close the files and release the folder."""
        try:
            self.logs.close()
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    @property
    def writer(self) -> Events:
        """TensorBoard, in the run folder itself."""
        return self.logs.writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars to TensorBoard and as one line to ``metrics.jsonl``."""
        self.log_line(step, values)
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def show(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Hand a picture (H, W, 3) to TensorBoard."""
        self.writer.add_image(name, picture, step, dataformats="HWC")  # type: ignore[no-untyped-call]

    def log_line(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars as one line to ``metrics.jsonl`` only; before the first, TensorBoard is told the charts."""
        if not self._described:
            self._described = True
            settings = self.settings()
            charts.describe(self.writer, str(settings.get("kind")), settings)
        self.logs.write(step, values)

    def save(self, step: int, content: Mapping[str, Any]) -> None:
        """Write a numbered checkpoint; a run that goes on from it goes on with the logs as they are now.

        Raises:
            NonFiniteError: a tensor of it holds NaN or infinity; nothing is written.
            UserError: the disk is full, or the folder is gone.
        """
        self._require_folder()
        self.checkpoints.save(step, content, self.logs.sizes())

    def save_best(self, content: Mapping[str, Any]) -> None:
        """Replace the best checkpoint; raises as :meth:`save` does."""
        self._require_folder()
        self.checkpoints.save_best(content)

    def go_on_from(self, saved: Saved | None) -> None:
        """Forget all that came after a checkpoint, or everything without one; call it before logging goes on."""
        if saved is None:
            self.rewind(0, {})
            self._described = False
        else:
            self.rewind(saved.step, saved.logs)
            self.checkpoints.forget_after(saved)

    def rewind(self, step: int, sizes: Mapping[str, int] | None = None) -> None:
        """Forget everything logged after ``step``, and after the logs had these ``sizes`` where they are known."""
        self.logs.rewind(step, sizes)

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
        held = open_to_append(self.path / LOCK)
        try:
            lock(held.fileno())
        except BlockingIOError:
            held.close()
            raise UserError(f"{self.path}: another process is writing to this run folder") from None
        except OSError as error:
            held.close()
            raise UserError(f"{self.path}: cannot be locked: {error.strerror}; choose runs_dir=...") from None
        self._lock = held

    def _require_folder(self) -> None:
        """Raise a ``UserError`` if somebody has deleted or moved the folder that this run holds."""
        if self._lock is None:
            return
        try:
            same = os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK).lstat())
        except OSError:
            same = False
        if not same:
            raise UserError(f"{self.path}: was deleted or moved while the run was writing to it")

    def record_models(self, names: Sequence[str]) -> None:
        """Record which pre-trained models are used, by the weights that they have and not those that were asked for."""
        Record.read(self.record_path).model_copy(update={"models": list(names)}).write(self.record_path)

    def _record_start(self, fresh: bool) -> None:
        """Add this process to the record, and say in what it differs from the one before."""
        record, now = Record.read(self.record_path), Start.now()
        changed = record.starts[-1].differences(now) if record.starts and not fresh else ""
        if changed:
            tell(f"{self.path}: goes on under other versions than before ({changed}): its bits may differ")
        started = {"status": "running", "starts": [*record.starts, now]}
        record.model_copy(update=started).write(self.record_path)

    def _is_empty(self) -> bool:
        metrics = self.path / METRICS
        logged = metrics.exists() and metrics.stat().st_size > 0
        return not logged and not any((self.path / "checkpoints").glob("*"))

    def _longer(self, settings: Mapping[str, Any], key: str | None) -> str | None:
        """ "key: old there, new now" if the folder holds the same but for a shorter training; None otherwise."""
        old = self.settings()
        before, now = (None if key is None else _at(content, key) for content in (old, settings))
        if key is None or type(before) is not int or type(now) is not int or not before < now:
            return None
        return _difference(old, settings) if _difference(_with(old, key, now), settings) is None else None

    def _require_same(self, settings: Mapping[str, Any]) -> None:
        difference = _difference(self.settings(), settings)
        if difference:
            raise UserError(
                f"{self.path}: holds a run with another configuration ({difference}); "
                "choose another name=..., seed=... or runs_dir=..., or delete the folder"
            )


def _own_first(own: Path) -> Iterator[Path]:
    """A folder, then those beside it, which are looked up only if they are asked for: there may be thousands."""
    yield own
    yield from sorted(own.parent.glob("*/"))


def _settings_of(config: ExperimentConfig) -> dict[str, Any]:
    """What a folder keeps of a configuration: all but where the folder is."""
    return config.model_dump(mode="json", exclude={"runs_dir", "name"})


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first difference that matters; what an experiment is about may be said in other words."""
    return _first_difference({**old, "about": ""}, {**new, "about": ""})


def _at(content: Any, key: str) -> Any:
    """What stands at a dotted key of nested settings, or None."""
    for part in key.split("."):
        content = content.get(part) if isinstance(content, Mapping) else None
    return content


def _with(content: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Nested settings with another value at a dotted key."""
    first, _, rest = key.partition(".")
    return {**content, first: _with(content[first], rest, value) if rest else value}


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
