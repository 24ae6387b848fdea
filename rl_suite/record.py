"""``run.json``: the state of a run and every start of it, with the command, the versions and the commit of each."""

import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError
from rl_suite.loading import BRIEF
from rl_suite.reading import is_plain_file, read_json

PACKAGES = ("gymnasium", "stable-baselines3", "sb3-contrib", "torch", "numpy", "numba", "torch-geometric")

Status = Literal["running", "stopped", "complete"]


class Start(BaseModel):
    """One call of ``train.py`` that wrote to the run folder."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    time: str | None = None
    """UTC, as ISO 8601."""
    command: str | None = None
    python: str | None = None
    packages: dict[str, str] = {}
    git_commit: str | None = None
    """The suite's, with "+" where files differ from it; None outside a checkout."""

    @classmethod
    def now(cls) -> "Start":
        """This process."""
        return cls(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join([Path(sys.executable).name, *sys.argv]),
            python=platform.python_version(),
            packages={name: version(name) for name in PACKAGES},
            git_commit=_git_commit(),
        )

    def differences(self, other: "Start") -> str:
        """What is not the same in another start and may change its bits, such as "torch 2.10.0 -> 2.11.0"."""
        before, after = ({"python": s.python, **s.packages, "commit": s.git_commit} for s in (self, other))
        names = [name for name in after if name in before and before[name] != after[name]]
        return ", ".join(f"{name} {BRIEF.repr(before[name])} -> {BRIEF.repr(after[name])}" for name in names)


class Record(BaseModel):
    """What ``run.json`` holds."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    status: Status = "running"
    """A killed run stays "running"."""
    starts: list[Start] = []
    models: list[str] = []
    """Pre-trained models that were used, by what they are: ``resnet18_random`` where no weights were to be had."""

    @model_validator(mode="before")
    @classmethod
    def _one_start_at_the_top(cls, content: Any) -> Any:
        """Runs once kept their last start only."""
        if isinstance(content, Mapping) and "starts" not in content and "command" in content:
            return {**content, "starts": [content]}
        return content

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read a record; that of a new run where there is no file.

        Raises:
            UserError: it is no record of a run.
        """
        if not is_plain_file(path):
            return cls()
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UserError(f"{path}: not the record of a run: {place}: {first['msg']}; delete it") from None

    def write(self, path: Path) -> None:
        """Write it; what the last start was stands at the top as well."""
        last = self.starts[-1].model_dump() if self.starts else {}
        write_atomically(path, json.dumps({"status": self.status, **last, **self.model_dump()}, indent=2).encode())


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
