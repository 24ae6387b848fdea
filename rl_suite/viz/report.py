"""``report.html``: everything a run folder knows, in one file that needs nothing else to be looked at.

::

    python -m rl_suite.viz.report runs/durotaxis/0     write it anew, from what the folder holds
"""

import argparse
import base64
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_suite.checkpoint import write_atomically
from rl_suite.cli import run_command, show
from rl_suite.reading import is_plain_file, read_bytes, read_json, read_text
from rl_suite.run import Run
from rl_suite.viz.curves import changing, draw_metrics, read_metrics

RESULTS = ("evaluation.json", "laws.json")
PICTURES = (".png", ".webp")
MOST_PICTURES, MOST_BYTES = 40, 1_500_000  # pictures beyond these are named, not shown
TEXT = ' class="text"'
STYLE = """
:root { --ink: #1e293b; --quiet: #64748b; --line: #e2e8f0; --paper: #ffffff; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 64rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p, li { max-width: 46rem; } .quiet, caption, summary, figcaption { color: var(--quiet); font-size: .87rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
th { color: var(--quiet); font-size: .87rem; } th:first-child, td:first-child { text-align: left; }
th.text, td.text { text-align: left; } td:not(.text) { white-space: nowrap; }
.wide { overflow-x: auto; } svg, img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } pre { background: #f8fafc; padding: 1rem; overflow-x: auto; font-size: .82rem; }
"""


def write_report(run: Run) -> Path:
    """Write ``report.html`` into a run folder, out of the files that are there; returns its place."""
    settings = run.settings()
    title = f"{settings.get('experiment', run.path.name)}, seed {settings.get('seed', 'unknown')}"
    parts = [f"<h1>{_text(title)}</h1>", f"<p>{_text(settings.get('about') or '')}</p>", *_origin(run)]
    for name in RESULTS:
        parts += _results(run.path / name)
    metrics = run.path / "metrics.jsonl"
    curves = draw_metrics(changing(read_metrics(metrics))) if is_plain_file(metrics) else ""
    if curves:
        parts += ["<h2>Training</h2>", f"<figure>{curves}</figure>"]
    parts += _pictures(run.path)
    configuration = read_text(run.config_path)
    parts += [
        "<h2>Configuration</h2>",
        f"<details><summary>config.yaml</summary><pre>{_text(configuration)}</pre></details>",
    ]
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    body = "\n".join(parts)
    path = run.path / "report.html"
    write_atomically(
        path, f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'.encode()
    )
    return path


def _text(value: object) -> str:
    return html.escape(str(value))


def _origin(run: Run) -> list[str]:
    """How the run was made."""
    path = run.path / "run.json"
    record = read_json(path) if is_plain_file(path) else {}
    if not {"command", "packages", "git_commit", "status", "python"} <= set(record):
        return []  # nothing is known
    versions = record["packages"] if isinstance(record["packages"], Mapping) else {}
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    commit = str(record["git_commit"] or "no checkout")
    return [
        f"<pre>{_text(record['command'])}</pre>",
        f'<p class="quiet">{_text(record["status"])} &middot; commit {_text(commit[:12])} &middot; '
        f"python {_text(record['python'])}, {_text(packages)}</p>",
    ]


def _results(path: Path) -> list[str]:
    """The statistics of a result file; raw episodes stay in the file."""
    if not is_plain_file(path):
        return []
    content = read_json(path)
    parts = [f"<h2>{_text(content.get('title', 'Results'))}</h2>"]
    for key, value in content.items():
        if key != "settings":
            parts += _section(key, value)
    settings = "".join(_section("", content.get("settings")))
    return [*parts, f"<details><summary>what was played</summary>{settings}</details>"] if settings else parts


def _section(name: str, value: Any) -> Iterator[str]:
    """A part of a result file as tables and lists; nothing for raw data."""
    heading = name.replace("_", " ")
    if isinstance(value, Mapping):
        rows = {key: row for key, row in value.items() if isinstance(row, Mapping) and not _is_cell(row)}
        yield _table(heading, {"": {key: cell for key, cell in value.items() if _is_cell(cell)}})
        yield _table(heading, rows)
        inner = {key: row["metrics"] for key, row in rows.items() if isinstance(row.get("metrics"), Mapping)}
        if any(inner.values()):
            yield f"<details><summary>means of other measures</summary>{_table('', _turned(inner))}</details>"
        for key, part in value.items():
            if isinstance(part, list):
                yield from _section(key, part)
    elif isinstance(value, list) and value:
        if all(isinstance(row, Mapping) for row in value):
            yield _table(heading, {str(i + 1): row for i, row in enumerate(value)})
        elif all(isinstance(line, str) and " " in line for line in value):  # sentences, not names
            yield "".join(["<ul>", *(f"<li>{_text(line)}</li>" for line in value), "</ul>"])


def _turned(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows become columns."""
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return {name: {key: row.get(name) for key, row in rows.items()} for name in names}


def _table(caption: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per row; columns of numbers, intervals and words, not of raw data."""
    columns = dict.fromkeys(name for row in rows.values() for name, value in row.items() if _is_cell(value))
    if not columns:
        return ""
    words = {name for name in columns if any(isinstance(row.get(name), str) for row in rows.values())}
    heads = "".join(
        f"<th{TEXT if name in words else ''}>{_text(name.replace('_', ' '))}</th>" for name in ["", *columns]
    )
    lines = []
    for key, row in rows.items():
        cells = "".join(_cell(row.get(name)) for name in columns)
        lines.append(f"<tr><td>{_text(key.replace('_', ' '))}</td>{cells}</tr>")
    return (
        f'<div class="wide"><table><caption>{_text(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _is_cell(value: Any) -> bool:
    interval = isinstance(value, Mapping) and "estimate" in value
    return interval or isinstance(value, str | int | float | bool)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f"<td{TEXT}>{_text(value)}</td>"
    if isinstance(value, Mapping):
        low, high = value["low"], value["high"]
        known = low is not None and high is not None
        band = f' <span class="quiet">[{_number(low)}, {_number(high)}]</span>' if known else ""
        return f"<td>{_number(value['estimate'])}{band}</td>"
    return f"<td>{_number(value)}</td>"


def _number(value: Any) -> str:
    """Four digits; nothing where nothing is known."""
    if value is None or isinstance(value, Sequence | Mapping):
        return ""
    return str(value) if isinstance(value, int) or not math.isfinite(value) else f"{value:.4g}"


def _pictures(folder: Path) -> list[str]:
    """The pictures of the folder, inside the page as far as they are not too many or too large.

    A link could lead to any file of this machine, and a pipe would wait for ever: neither is a picture.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix in PICTURES and is_plain_file(path))
    if not paths:
        return []
    shown = [path for path in paths if path.stat().st_size <= MOST_BYTES][:MOST_PICTURES]
    parts = ["<h2>Pictures</h2>"]
    for path in shown:
        data = base64.b64encode(read_bytes(path, MOST_BYTES)).decode()
        name = _text(path.relative_to(folder))
        source = f"data:image/{path.suffix[1:]};base64,{data}"
        parts.append(f'<figure><img alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>')
    left = [str(path.relative_to(folder)) for path in paths if path not in shown]
    if left:
        parts.append(f'<p class="quiet">and, in the folder: {_text(", ".join(left))}</p>')
    return parts


def main() -> None:
    """Write the report of one run folder."""
    parser = argparse.ArgumentParser(description="Write report.html into a run folder.")
    parser.add_argument("run", type=Path, help="such as runs/durotaxis/0")
    show(f"report: {write_report(Run.open(parser.parse_args().run))}")


if __name__ == "__main__":
    run_command(main)
