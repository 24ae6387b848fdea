"""What a benchmark takes and gives, how it is found, and how its result is printed and stored."""

import importlib
import importlib.util
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.table import Table

from rl_suite.checkpoint import write_atomically
from rl_suite.errors import UserError

PACKAGES = ("gymnasium", "stable-baselines3", "torch", "numpy", "scipy", "numba")
RESULTS = Path(__file__).parent / "results"
CPU_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Options:
    """How thoroughly a benchmark runs."""

    quick: bool = False
    """Small sizes, for a test that the benchmark still works; such results are not stored."""
    repeats: int = 5
    """Timed turns of each contender; the fastest counts."""
    seed: int = 0
    extra: tuple[str, ...] = ()
    """Further arguments, for a benchmark that has a ``parse`` of its own."""


@dataclass(frozen=True)
class Row:
    """One figure of ours, beside the peer's figure of the same run where there is a peer."""

    name: str
    ours: float
    peer: float | None
    unit: str
    peer_name: str = ""
    higher_is_better: bool = True
    target: float | None = None
    """Smallest ratio that is good enough, where one was promised."""

    @property
    def ratio(self) -> float | None:
        """How many times better ours is: above 1, ours wins, whichever direction is better."""
        if self.peer is None:
            return None
        better, worse = (self.ours, self.peer) if self.higher_is_better else (self.peer, self.ours)
        return better / worse if worse else math.inf

    @property
    def verdict(self) -> str:
        """Whether the promised ratio is reached; empty where nothing was promised."""
        if self.target is None or self.ratio is None:
            return ""
        return "reached" if self.ratio >= self.target else "MISSED"


@dataclass(frozen=True)
class BenchmarkResult:
    """What one benchmark measured."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """Lines that a reader needs to understand the rows (sizes, what the peer does differently)."""
    trials: tuple[Mapping[str, Any], ...] = ()
    """Every single measurement behind the rows, where they are means; stored, not printed."""

    def table(self, title: str) -> Table:
        """The rows as a table for the console."""
        table = Table(title=title, caption="\n".join(self.notes) or None, title_justify="left")
        for heading in ("what", "ours", "peer", "ratio", "unit", "peer is", "promised"):
            table.add_column(heading, justify="right" if heading in ("ours", "peer", "ratio") else "left")
        for row in self.rows:
            promise = "" if row.target is None else f">= {row.target:g}x: {row.verdict}"
            ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
            peer = "" if row.peer is None else _figure(row.peer)
            table.add_row(row.name, _figure(row.ours), peer, ratio, row.unit, row.peer_name, promise)
        return table

    def as_json(self) -> dict[str, Any]:
        """Plain values, with what was measured on (no host names, no paths); null where a figure is not finite."""
        rows = [_finite({**asdict(row), "ratio": row.ratio}) for row in self.rows]
        result = {"rows": rows, "notes": list(self.notes), "machine": describe_machine(), "versions": versions()}
        return {**result, "trials": [_finite(trial) for trial in self.trials]} if self.trials else result

    def save(self, path: Path) -> None:
        """Write the result as JSON, whole or not at all."""
        write_atomically(path, (json.dumps(self.as_json(), indent=1, allow_nan=False) + "\n").encode())


def load(name: str, benchmarks: Mapping[str, str]) -> ModuleType:
    """Import one benchmark and check that it has both names."""
    if name not in benchmarks:
        raise UserError(f"no benchmark is called {name!r}; there are: {', '.join(sorted(benchmarks)) or 'none'}")
    module = importlib.import_module(benchmarks[name])
    for attribute in ("SUMMARY", "run"):
        if not hasattr(module, attribute):
            raise AttributeError(f"{benchmarks[name]} must define {attribute}")
    return module


def require_peer(module: str, install: str) -> ModuleType:
    """Import an optional peer, or say in one line how to get it.

    >>> require_peer("no_such_peer", "pip install no-such-peer")
    Traceback (most recent call last):
    rl_suite.errors.UserError: this benchmark compares with no_such_peer, which is missing: pip install no-such-peer
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise UserError(f"this benchmark compares with {module}, which is missing: {install}")
    return importlib.import_module(module)


def describe_machine() -> dict[str, Any]:
    """The processor, as far as it matters to a timing."""
    return {"cpu": _cpu_model(), "cpu_count": os.cpu_count(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that timings depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = metadata.version(package)
    return found


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, which is what "never" or "no limit" is measured as."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _cpu_model() -> str:
    if CPU_FACTS.is_file():
        for line in CPU_FACTS.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine()


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
