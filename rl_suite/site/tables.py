"""The stored results of every benchmark as Markdown tables."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
HEADER = "| what | ours | peer | ratio | target |\n|---|---|---|---|---|"


def page(folder: Path = RESULTS) -> str:
    """All of them, one chapter each."""
    chapters = [
        chapter(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))
    ]
    head = (
        "# Stored results\n\nEvery table is made from the file of the same name in `rl_suite/benchmarks/results/`, "
        "which the benchmark wrote itself. A ratio above 1 says that ours is better than the peer, whichever way the "
        "unit counts. `python -m rl_suite.benchmarks` lists the commands that measure them anew."
    )
    return "\n\n".join([head, *chapters]) + "\n"


def chapter(name: str, result: Mapping[str, Any]) -> str:
    """One benchmark: its table, its notes, and where it was measured."""
    rows = "\n".join(map(row, result["rows"]))
    notes = "\n".join(f"- {cell(note)}" for note in result.get("notes", ()))
    machine = ", ".join(f"{key} {value}" for key, value in result.get("machine", {}).items())
    return f"## {name}\n\n{HEADER}\n{rows}\n\n{notes}\n\nMeasured on: {cell(machine)}."


def row(each: Mapping[str, Any]) -> str:
    """One line of a table, with the unit beside the numbers and the peer's name beside its own."""
    peer = "" if each["peer"] is None else f"{number(each['peer'])} ({each['peer_name']})"
    cells: Iterable[str] = (
        each["name"],
        f"{number(each['ours'])} {each['unit']}".rstrip(),
        peer,
        number(each["ratio"]),
        number(each["target"]),
    )
    return "| " + " | ".join(map(cell, cells)) + " |"


def number(value: float | None) -> str:
    """Four digits that count; nothing where nothing was measured.

    >>> number(0.98867), number(5258158.03), number(1000), number(None)
    ('0.9887', '5,258,158', '1,000', '')
    """
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cell(text: str) -> str:
    """Text that cannot end its cell or be read as HTML.

    >>> cell("a | b <c>")
    'a &#124; b &lt;c&gt;'
    """
    return (
        text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;").replace("\n", " ")
    )
