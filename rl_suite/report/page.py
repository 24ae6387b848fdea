"""``report.html``: what a run found and whether to believe it, in one file that needs nothing else to be looked at.

From the top: one sentence with its number, reasons for and against, the controls as one figure, pictures, learning
curves that matter; then, folded away, every other curve, all numbers, and how the run was made.
"""

import base64
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from rl_suite.charts import HIDDEN
from rl_suite.checkpoint import write_atomically
from rl_suite.reading import is_plain_file, read_bytes, read_json, read_text
from rl_suite.report.agents import findings_of_agents
from rl_suite.report.attention import read_attention
from rl_suite.report.episodes import findings_of_episodes, findings_of_sequences
from rl_suite.report.findings import BAD, OPEN, Findings, Judgement
from rl_suite.report.forest import forest_of
from rl_suite.report.laws import findings_of_laws, front, typeset
from rl_suite.report.replay import FewShotReplay, as_script, read_replay
from rl_suite.report.searches import findings_of_priors, findings_of_settings
from rl_suite.report.tables import tables_of
from rl_suite.report.words import GLOSSARY, picture_title, title
from rl_suite.run import Run
from rl_suite.viz.curves import changing, draw_metrics, matters, read_metrics

if TYPE_CHECKING:
    from jinja2 import Environment

RESULTS = ("evaluation.json", "laws.json")
READERS = (
    findings_of_laws,
    findings_of_agents,
    findings_of_settings,
    findings_of_priors,
    findings_of_sequences,
    findings_of_episodes,
)
PICTURES = (".png", ".webp")
MOST_PICTURES, MOST_BYTES, MOST_IN_ALL = 40, 1_500_000, 3_600_000  # further pictures are named, not shown
ORIGIN = ("command", "packages", "git_commit", "status", "python")


def write_report(run: Run) -> Path:
    """Write ``report.html`` into a run folder, out of the files that are there; returns its place.

    Raises:
        UserError: a file of the folder is broken, or the page cannot be written.
    """
    path = run.path / "report.html"
    write_atomically(path, render("page.html", **_content(run)).encode("utf-8", "replace"))
    return path


def render(template: str, **content: Any) -> str:
    """Fill a template of this package."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rl_suite.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["titled"] = picture_title
    folder = files("rl_suite.report") / "templates"
    environment.globals["style"] = Markup((folder / "style.css").read_text(encoding="utf-8"))
    script = "".join((folder / name).read_text(encoding="utf-8") for name in ("page.js", "replay.js", "attention.js"))
    environment.globals["script"] = Markup(script)
    return environment


def titled(charts: Mapping[str, str]) -> list[tuple[str, Markup]]:
    """Charts by tag as a page shows them: words and the SVG."""
    return [(title(tag), Markup(svg)) for tag, svg in charts.items()]


def findings_of(folder: Path) -> tuple[Findings | None, dict[str, dict[str, Any]]]:
    """What the result files of a run folder say, and their content by file name."""
    contents = {name: read_json(folder / name) for name in RESULTS if is_plain_file(folder / name)}
    found = (reader(content) for content in contents.values() for reader in READERS)
    return next((findings for findings in found if findings is not None), None), contents


def _content(run: Run) -> dict[str, Any]:
    """Everything that the template shows."""
    settings = run.settings()
    findings, results = findings_of(run.path)
    metrics = run.path / "metrics.jsonl"
    curves = changing(read_metrics(metrics)) if is_plain_file(metrics) else {}
    record = _record(run)
    laws = results.get("laws.json", {})
    replay, attention = run.path / "replay.json", run.path / "attention.json"
    played = read_replay(replay) if is_plain_file(replay) else None
    return {
        "title": f"{settings.get('experiment', run.path.name)}, seed {settings.get('seed', 'unknown')}",
        "about": settings.get("about") or "",
        "findings": findings,
        "judgements": [*(findings.judgements if findings else ()), *_of_the_run(settings, record)],
        "forests": [forest for c in (findings.comparisons if findings else ()) if (forest := forest_of(c))],
        "replay": as_script(played) if played else "",
        "replayed": "Episodes of unseen classes" if isinstance(played, FewShotReplay) else "One held-out episode",
        "attention": as_script(read_attention(attention)) if is_plain_file(attention) else "",
        "law": Markup(typeset(laws)),
        "front": [(Markup(law.formula), law) for law in front(laws)],
        "curves": titled(draw_metrics({tag: curve for tag, curve in curves.items() if matters(tag)})),
        "other_curves": titled(draw_metrics({tag: curve for tag, curve in curves.items() if not matters(tag)})),
        "results": [(content.get("title", name), list(tables_of(content))) for name, content in results.items()],
        "pictures": _pictures(run.path),
        "record": record,
        "configuration": read_text(run.config_path),
        "words": {term: GLOSSARY[term] for term in (findings.terms if findings else ())},
    }


def _of_the_run(settings: Mapping[str, Any], record: Mapping[str, Any]) -> list[Judgement]:
    """Reasons that lie in how the run was made."""
    found = []
    if "smoke" in str(settings.get("experiment", "")).split(","):
        found.append(
            Judgement(BAD, "A smoke run: every size is shrunk so that it ends in seconds. Its numbers say nothing.")
        )
    if record.get("status") not in (None, "complete"):
        found.append(Judgement(BAD, f"Training did not end: the run is {str(record['status'])[:40]}."))
    if settings.get("kind") not in ("symbolic", "tuning"):  # which have no seed, or several
        found.append(
            Judgement(
                OPEN,
                "One training seed: another may end elsewhere. python -m rl_suite.report RUN RUN ... compares seeds.",
            )
        )
    return found


def _record(run: Run) -> dict[str, Any]:
    """How the run was made, as far as it is known."""
    path = run.path / "run.json"
    record = read_json(path) if is_plain_file(path) else {}
    if not set(ORIGIN) <= set(record):
        return {}
    models = record.get("models", [])
    versions = record["packages"] if isinstance(record["packages"], Mapping) else {}
    return {
        **{key: record[key] for key in ORIGIN},
        "commit": str(record["git_commit"] or "no checkout")[:12],
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "models": ", ".join(str(name)[:80] for name in models[:20]) if isinstance(models, list) else "",
    }


def _pictures(folder: Path) -> dict[str, Any]:
    """The pictures of the folder, inside the page as far as they are not too many or too large.

    A link could lead to any file of this machine, and a pipe would wait for ever: neither is a picture.
    """
    shown: list[tuple[str, str]] = []
    left: list[str] = []
    total = 0
    for path in sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in PICTURES and path.name not in HIDDEN and is_plain_file(path)
    ):
        name, size = str(path.relative_to(folder)), path.stat().st_size
        if size > MOST_BYTES or len(shown) == MOST_PICTURES or total + size > MOST_IN_ALL:
            left.append(name)
            continue
        total += size
        data = base64.b64encode(read_bytes(path, MOST_BYTES)).decode()
        shown.append((name, f"data:image/{path.suffix[1:]};base64,{data}"))
    return {"shown": shown, "left": left}
