"""The file that keeps every evaluation of a search: one line of JSON at a time, whole or cut off at the next start.

It serves one process at a time, so that it needs no lock which a kill would leave behind.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection

from rl_suite.errors import UserError
from rl_suite.meta_learning.tuning.acquisition import open_study
from rl_suite.reading import open_to_append, parse_json, read_bytes


class Journal(BaseJournalBackend):
    """What optuna writes down, in a plain file; links, pipes and devices are refused.

    Each line is a list of entries that are there together or not at all.

    Raises:
        UserError: no plain file, or a line of it is something else.
    """

    def __init__(self, path: Path):
        self.path = path
        content = read_bytes(path) if os.path.lexists(path) else b""
        whole = content[: content.rfind(b"\n") + 1]
        self.logs = [
            entry for number, line in enumerate(whole.splitlines(), 1) for entry in self._entries(number, line)
        ]
        self._together: list[dict[str, Any]] | None = None
        with open_to_append(path) as file:  # a kill or a full disk may have left the beginning of a line
            file.truncate(len(whole))

    def _entries(self, number: int, line: bytes) -> list[dict[str, Any]]:
        entries = parse_json(line)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{self.path}: line {number} holds no entries of a search; delete the file to search again")
        return entries

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """The entries from that number on."""
        yield from self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write entries, which are on the disk when this returns, unless they wait for others."""
        self.logs += json.loads(json.dumps(logs))
        if self._together is None:
            self._write(logs)
        else:
            self._together += logs

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is appended meanwhile is written at the end, as a whole; inside of another ``together`` at its end."""
        if self._together is not None:
            yield
            return
        self._together = []
        try:
            yield
            self._write(self._together)
        finally:
            self._together = None

    def _write(self, logs: list[dict[str, Any]]) -> None:
        with open_to_append(self.path) as file:
            file.write(json.dumps(logs, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())


def open_kept_study(journal: Journal, direction: StudyDirection) -> optuna.Study:
    """The search that a journal keeps, or a fresh one.

    Raises:
        UserError: the file holds something else.
    """
    try:
        study = open_study(JournalStorage(journal), direction)
        study.get_trials(deepcopy=False)
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError, OverflowError) as error:
        told = f"{type(error).__name__}: {error}"[:200]
        raise UserError(
            f"{journal.path}: not a search that was written here ({told}); delete it to search again"
        ) from None
    return study
