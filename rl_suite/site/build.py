"""Gathers the pages of the site in one folder and hands them to MkDocs, which refuses broken links.

python -m rl_suite.site            build/site/index.html; nothing of it is loaded from elsewhere
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from rl_suite.errors import UserError
from rl_suite.progress import tell
from rl_suite.shipped import shipped_file
from rl_suite.site import tables, worlds
from rl_suite.site.catalogue import AGENTS, META_LEARNERS, REFERENCE, Entry
from rl_suite.site.figures import flow

ROOT = shipped_file("config.yaml").parent
AROUND = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
TUTORIALS = "tutorials"
SILENT = {"NO_MKDOCS_2_WARNING": "1"}  # what the theme says of its successor
MARKDOWN_LINK = re.compile(r"(\]\()((?:\.\./|docs/)*)([\w/-]+\.md)(#[\w-]+)?(\))")
IMAGE_LINK = re.compile(r"(\]\()docs/images/")


def gather(folder: Path) -> dict[str, list[Any]]:
    """Write all pages into ``folder``; returns the menu: chapter -> pages."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(ROOT / "docs", folder)
    for page in folder.rglob("*.md"):
        page.write_text(_relinked(page.read_text(encoding="utf-8"), len(page.relative_to(folder).parts) - 1), "utf-8")
    for source, target in AROUND.items():
        (folder / target).write_text(_relinked((ROOT / source).read_text(encoding="utf-8"), 0), encoding="utf-8")
    (folder / "stored_results.md").write_text(tables.page(), encoding="utf-8")
    named: dict[str, list[dict[str, str]]] = {}
    for chapter in ("worlds", "agents", "meta_learners", "reference"):
        (folder / chapter).mkdir()
    named["worlds"] = [
        _named(worlds.title(name), worlds.write_page(name, folder / "worlds"), folder) for name in worlds.world_ids()
    ]
    named["agents"] = [_named(entry.title, _entry_page(entry, folder / "agents"), folder) for entry in AGENTS]
    named["meta_learners"] = [_named(e.title, _entry_page(e, folder / "meta_learners"), folder) for e in META_LEARNERS]
    named["reference"] = [
        _named(title, _reference_page(title, names, folder / "reference"), folder) for title, names in REFERENCE.items()
    ]
    return menu(folder, named)


def menu(folder: Path, named: dict[str, list[dict[str, str]]]) -> dict[str, list[Any]]:
    """Chapters in reading order; every page of docs/ is in it, those that nobody has placed as guides."""
    tutorials = [_titled(page, folder) for page in sorted((folder / TUTORIALS).glob("*.md"))]
    guides = [_titled(page, folder) for page in sorted((folder / "guides").glob("*.md"))]
    around = {*AROUND.values(), "stored_results.md", "results.md"}
    subjects = [_titled(page, folder) for page in sorted(folder.glob("*.md")) if page.name not in around]
    return {
        "Start": [{"Home": "index.md"}],
        "Tutorials": tutorials,
        "How to": guides,
        "Subjects": subjects,
        "Worlds": named["worlds"],
        "Agents": named["agents"],
        "Meta-learners": named["meta_learners"],
        "Results": [_titled(folder / "results.md", folder), _titled(folder / "stored_results.md", folder)],
        "Reference": [
            *named["reference"],
            {"Add to it": "contributing.md"},
            {"Trust": "security.md"},
            {"Changes": "changelog.md"},
        ],
    }


def settings(pages: Path, site: Path, chapters: dict[str, list[Any]]) -> dict[str, Any]:
    """What MkDocs is told: strict, nothing that is loaded from elsewhere, pages that a browser opens as files."""
    python = {
        "paths": [str(ROOT)],
        "options": {
            "show_source": False,
            "heading_level": 3,
            "docstring_style": "google",
            "show_root_heading": True,
            "members_order": "source",
            "filters": ["!^_"],
            "separate_signature": True,
            "show_if_no_docstring": False,
        },
    }
    strict = dict.fromkeys(("omitted_files", "absolute_links", "unrecognized_links", "not_found", "anchors"), "warn")
    return {
        "site_name": "rl_suite",
        "docs_dir": str(pages),
        "site_dir": str(site),
        "use_directory_urls": False,
        "extra": {"generator": False},
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.tabs", "navigation.top", "content.code.copy", "search.highlight", "toc.follow"],
            "palette": [
                {
                    "media": "(prefers-color-scheme: light)",
                    "scheme": "default",
                    "primary": "teal",
                    "toggle": {"icon": "material/weather-night", "name": "dark"},
                },
                {
                    "media": "(prefers-color-scheme: dark)",
                    "scheme": "slate",
                    "primary": "teal",
                    "toggle": {"icon": "material/weather-sunny", "name": "light"},
                },
            ],
        },
        "plugins": ["search", {"mkdocstrings": {"handlers": {"python": python}}}],
        "markdown_extensions": [
            "admonition",
            "attr_list",
            "tables",
            {"toc": {"permalink": True}},
            "pymdownx.superfences",
            "pymdownx.highlight",
        ],
        "validation": {
            "nav": {"omitted_files": "warn", "not_found": "warn"},
            "links": {key: strict[key] for key in ("not_found", "anchors", "unrecognized_links")},
        },
        "nav": [{chapter: pages} for chapter, pages in chapters.items() if pages],
    }


def build(folder: Path) -> Path:
    """Write ``folder/pages`` and ``folder/site``; returns the first page of the latter.

    Raises:
        UserError: there are no pages here, MkDocs is not installed, or it finds faults, which it has said by then.
    """
    if not (ROOT / "docs").is_dir():
        raise UserError(f"{ROOT} holds no docs: the site is built from a checkout of the project")
    missing = [name for name in ("mkdocs", "material", "mkdocstrings") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"no {', '.join(missing)} here: pip install -c constraints.txt -e '.[docs]'")
    pages, site = folder / "pages", folder / "site"
    tell("drawing every world and writing the pages ...")
    chapters = gather(pages)
    config = folder / "mkdocs.yml"
    config.write_text(
        yaml.safe_dump(settings(pages.resolve(), site.resolve(), chapters), sort_keys=False), encoding="utf-8"
    )
    tell("building the site ...")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(config)]
    if subprocess.run(command, check=False, env={**os.environ, **SILENT}).returncode:
        raise UserError("the site has faults, see above")
    for page in (site / "reference", site / "agents", site / "meta_learners"):
        for file in page.glob("*.html"):
            file.write_text(without_roles(file.read_text(encoding="utf-8")), encoding="utf-8")
    return site / "index.html"


def without_roles(html: str) -> str:
    """HTML of docstrings without the roles that Sphinx would have read.

    >>> without_roles("see :class:<code>~agents.baselines.RandomAgent</code>")
    'see <code>RandomAgent</code>'
    """
    html = re.sub(r":\w+:(?=<code>)", "", html)
    return re.sub(r"<code>~[\w.]*?(\w+)</code>", r"<code>\1</code>", html)


def _relinked(text: str, depth: int) -> str:
    """Links to Markdown files around docs/ now lead to their copies."""

    def moved(match: re.Match[str]) -> str:
        before, way, name, anchor, after = match.groups()
        if name in AROUND:
            return f"{before}{'../' * depth}{AROUND[name]}{anchor or ''}{after}"
        return f"{before}{way.replace('docs/', '')}{name}{anchor or ''}{after}"

    return IMAGE_LINK.sub(r"\1images/", MARKDOWN_LINK.sub(moved, text))


def _entry_page(entry: Entry, folder: Path) -> Path:
    module, _, name = entry.target.partition(":")
    parts = [f"# {entry.title}", entry.about, flow(entry.flow, f"How data flows through {entry.title}")]
    if entry.commands:
        parts.append("```bash\n" + "\n".join(entry.commands) + "\n```")
    if entry.see:
        parts.append(
            f"What was measured, and beside what: [{entry.see.removesuffix('.md').replace('_', ' ')}](../{entry.see})."
        )
    parts.append(f"## In Python\n\n::: {module}.{name}")
    return _write(folder / f"{entry.slug}.md", parts)


def _reference_page(title: str, modules: Sequence[str], folder: Path) -> Path:
    parts = [
        f"# {title}",
        *(f"## {name}\n\n::: {name}\n    options:\n      show_root_heading: false" for name in modules),
    ]
    return _write(folder / f"{title.lower()}.md", parts)


def _write(path: Path, parts: Iterable[str]) -> Path:
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _named(title: str, page: Path, folder: Path) -> dict[str, str]:
    return {title: page.relative_to(folder).as_posix()}


def _titled(page: Path, folder: Path) -> dict[str, str]:
    """A page under its own first heading."""
    heading = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return _named(heading[1] if heading else page.stem, page, folder)
