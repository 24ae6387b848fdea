"""The recovery table of the documentation, out of the stored results.

python -m rl_suite.benchmarks.symbolic_table
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
HEADER = (
    "| problems | solver | runs | recovered | median time | longest | median programs | at most |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
)


def rows(name: str, result: Mapping[str, Any]) -> Iterable[str]:
    """One Markdown row per solver of one stored result."""
    trials = result["trials"]
    limit = result["notes"][0].removeprefix("at most ").split()[0]
    title = name.removeprefix("symbolic_").replace("_", ", ").replace("noise", "noise ").replace("every", "1 in ")
    for solver in dict.fromkeys(t["solver"] for t in trials):
        own = [t for t in trials if t["solver"] == solver]
        share = sum(t["recovered"] for t in own) / len(own)
        seconds = [t["seconds"] for t in own]
        programs = [t["evaluations"] for t in own]
        most = int(limit) if solver == "ours" else max(programs)  # peers that fail use all that they are given
        yield (
            f"| {title} | {solver} | {len(own)} | {share:.1%} | {median(seconds):.1f} s | {max(seconds):.0f} s"
            f" | {median(programs):,.0f} | {most:,} |"
        )


def table(folder: Path = RESULTS) -> str:
    """The whole table as Markdown."""
    lines = list(HEADER)
    for path in sorted(folder.glob("symbolic_*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if any("solver" in trial for trial in result.get("trials", ())):  # not of speeds, nor of the policy's worth
            lines += rows(path.stem, result)
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
