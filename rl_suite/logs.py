"""What a run writes as it goes: ``metrics.jsonl`` and TensorBoard's event files.

Both are written at once and without a buffer, so that a full disk is noticed where it happens. Their sizes are part
of every checkpoint: a run that goes on from one cuts them to these sizes, and nothing stands in them twice.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

from rl_suite.checkpoint import cannot_write, write_atomically
from rl_suite.errors import UserError
from rl_suite.reading import MOST_TEXT, is_plain_file, open_to_append, parse_json, read_bytes

METRICS = "metrics.jsonl"
EVENTS = "events.out.tfevents."


class AppendedFile:
    """A plain file to whose end is written, all or with an error; what ``RecordWriter`` writes into.

    Raises:
        UserError: from every method: the file is a link, or the disk is full.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = open_to_append(path)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    def write(self, data: bytes) -> None:
        """Append; part of it may be there after an error, and is cut off by whoever goes on."""
        try:
            while data:
                data = data[os.write(self._file.fileno(), data) :]
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def flush(self) -> None:
        """Nothing waits to be written."""

    def sync(self) -> int:
        """Make sure that a loss of power leaves all that was written; returns its size in bytes."""
        try:
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def close(self) -> None:
        """Close it."""
        self._file.close()


class EventFile:
    """A TensorBoard event file without a thread; stands where torch has tensorboard's ``EventFileWriter``."""

    numbers = count()

    def __init__(self, folder: Path):
        name = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(self.numbers)}"
        self.file = AppendedFile(folder / f"{EVENTS}{name}")
        self._records = RecordWriter(self.file)

    def get_logdir(self) -> str:
        """The folder that it lies in."""
        return str(self.file.path.parent)

    def add_event(self, event: Any) -> None:
        """Write one event."""
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        """Close the file."""
        self._records.close()


class _Writer(FileWriter):
    def __init__(self, folder: Path):
        self.event_writer = EventFile(folder)


class Events(SummaryWriter):
    """TensorBoard's writer into one folder; all of its methods raise ``UserError`` where the disk is full."""

    def __init__(self, folder: Path, purge_step: int | None):
        self._folder = folder
        super().__init__(str(folder), purge_step=purge_step)  # type: ignore[no-untyped-call]

    def _get_file_writer(self) -> FileWriter:
        """What all methods write to; made again after ``close``."""
        found: FileWriter | None = self.file_writer
        if found is not None:
            return found
        writer: Any = _Writer(self._folder)
        writer.add_event(Event(file_version="brain.Event:2"))
        if self.purge_step is not None:  # a TensorBoard that is open forgets what it has read of later steps
            writer.add_event(Event(step=self.purge_step, session_log=SessionLog(status=SessionLog.START)))
            self.purge_step = None
        self.file_writer = writer
        self.all_writers = {str(self._folder): writer}  # type: ignore[assignment]
        return writer  # type: ignore[no-any-return]


class RunLog:
    """The logs of one run folder.

    Args:
        folder: where they lie.
        check: called before each line; it raises where the folder is gone.
    """

    def __init__(self, folder: Path, check: Callable[[], None] = lambda: None):
        self.folder, self.check = folder, check
        self._metrics: AppendedFile | None = None
        self._purge_step: int | None = None

    @cached_property
    def writer(self) -> Events:
        """TensorBoard, in the run folder itself."""
        purge_step, self._purge_step = self._purge_step, None  # a writer that is opened again only goes on
        return Events(self.folder, purge_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars as one line to ``metrics.jsonl`` only."""
        self.check()
        if self._metrics is None:
            self._metrics = AppendedFile(self.folder / METRICS)
        line = {"step": step, **{name: float(value) for name, value in values.items()}}
        self._metrics.write(f"{json.dumps(line)}\n".encode())

    def last_step(self) -> int:
        """The largest step that was logged, 0 before any; under a smaller one pictures make TensorBoard forget."""
        path = self.folder / METRICS
        if not is_plain_file(path):
            return 0
        lines = read_bytes(path, MOST_TEXT).decode().splitlines(keepends=True)
        return max((_step_of(line) for line in lines if line.endswith("\n")), default=0)

    def sizes(self) -> dict[str, int]:
        """How long each log is, for a checkpoint; what a loss of power must not take is on the disk then."""
        sizes = {path.name: path.stat().st_size for path in self._event_files()}
        if self._metrics is not None:
            sizes[METRICS] = self._metrics.sync()
        elif is_plain_file(self.folder / METRICS):
            sizes[METRICS] = (self.folder / METRICS).stat().st_size
        return sizes

    def rewind(self, step: int, sizes: Mapping[str, int] | None) -> None:
        """Forget what was logged after the checkpoint of ``step``, when the logs had these ``sizes``.

        Where they are not known, all lines up to ``step`` stay, also those that were written after the checkpoint.
        """
        self.close()
        self._purge_step = step + 1
        path = self.folder / METRICS
        if os.path.lexists(path):
            data = read_bytes(path, MOST_TEXT)
            length = len(data) if sizes is None else sizes.get(METRICS, 0)
            try:
                lines = data[:length].decode().splitlines(keepends=True)
            except UnicodeDecodeError:
                raise UserError(f"{path}: not UTF-8 text") from None
            kept = "".join(line for line in lines if line.endswith("\n") and _step_of(line) <= step).encode()
            if kept != data:
                write_atomically(path, kept)
        if sizes is not None:
            for path in self._event_files():
                _cut(path, sizes.get(path.name, 0))

    def close(self) -> None:
        """Close the files; the next line opens them again."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if "writer" in self.__dict__:
            self.writer.close()  # type: ignore[no-untyped-call]
            del self.__dict__["writer"]

    def _event_files(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{EVENTS}*") if is_plain_file(path))


def _cut(path: Path, size: int) -> None:
    """Make a plain file at most ``size`` bytes long; one of nothing is deleted."""
    try:
        if size == 0:
            path.unlink()
        elif path.stat().st_size > size:
            with open_to_append(path) as file:
                os.ftruncate(file.fileno(), size)
    except OSError as error:
        raise cannot_write(path, error) from None


def _step_of(line: str) -> int:
    values = parse_json(line)
    step = values.get("step") if isinstance(values, dict) else None
    return step if isinstance(step, int) else sys.maxsize  # a line that was cut off by a kill
